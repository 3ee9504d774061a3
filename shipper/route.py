"""
The route: `cloudwatch://REGION?OPTIONS` and the agent's environment in, one `Route` out.

Names and precedence are those of logspout and its CloudWatch adapter, so that a command line
written for them goes on working. `SETTINGS` is the one table of the names; documents are made from
it. What always holds:

- Every value that was given is checked, also one that a stronger place overrides.
- What was ignored in silence there is an error here: an unknown or repeated option, a DELAY that is
  no number, a label filter without a colon, a `#` or `;` that would have cut a value short.
- An error shows what was written in the route, and of the environment only the values of
  DELAY, TAIL, BACKLOG and ALLOW_TTY.

Where this differs from them, on purpose:

- `NOEC2=false` (or 0, no, off) counts as not given, and so does `DEBUG=false`. There, any value
  switched them on. Given in either place is enough: a false in one does not undo the other.
- `BACKLOG` unset reads what is there, as logspout's manual says and its code does not.
- `$NAME` and `${NAME}` in the route are filled from the environment, as logspout does, but not
  inside `{{ }}`, where they belong to the template, and an unset one is an error.
- A label to exclude is cut at its first colon, so its value may hold more of them.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote_plus, unquote_to_bytes

from shipper.errors import RouteError

__all__ = [
    "AGENT",
    "CONTAINER",
    "DEFAULT_DELAY_S",
    "DEFAULT_GROUP_TEMPLATE",
    "DEFAULT_STREAM_TEMPLATE",
    "MAX_DELAY_S",
    "ROUTE",
    "SETTINGS",
    "Route",
    "Setting",
    "is_region",
    "parse_delay_s",
    "parse_route",
]

DEFAULT_DELAY_S = 4.0
MAX_DELAY_S = 3600.0  # an hour: whoever asks for more has most likely written milliseconds
DEFAULT_GROUP_TEMPLATE = "{{.LoggerHost}}"
DEFAULT_STREAM_TEMPLATE = "{{.Name}}"

ROUTE = "route"
AGENT = "environment"
CONTAINER = "container"

_EXAMPLE = "cloudwatch://us-east-1"
_SHOWN_CHARS = 60
_NEAR = 0.7  # how alike, from 0 to 1, a name must be to be what was meant
_GONE = ("append_tag", "structured_data")  # options of logspout's other adapters
_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})

# us-east-1, us-gov-west-1, us-isob-east-1, eusc-de-east-1, cn-north-1
_REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{1,16}){1,4}-[0-9]{1,2}")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_LINES = re.compile(r"[0-9]{1,9}")
_CONTAINER_ID = re.compile(r"[0-9a-f]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_ANOTHER_ROUTE = re.compile(r",\s*[A-Za-z][A-Za-z0-9+.-]*://")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# an action of a template, left alone; or a variable, whose name is in one of the two groups
_VARIABLE = re.compile(
    r"(?:\{|%7[Bb]){2}.*?(?:\}|%7[Dd]){2}"
    r"|\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))"
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Setting:
    """
    A name the operator may use.

    `where` holds the places it is read from, the weakest first; `default` is as one would write
    it, empty when there is none. A blank value in the environment counts as not given.
    """

    name: str
    where: tuple[str, ...]
    meaning: str
    default: str = ""


_ENTRIES = (
    Setting("ROUTE_URIS", (AGENT,), "the route, when the command line has none"),
    Setting("DELAY", (ROUTE, AGENT), "seconds a line may wait for others to share its batch", "4"),
    Setting("NOEC2", (AGENT, ROUTE), "do not ask the EC2 metadata service"),
    Setting("DEBUG", (AGENT, ROUTE), "log each step"),
    Setting(
        "LOGSPOUT_GROUP",
        (AGENT, ROUTE, CONTAINER),
        "the log group, a Go template",
        DEFAULT_GROUP_TEMPLATE,
    ),
    Setting(
        "LOGSPOUT_STREAM",
        (AGENT, ROUTE, CONTAINER),
        "the log stream, a Go template",
        DEFAULT_STREAM_TEMPLATE,
    ),
    Setting("LOGSPOUT", (CONTAINER,), "ignore: this container is not collected"),
    Setting("filter.name", (ROUTE,), "collect containers whose name matches this pattern"),
    Setting("filter.id", (ROUTE,), "collect containers whose id begins like this"),
    Setting(
        "filter.labels", (ROUTE,), "collect containers with all these label:pattern, by commas"
    ),
    Setting("filter.sources", (ROUTE,), "stdout, stderr or both, by a comma", "stdout,stderr"),
    Setting(
        "EXCLUDE_LABELS",
        (AGENT,),
        "leave out containers with any of these label:value, by semicolons; the value is true"
        " where none is given",
    ),
    Setting("EXCLUDE_LABEL", (AGENT,), "the same, where EXCLUDE_LABELS is not given"),
    Setting("ALLOW_TTY", (AGENT,), "true: collect containers that have a terminal", "false"),
    Setting("BACKLOG", (AGENT,), "false: leave out what was logged before the start", "true"),
    Setting("TAIL", (AGENT,), "how many of the lines that are there to read at the start", "all"),
)
SETTINGS: Mapping[str, Setting] = {entry.name: entry for entry in _ENTRIES}
_SWITCHES = ("NOEC2", "DEBUG")  # options that say it all by being there


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    Where lines go and which containers they come from, all checked.

    The templates are the agent's, with the default filled in; a container's own environment still
    beats them. No filter is an empty string or tuple.
    """

    region: str | None = None  # None: to be found, see ec2.find_region
    delay_s: float = DEFAULT_DELAY_S
    use_ec2: bool = True
    debug: bool = False
    group_template: str = DEFAULT_GROUP_TEMPLATE
    stream_template: str = DEFAULT_STREAM_TEMPLATE
    filter_name: str = ""  # a pattern of Go's path.Match, for the name without its slash
    filter_id: str = ""  # the beginning of an id
    filter_labels: tuple[str, ...] = ()  # "key:pattern", all must match
    filter_sources: tuple[str, ...] = ()  # of "stdout", "stderr"
    exclude_labels: tuple[tuple[str, str], ...] = ()  # (key, value), any; case of value ignored
    allow_tty: bool = False
    backlog: bool = True
    tail: int | None = None  # lines; None is all


