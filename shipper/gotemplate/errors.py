"""
The one error of a template, sorted by the stage that found it.
"""

from typing import Literal

Kind = Literal["parse", "exec"]


class TemplateError(ValueError):
    """
    A template that cannot be parsed ("parse"), or not be rendered in this context ("exec").

    A bound that was reached is an error of the stage that reached it. Either way the caller has no
    text, and uses its default name.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


def failed(message: str) -> TemplateError:
    """
    The error of a template that parses but cannot be rendered.
    """
    return TemplateError("exec", message)
