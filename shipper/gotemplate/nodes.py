"""
The tree of a parsed template: what the parser makes and the evaluator walks.

Operands are values in an action, nodes are what stands between the texts. Nothing here is changed
once it is made.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """
    A constant: true, 12, 1.5, 2i, 'a' (as its number), "text".
    """

    value: bool | int | float | complex | str


@dataclass(frozen=True, slots=True)
class Dot:
    """
    The cursor: `.`
    """


@dataclass(frozen=True, slots=True)
class Nil:
    """
    The word `nil`.
    """


@dataclass(frozen=True, slots=True)
class Field:
    """
    Fields of the cursor: `.Env.NAME`
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable and perhaps its fields: `$x`, `$x.Env.NAME`; `$` is the data of the template.
    """

    name: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """
    The name of a function that exists.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """
    Fields of anything else: `(index .Env "X").y`
    """

    base: "Operand"
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """
    Commands joined by `|`, and the variables that take the result, newly declared or assigned.
    """

    commands: tuple[tuple["Operand", ...], ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False


Operand: TypeAlias = Literal | Dot | Nil | Field | Variable | Function | Chain | Pipe


@dataclass(frozen=True, slots=True)
class Text:
    """
    What stands outside actions, spaces trimmed where a `-` asked for it.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """
    A pipeline whose value is printed, unless it went into a variable.
    """

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Control:
    """
    A pipeline that decides what becomes of a body.
    """

    pipe: Pipe
    body: "Tree"
    otherwise: "Tree"


@dataclass(frozen=True, slots=True)
class If(Control):
    """
    `{{if}}`
    """


@dataclass(frozen=True, slots=True)
class With(Control):
    """
    `{{with}}`: the value becomes the cursor.
    """


@dataclass(frozen=True, slots=True)
class Range(Control):
    """
    `{{range}}`: each entry becomes the cursor.
    """


@dataclass(frozen=True, slots=True)
class Call:
    """
    `{{template "name" pipeline}}`
    """

    name: str
    pipe: Pipe | None


@dataclass(frozen=True, slots=True)
class Break:
    """
    `{{break}}`
    """


@dataclass(frozen=True, slots=True)
class Continue:
    """
    `{{continue}}`
    """


Node: TypeAlias = Text | Action | If | With | Range | Call | Break | Continue
Tree: TypeAlias = tuple[Node, ...]
