"""
The route: `cloudwatch://REGION?OPTIONS` and the agent's environment in, one `Route` out.

Names and precedence are those of logspout and its CloudWatch adapter, so that a command line
written for them goes on working; settings.py has the table of them. What always holds:

- Every value that was given is checked, also one that a stronger place overrides.
- What was ignored in silence there is an error here: an unknown or repeated option, a DELAY that is
  no number, a label filter without a colon, a `#` or `;` that would have cut a value short.

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
from shipper.given import SHOWN_CHARS, Given, quoted
from shipper.settings import (
    AGENT,
    DEFAULT_GROUP_TEMPLATE,
    DEFAULT_STREAM_TEMPLATE,
    ROUTE,
    SETTINGS,
)

__all__ = ["DEFAULT_DELAY_S", "Route", "is_region", "parse_route"]

DEFAULT_DELAY_S = 4.0

_EXAMPLE = "cloudwatch://us-east-1"
_IMAGES_OWN = "cloudwatch://auto"
_NEAR = 0.7  # how alike, from 0 to 1, a name must be to be what was meant
_GONE = ("append_tag", "structured_data")  # options of logspout's other adapters
_SWITCHES = ("NOEC2", "DEBUG")  # options that say it all by being there

# us-east-1, us-gov-west-1, us-isob-east-1, eusc-de-east-1, cn-north-1
_REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{1,16}){1,4}-[0-9]{1,2}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_ANOTHER_ROUTE = re.compile(r",\s*[A-Za-z][A-Za-z0-9+.-]*://")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# an action of a template, left alone; or a variable, whose name is in one of the two groups
_VARIABLE = re.compile(
    r"(?:\{|%7[Bb]){2}.*?(?:\}|%7[Dd]){2}"
    r"|\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))"
)

_T = TypeVar("_T")


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


class _Reader:
    """
    The values given for a name, from the route's options and the environment.
    """

    def __init__(self, options: Mapping[str, Given], environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ

    def given(self, name: str) -> list[Given]:
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
        return any(not given.is_off() for given in self.given(name))

    def last(self, name: str, read: Callable[[Given], _T], *, default: _T) -> _T:
        """
        The strongest value given for *name*; the weaker ones are checked as well.
        """
        values = [read(given) for given in self.given(name)]
        return values[-1] if values else default

    def _from_environment(self, name: str) -> Given | None:
        value = self._environ.get(name, "")
        if not value.strip():
            return None
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise RouteError(f"{name} in the environment is not UTF-8 text") from exc
        return Given(name, AGENT, value, value)


def parse_route(text: str | None, environ: Mapping[str, str]) -> Route:
    """
    The settings that *text* and *environ* together stand for.

    Without a text, `ROUTE_URIS` of the environment is the route, and without that `cloudwatch://`.
    A bare `cloudwatch://auto`, the image's own command, is as none: it asks for nothing.

    Raises RouteError, before anything is done, for what cannot be meant.
    """
    if text is None or text.strip() == _IMAGES_OWN:
        text = environ.get("ROUTE_URIS", "").strip() or "cloudwatch://"
    host, query = _split(text.strip())
    region = _region(host, environ)
    settings = _Reader(_options(query, environ), environ)
    return Route(
        region=region,
        delay_s=settings.last("DELAY", Given.as_delay_s, default=DEFAULT_DELAY_S),
        use_ec2=not settings.is_on("NOEC2"),
        debug=settings.is_on("DEBUG"),
        group_template=settings.last(
            "LOGSPOUT_GROUP", Given.as_text, default=DEFAULT_GROUP_TEMPLATE
        ),
        stream_template=settings.last(
            "LOGSPOUT_STREAM", Given.as_text, default=DEFAULT_STREAM_TEMPLATE
        ),
        filter_name=settings.last("filter.name", Given.as_text, default=""),
        filter_id=settings.last("filter.id", Given.as_container_id, default=""),
        filter_labels=settings.last("filter.labels", Given.as_label_patterns, default=()),
        filter_sources=settings.last("filter.sources", Given.as_sources, default=()),
        exclude_labels=_excluded(settings),
        allow_tty=settings.last("ALLOW_TTY", Given.as_truth, default=False),
        backlog=settings.last("BACKLOG", Given.as_truth, default=True),
        tail=settings.last("TAIL", Given.as_lines, default=None),
    )


def _excluded(settings: _Reader) -> tuple[tuple[str, str], ...]:
    given = settings.given("EXCLUDE_LABELS") or settings.given("EXCLUDE_LABEL")
    return given[0].as_labels() if given else ()


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
    problem = f"cannot begin with {quoted(scheme)}" if scheme else "must begin with cloudwatch://"
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
    raise RouteError(f"{quoted(host)} in the route is no region such as us-east-1; {hint}")


def _options(query: str, environ: Mapping[str, str]) -> dict[str, Given]:
    """
    The options of a route by name, each known and given once.
    """
    if ";" in query:  # a separator in Go before 1.17, an error since
        raise RouteError("the route's options hold a ;, separate them by & or write %3B for it")
    options: dict[str, Given] = {}
    for part in filter(None, query.split("&")):
        name, _, text = part.partition("=")
        name = _decoded(name, "the name of an option")
        _check_name(name)
        if name in options:
            raise RouteError(f"option {name} is given twice in the route; leave one out")
        value = _decoded(_filled(text, environ), f"option {name}")
        if not value.strip() and name not in _SWITCHES:
            raise RouteError(f"option {name} in the route is empty; give a value or leave it out")
        options[name] = Given(name, ROUTE, text, value)
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
    shown = name if _PLAIN.fullmatch(name) else quoted(name)
    raise RouteError(f"unknown option {shown} in the route; {_meant(name)}")


def _meant(name: str) -> str:
    """
    The option that is like *name*, whatever its case, else all that there are.
    """
    known = {entry.name.lower(): entry.name for entry in SETTINGS.values() if ROUTE in entry.where}
    # shortened, as the time this takes grows with the square of the length
    near = difflib.get_close_matches(name.lower()[:SHOWN_CHARS], known, 1, _NEAR)
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
            raise RouteError(f"${name[:SHOWN_CHARS]} in the route is not set; {hint}")
        return quote_plus(environ[name], errors="surrogatepass")

    return _VARIABLE.sub(fill, text)


def _decoded(text: str, what: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise RouteError(f"{what} in the route holds a % without two digits; write %25 for it")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError as exc:
        raise RouteError(f"{what} in the route is not UTF-8 text") from exc
