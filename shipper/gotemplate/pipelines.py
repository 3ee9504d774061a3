"""
The inside of an action: pipelines of commands, and their operands.

In come the tokens of a template, of which this takes a pipeline at a time; out go its nodes. Every
function named in them exists, every variable is declared before it is used.
"""

from collections.abc import Iterator

from shipper.gotemplate import nodes
from shipper.gotemplate.errors import TemplateError
from shipper.gotemplate.functions import FUNCTIONS
from shipper.gotemplate.lexer import Token
from shipper.gotemplate.limits import Depth
from shipper.gotemplate.literals import number, unquote

_BEGINS_OPERAND = frozenset(
    ("bool", "number", "string", "name", "variable", "field", "dot", "nil", "(")
)
_RANGE_VARIABLES = 2  # key and value


class PipelineParser:
    """
    The tokens, and one function for each rule of the grammar up to the pipeline.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = Depth("parse")
        self._variables = ["$"]

    # tokens

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "eof":
            self._at += 1
        return token

    def _expect(self, kind: str, rule: str) -> Token:
        token = self._take()
        if token.kind != kind:
            raise self._unexpected(token, rule)
        return token

    def _error(self, message: str) -> TemplateError:
        return TemplateError("parse", f"{message} at character {self._peek().at + 1}")

    def _unexpected(self, token: Token, rule: str) -> TemplateError:
        found = f"{token.text[:40]!r}" if token.text else "end of the template"
        return TemplateError("parse", f"unexpected {found} in {rule} at character {token.at + 1}")

    # pipelines

    def _pipeline(self, rule: str, end: str) -> nodes.Pipe:
        with self._depth:
            variables, assigns = self._declarations(rule)
            commands: list[tuple[nodes.Operand, ...]] = []
            while (token := self._peek()).kind != end:
                if token.kind not in _BEGINS_OPERAND:
                    raise self._unexpected(token, rule)
                commands.append(self._command())
        if not commands:
            raise self._error(f"missing value for {rule}")
        if any(isinstance(c[0], nodes.Literal | nodes.Dot | nodes.Nil) for c in commands[1:]):
            raise self._error("a constant or dot behind | in a pipeline")
        self._take()
        return nodes.Pipe(tuple(commands), tuple(variables), assigns)

    def _declarations(self, rule: str) -> tuple[list[str], bool]:
        names: list[str] = []
        while self._peek().kind == "variable":
            follower = self._tokens[self._at + 1]
            if follower.kind not in (":=", "=") and follower.text != ",":
                break
            names.append(self._peek().text)
            self._variables.append(names[-1])
            self._at += 2
            if follower.text != ",":
                return names, follower.kind == "="
            if (
                rule != "range"
                or len(names) == _RANGE_VARIABLES
                or self._peek().kind not in ("variable", "}}", ")")
            ):
                raise self._error(f"bad declaration in {rule}")
        return names, False

    def _command(self) -> tuple[nodes.Operand, ...]:
        operands: list[nodes.Operand] = []
        while (operand := self._operand()) is not None:
            operands.append(operand)
            if not self._peek().spaced:
                break
        token = self._peek()
        if token.kind == "|":
            self._take()
        elif token.kind not in ("}}", ")"):
            raise self._unexpected(token, "operand")
        return tuple(operands)

    def _operand(self) -> nodes.Operand | None:
        if self._peek().kind not in _BEGINS_OPERAND:
            return None
        term = self._term(self._take())
        fields = tuple(self._adjacent_fields())
        if not fields:
            return term
        match term:
            case nodes.Field(names):
                return nodes.Field(names + fields)
            case nodes.Variable(name):
                return nodes.Variable(name, fields)
            case nodes.Literal() | nodes.Dot() | nodes.Nil():
                raise self._error("unexpected . after a term")
        return nodes.Chain(term, fields)

    def _adjacent_fields(self) -> Iterator[str]:
        while self._peek().kind == "field" and not self._peek().spaced:
            yield self._take().text[1:]

    def _term(self, token: Token) -> nodes.Operand:
        match token.kind:
            case "name":
                return self._function(token)
            case "variable":
                return self._variable(token)
            case "field":
                return nodes.Field((token.text[1:],))
            case "dot" | "nil":
                return nodes.Dot() if token.kind == "dot" else nodes.Nil()
            case "(":
                return self._pipeline("parenthesized pipeline", ")")
        return nodes.Literal(_constant(token))

    def _function(self, token: Token) -> nodes.Function:
        if token.text not in FUNCTIONS:
            raise self._error(f"function {token.text[:40]!r} not defined")
        return nodes.Function(token.text)

    def _variable(self, token: Token) -> nodes.Variable:
        if token.text not in self._variables:
            raise self._error(f"undefined variable {token.text[:40]!r}")
        return nodes.Variable(token.text)


def _constant(token: Token) -> bool | int | float | complex | str:
    if token.kind == "bool":
        return token.text == "true"
    return unquote(token.text) if token.kind == "string" else number(token.text)
