"""
Go's text/template, safely: the names of log groups and streams.

In come a template, from an operator or from any container, and the context of that container; out
goes the text that Go 1.19 would print for logspout-cloudwatch, or a TemplateError. Always holds:

- A value is never rendered again, and nothing of Python is reached by name: fields, methods and
  functions are those of the tables in `values` and `functions`.
- Work, depth, template and output are bounded (`limits`); Go's own bounds are far beyond these.
- Bytes that are no UTF-8, as of a rune that `slice` has cut, leave as U+FFFD, one for each piece
  (the WHATWG's way). Until then they are kept as Go keeps them, so halves may meet again.

The way: lexer -> parser -> evaluate, with printing and functions beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shipper.gotemplate.errors import TemplateError
from shipper.gotemplate.evaluate import evaluate
from shipper.gotemplate.limits import TEMPLATE_MAX_CHARS
from shipper.gotemplate.nodes import Tree
from shipper.gotemplate.parser import MAIN, parse_trees
from shipper.gotemplate.values import Context, to_bytes

__all__ = ["Context", "Template", "TemplateError", "parse"]


@dataclass(frozen=True, slots=True)
class Template:
    """
    A parsed template. It is never changed, so any number of threads may render it.
    """

    trees: Mapping[str, Tree]

    def render(self, context: Context) -> str:
        """
        The text for this context, OUTPUT_MAX_CHARS at most.

        Raises TemplateError "exec" if the context lacks what the template asks for, or a bound is
        reached.
        """
        try:
            text = evaluate(self.trees, MAIN, context)
        except RecursionError as error:  # our depth is bounded, the caller's is not
            raise TemplateError("exec", "the stack is full") from error
        return to_bytes(text).decode("utf-8", "replace")


def parse(text: str) -> Template:
    """
    The template of a text.

    Raises TemplateError "parse" if it is none, or longer or deeper than the bounds.
    """
    if len(text) > TEMPLATE_MAX_CHARS:
        raise TemplateError("parse", f"longer than {TEMPLATE_MAX_CHARS} characters")
    try:
        return Template(parse_trees(text))
    except RecursionError as error:
        raise TemplateError("parse", "the stack is full") from error