@dataclass(frozen=True, slots=True)
class _Given:
    """
    One value: its name, the place, the text as it was written there, and what that stands for.
    """

    name: str
    where: str
    text: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} in the {self.where}"


class _Reader:
    """
    The values given for a name, from the route's options and the environment.
    """

    def __init__(self, options: Mapping[str, _Given], environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ

    def given(self, name: str) -> list[_Given]:
        """
        What was given for *name*, the weakest first.
        """
        places = {ROUTE: self._options.get(name), AGENT: self._from_environment(name)}
        found = [places.get(where) for where in SETTINGS[name].where]
        return [given for given in found if given]

    def is_on(self, name: str) -> bool:
        """
        Is this switch given anywhere, with a value other than false?
        """
        return any(given.value.strip().lower() not in _NO for given in self.given(name))

    def last(self, name: str, read: Callable[[_Given], _T], *, default: _T) -> _T:
        """
        The strongest value given for *name*; the weaker ones are checked as well.
        """
        values = [read(given) for given in self.given(name)]
        return values[-1] if values else default

    def _from_environment(self, name: str) -> _Given | None:
        value = self._environ.get(name, "")
        if not value.strip():
            return None
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise RouteError(f"{name} in the environment is not UTF-8 text") from exc
        return _Given(name, AGENT, value, value)


def parse_route(text: str | None, environ: Mapping[str, str]) -> Route:
    """
    The settings that *text* and *environ* together stand for.

    Without a text, `ROUTE_URIS` of the environment is the route, and without that `cloudwatch://`.

    Raises RouteError, before anything is done, for what cannot be meant.
    """
    if text is None:
        text = environ.get("ROUTE_URIS", "").strip() or "cloudwatch://"
    host, query = _split(text.strip())
    region = _region(host, environ)
    settings = _Reader(_options(query, environ), environ)
    return Route(
        region=region,
        delay_s=settings.last("DELAY", _delay_s, default=DEFAULT_DELAY_S),
        use_ec2=not settings.is_on("NOEC2"),
        debug=settings.is_on("DEBUG"),
        group_template=settings.last("LOGSPOUT_GROUP", _value, default=DEFAULT_GROUP_TEMPLATE),
        stream_template=settings.last("LOGSPOUT_STREAM", _value, default=DEFAULT_STREAM_TEMPLATE),
        filter_name=settings.last("filter.name", _value, default=""),
        filter_id=settings.last("filter.id", _container_id, default=""),
        filter_labels=settings.last("filter.labels", _label_patterns, default=()),
        filter_sources=settings.last("filter.sources", _sources, default=()),
        exclude_labels=_exclude_labels(settings),
        allow_tty=settings.last("ALLOW_TTY", _truth, default=False),
        backlog=settings.last("BACKLOG", _truth, default=True),
        tail=settings.last("TAIL", _tail, default=None),
    )


def parse_delay_s(text: str, where: str) -> float:
    """
    Seconds above 0, at most `MAX_DELAY_S`; *where* tells the reader of an error, "in the route".

    Raises RouteError for anything else.
    """
    delay_s = _seconds(text)
    if delay_s is None:
        raise RouteError(_not_a_delay(text, where))
    return delay_s


def is_region(text: str) -> bool:
    """
    Does this have the shape of a region's name, such as us-east-1?

    The shape only: new regions appear more often than this program is updated.
    """
    return _REGION.fullmatch(text) is not None


def _split(text: str) -> tuple[str, str]:
    """
    The host and the query of a route, as they were written.
    """
    if _ANOTHER_ROUTE.search(text):
        raise RouteError("several routes were given; give one (a comma in a value is %2C)")
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() != "cloudwatch":
        raise RouteError(_not_ours(scheme if mark else ""))
    if "#" in rest:
        raise RouteError("the route holds a #, which would cut it short; write %23 for it")
    host, _, query = rest.partition("?")
    _check_host(host)
    return host, query


def _not_ours(scheme: str) -> str:
    if scheme.lower().startswith("multiline+"):
        return f"routes do not begin with multiline+ here; write {_EXAMPLE} and --multiline PATTERN"
    problem = f"cannot begin with {_quoted(scheme)}" if scheme else "must begin with cloudwatch://"
    return f"the route {problem}; write one such as {_EXAMPLE}"


def _check_host(host: str) -> None:
    """
    Refuse what a URL may hold beside a host. Not shown: before an @ there may be a password.
    """
    for mark, problem in (
        ("@", "names a user; leave it out, credentials are found the usual AWS way"),
        (",", "holds several regions; give one"),
        ("/", "has a path; a region and ?OPTIONS are all it takes"),
        (":", "has a port; for another endpoint set AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
    ):
        if mark in host:
            raise RouteError(f"the route {problem}, as in {_EXAMPLE}")


def _region(host: str, environ: Mapping[str, str]) -> str | None:
    region = _filled(host, environ)
    if region.lower() in ("", "auto"):
        return None
    if is_region(region):
        return region
    hint = (
        f"did you mean {host.lower()}?"
        if is_region(host.lower())
        else "write auto to have it found"
    )
    raise RouteError(f"{_quoted(host)} in the route is no region such as us-east-1; {hint}")


def _options(query: str, environ: Mapping[str, str]) -> dict[str, _Given]:
    """
    The options of a route by name, each known and given once.
    """
    if ";" in query:  # a separator in Go before 1.17, an error since
        raise RouteError("the route's options hold a ;, separate them by & or write %3B for it")
    options: dict[str, _Given] = {}
    for part in filter(None, query.split("&")):
        name, _, text = part.partition("=")
        name = _decoded(name, "the name of an option")
        _check_name(name)
        if name in options:
            raise RouteError(f"option {name} is given twice in the route; leave one out")
        value = _decoded(_filled(text, environ), f"option {name}")
        if not value.strip() and name not in _SWITCHES:
            raise RouteError(f"option {name} in the route is empty; give a value or leave it out")
        options[name] = _Given(name, ROUTE, text, value)
    return options


def _check_name(name: str) -> None:
    setting = SETTINGS.get(name)
    if setting and ROUTE in setting.where:
        return
    if setting:
        raise RouteError(f"{name} is no option of a route; set it in the {setting.where[0]}")
    if name in _GONE:
        raise RouteError(
            f"{name} in the route is gone: it was for other places than CloudWatch; leave it out"
        )
    shown = name if _PLAIN.fullmatch(name) else _quoted(name)
    raise RouteError(f"unknown option {shown} in the route; {_meant(name)}")


def _meant(name: str) -> str:
    """
    The option that is like *name*, whatever its case, else all that there are.
    """
    known = {entry.name.lower(): entry.name for entry in _ENTRIES if ROUTE in entry.where}
    # shortened, as the time this takes grows with the square of the length
    near = difflib.get_close_matches(name.lower()[:_SHOWN_CHARS], known, 1, _NEAR)
    return f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(known.values())}"


def _filled(text: str, environ: Mapping[str, str]) -> str:
    """
    *text*, still encoded, with its variables filled in; what is filled in is never parsed.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not name:
            return match[0]
        if name not in environ:
            hint = "set it, or write %24 for a plain $"
            raise RouteError(f"${name[:_SHOWN_CHARS]} in the route is not set; {hint}")
        return quote_plus(environ[name], errors="surrogatepass")

    return _VARIABLE.sub(fill, text)


def _decoded(text: str, what: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise RouteError(f"{what} in the route holds a % without two digits; write %25 for it")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError as exc:
        raise RouteError(f"{what} in the route is not UTF-8 text") from exc


def _value(given: _Given) -> str:
    return given.value


def _delay_s(given: _Given) -> float:
    delay_s = _seconds(given.value)
    if delay_s is None:
        raise RouteError(_not_a_delay(given.text, f"in the {given.where}"))
    return delay_s


def _seconds(text: str) -> float | None:
    number = text.strip()
    delay_s = float(number) if _SECONDS.fullmatch(number) else 0.0
    return delay_s if 0 < delay_s <= MAX_DELAY_S else None


def _not_a_delay(text: str, where: str) -> str:
    bounds = f"above 0 and at most {MAX_DELAY_S:.0f}"
    return f"DELAY {_quoted(text)} {where} is no number of seconds {bounds}; write one such as 4"


def _tail(given: _Given) -> int | None:
    count = given.value.strip()
    if count.lower() == "all":
        return None
    if _LINES.fullmatch(count):
        return int(count)
    raise RouteError(f"{given} is {_quoted(given.text)}; write all or a number of lines")


def _truth(given: _Given) -> bool:
    word = given.value.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise RouteError(f"{given} is {_quoted(given.text)}; write true or false")


def _container_id(given: _Given) -> str:
    if _CONTAINER_ID.fullmatch(given.value):
        return given.value
    raise RouteError(f"{given} is not the beginning of an id; for a name use filter.name")


def _sources(given: _Given) -> tuple[str, ...]:
    sources = _entries(given.value, ",")
    if sources and set(sources) <= {"stdout", "stderr"}:
        return sources
    raise RouteError(f"{given} is {_quoted(given.text)}; write stdout or stderr")


def _label_patterns(given: _Given) -> tuple[str, ...]:
    patterns = _entries(given.value, ",")
    # without a colon logspout takes no notice, and everything is collected
    if patterns and all(pattern.find(":") > 0 for pattern in patterns):
        return patterns
    raise RouteError(f"{given} is {_quoted(given.text)}; write label:pattern for each")


def _exclude_labels(settings: _Reader) -> tuple[tuple[str, str], ...]:
    given = settings.given("EXCLUDE_LABELS") or settings.given("EXCLUDE_LABEL")
    return (
        tuple(_label(given[0], entry) for entry in _entries(given[0].value, ";")) if given else ()
    )


def _label(given: _Given, entry: str) -> tuple[str, str]:
    key, colon, value = entry.partition(":")
    if not key:
        raise RouteError(f"{given} has an entry without a label; write label or label:value")
    return key, value if colon else "true"


def _entries(text: str, separator: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(separator) if entry.strip())


def _quoted(text: str) -> str:
    """
    *text* in quotes, on one line, cut when it is long.
    """
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")
