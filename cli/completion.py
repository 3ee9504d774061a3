"""
spool completion: what a shell needs to complete commands and options.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]

SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.option("--db", expose_value=False, help="As everywhere; here it is not read.")
@click.argument("shell", type=click.Choice(SHELLS))
def command(*, shell: str) -> None:
    """
    Print a script for SHELL, which then completes commands and options of spool.

    \b
    Examples:
      spool completion bash > /etc/bash_completion.d/spool
      spool completion zsh > ~/.zfunc/_spool
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"nothing is known of {shell}")
    root = click.get_current_context().find_root().command
    click.echo(completion(root, {}, "spool", "_SPOOL_COMPLETE").source())
