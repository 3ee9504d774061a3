"""
Writes docs/settings.md to stdout, from the tables and options that the commands read: `make docs`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from cli.main import COMMANDS
from shipper.settings import AGENT, CONTAINER, ROUTE, SETTINGS, Setting
from shipper.sources import multiline

PLACES = {ROUTE: "route", AGENT: "agent", CONTAINER: "container"}

HEAD = """\
# Settings

Made from the code by `make docs`; a test holds them together.

An empty value in the environment counts as not given. What is wrong is told before anything is
collected: in one line, with exit code 2, and for an unknown option of a route with the nearest known.

Durations are written as `90s`, `15m`, `2h`, `1h30m` or `7d`, sizes as `512KiB`, `1MiB` or `1000000`.
"""

ROUTE_HEAD = """\
## The route, and logspout's names

`cloudwatch://REGION?OPTION=VALUE&OPTION=VALUE`; REGION is a name such as `us-east-1`, or `auto`, or
empty: then it is EC2's, that of `AWS_REGION` or `AWS_DEFAULT_REGION`, or that of the AWS profile.
`$NAME` and `${NAME}` are filled from the environment, but not inside `{{ }}`.

*Where*: an option of the route, the environment of the agent, or the environment of a container. The
last one named wins; for `NOEC2` and `DEBUG` one is enough, with any value but `false`.
"""

NAMES = """\
### Templates of names

`LOGSPOUT_GROUP` and `LOGSPOUT_STREAM` are Go templates (text/template) over these: `{{.Name}}` the container's
name, `{{.ID}}` its id, `{{.Host}}` its hostname, `{{.Env.X}}` its environment, `{{.Labels.x}}` or
`{{.Lbl "com.example.x"}}` its labels, `{{.LoggerHost}}` the host's name, `{{.InstanceID}}` and
`{{.Region}}` EC2's. In a container the host's name is read from `/etc/host_hostname`: mount the host's
`/etc/hostname` there. What CloudWatch does not take in a name is replaced, and two names stay two;
`spool names` shows both. Without Docker's mounts `SPOOL_NODE_NAME` in the agent's environment is the
host's name, and `SPOOL_POD_UID` says in which pod the agent runs, so that it leaves that one out:
`deploy/` sets both where they are needed.
"""

MULTILINE_HEAD = """\
## Events of several lines

`--multiline PATTERN`, or logspout's settings; any of them switches it on.
"""

OPTIONS_HEAD = """\
## Options of `spool run`
"""

OTHERS_HEAD = """\
## Options of the other commands that the environment gives
"""

FOREIGN = """\
## Read by the libraries

AWS credentials and connections are found as by every AWS tool, in the environment, `~/.aws`, a task's
role or the instance's. What is used most:

| setting | |
| --- | --- |
| `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_PROFILE` | the region where the route has none; the profile |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | credentials, where there is no role |
| `AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE` | where `~/.aws` is elsewhere |
| `AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE` | a role by a token, as in Kubernetes |
| `AWS_ENDPOINT_URL_CLOUDWATCH_LOGS`, `AWS_ENDPOINT_URL` | another endpoint: a VPC's, a test's |
| `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT` | `true`: the endpoints of that kind |
| `AWS_CA_BUNDLE` | certificates to trust, such as a proxy's |
| `HTTPS_PROXY`, `NO_PROXY` | the proxy to AWS |
| `AWS_EC2_METADATA_DISABLED`, `AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_EC2_METADATA_V1_DISABLED` | EC2's metadata: not asked, elsewhere, by IMDSv2 alone |
| `DOCKER_HOST` | the Docker Engine; else `/var/run/docker.sock`, or `/tmp/docker.sock` where only that is |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | set by systemd: what the agent tells it, see [systemd.md](systemd.md) |
"""


def main() -> None:
    print(HEAD)
    print(ROUTE_HEAD)
    print_settings(SETTINGS.values())
    print(f"\n{NAMES}")
    print(MULTILINE_HEAD)
    print_settings(multiline.SETTINGS)
    print(f"\n{OPTIONS_HEAD}")
    print_options("run")
    print(f"\n{OTHERS_HEAD}")
    print_table(("option", "environment", "commands"), shared_options())
    print(f"\n{FOREIGN}", end="")


def print_settings(settings: Iterable[Setting]) -> None:
    rows = (
        (
            f"`{setting.name}`",
            ", ".join(PLACES[place] for place in setting.where),
            escaped(setting.meaning),
            code(setting.default),
        )
        for setting in settings
    )
    print_table(("name", "where", "what it does", "default"), rows)


def print_options(name: str) -> None:
    command: click.Command = import_module(f"cli.{name}").command
    rows = (
        (
            f"`{escaped(written(option))}`",
            code(str(option.envvar or "")),
            escaped(meaning(option)),
            code(default(option)),
        )
        for option in command.params
        if isinstance(option, click.Option)
    )
    print_table(("option", "environment", "what it does", "default"), rows)


def written(option: click.Option) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    choices = isinstance(option.type, click.Choice) and "|".join(map(str, option.type.choices))
    return f"{names} {option.metavar or choices or option.type.name.partition(' ')[0].upper()}"


def meaning(option: click.Option) -> str:
    """
    Its help, without what stands in other columns.
    """
    text = option.help or ""
    return text.partition(" [default:")[0].partition(" [env:")[0]


def default(option: click.Option) -> str:
    """
    As `--help` tells it.
    """
    _, _, told = (option.help or "").partition("[default: ")
    if told or isinstance(option.show_default, str):
        return told.rstrip("]") or str(option.show_default)
    if not option.show_default:
        return ""
    if option.secondary_opts:
        return option.opts[0] if option.default else option.secondary_opts[0]
    return str(option.default)


def shared_options() -> list[tuple[str, str, str]]:
    """
    Options of which the environment tells, and the commands that have them, but for `run`.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in COMMANDS:
        for option in import_module(f"cli.{name}").command.params:
            if option.envvar and name != "run":
                found.setdefault((f"`{option.opts[0]}`", f"`{option.envvar}`"), []).append(name)
    return [(*names, ", ".join(commands)) for names, commands in found.items()]


def print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def code(text: str) -> str:
    return f"`{escaped(text)}`" if text else ""


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
