"""
A parsed template, walked in one context.

In come the trees and the context, out goes the text, or an error and no text. Values are looked up
in the context's own table and are never rendered again; every step is paid for.
"""

from collections.abc import Mapping, Sequence

from shipper.gotemplate import nodes
from shipper.gotemplate.errors import failed
from shipper.gotemplate.formatting import sort_entries
from shipper.gotemplate.functions import FUNCTIONS, SHORT_CIRCUITS
from shipper.gotemplate.limits import NODE_WORK, OUTPUT_MAX_CHARS, Budget, Depth
from shipper.gotemplate.printing import show
from shipper.gotemplate.values import INT_MAX, Context, Record, Value, join, type_name

# the value that a pipeline hands to its next command: none at its beginning
_Piped = tuple[()] | tuple[Value]


def evaluate(trees: Mapping[str, nodes.Tree], name: str, context: Context) -> str:
    """
    The text that the tree of that name makes of the context.

    Raises TemplateError "exec".
    """
    evaluator = _Evaluator(trees)
    evaluator.call(name, Record(context))
    return join(evaluator.out)


class _Break(Exception):
    """
    `{{break}}` on its way to its range.
    """


class _Continue(Exception):
    """
    `{{continue}}` on its way to its range.
    """


class _Evaluator:
    """
    One rendering. `dot` is the cursor; variables are a stack, as Go's quirks need one.
    """

    def __init__(self, trees: Mapping[str, nodes.Tree]) -> None:
        self.out: list[str] = []
        self._size = 0
        self._trees = trees
        self._budget = Budget()
        self._depth = Depth("exec")
        self._variables: list[tuple[str, Value]] = []

    # nodes

    def call(self, name: str, dot: Value) -> None:
        if name not in self._trees:
            raise failed(f"template {name[:40]!r} not defined")
        outer, self._variables = self._variables, [("$", dot)]
        self._walk(dot, self._trees[name])
        self._variables = outer

    def _walk(self, dot: Value, tree: nodes.Tree) -> None:
        with self._depth:
            for node in tree:
                self._budget.spend(NODE_WORK)
                self._step(dot, node)

    def _step(self, dot: Value, node: nodes.Node) -> None:
        match node:
            case nodes.Text():
                self._write(node.text)
            case nodes.Action():
                value = self._pipeline(dot, node.pipe)
                if not node.pipe.variables:
                    self._write(show(self._budget, value))
            case nodes.Range():
                self._range(dot, node)
            case nodes.If() | nodes.With():
                self._choose(dot, node)
            case nodes.Call():
                self.call(node.name, None if node.pipe is None else self._pipeline(dot, node.pipe))
            case nodes.Break():
                raise _Break
            case nodes.Continue():
                raise _Continue

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > OUTPUT_MAX_CHARS:
            raise failed(f"more than {OUTPUT_MAX_CHARS} characters of output")
        self.out.append(text)

    def _choose(self, dot: Value, node: nodes.If | nodes.With) -> None:
        outer = len(self._variables)
        try:
            value = self._pipeline(dot, node.pipe)
            if not value:
                self._walk(dot, node.otherwise)
            else:
                self._walk(value if isinstance(node, nodes.With) else dot, node.body)
        finally:
            del self._variables[outer:]

    def _range(self, dot: Value, node: nodes.Range) -> None:
        outer = len(self._variables)
        try:
            value = self._pipeline(dot, node.pipe)
            if value is not None and not isinstance(value, Mapping):
                raise failed(f"range can't iterate over {type_name(value)}")
            if not value:
                self._walk(dot, node.otherwise)
            for key, element in sort_entries(value or {}, self._budget):
                self._iterate(node, key, element)
        except _Break:
            pass
        finally:
            del self._variables[outer:]

    def _iterate(self, node: nodes.Range, key: str, element: str) -> None:
        self._budget.spend(NODE_WORK)
        for place, value in zip((-1, -2), (element, key)[: len(node.pipe.variables)], strict=False):
            self._set_top(place, value)
        outer = len(self._variables)
        try:
            self._walk(element, node.body)
        except _Continue:
            pass
        finally:
            del self._variables[outer:]

    # variables

    def _find(self, name: str) -> int:
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == name:
                self._budget.spend(len(self._variables) - place)
                return place
        raise failed(f"undefined variable {name[:40]!r}")

    def _set_top(self, place: int, value: Value) -> None:
        """
        Go sets the topmost variables, even where {{range $x = ...}} assigns to others.
        """
        if len(self._variables) < -place:
            raise failed("range has no variable to set")
        self._variables[place] = (self._variables[place][0], value)

    def _keep(self, name: str, value: Value, *, assigns: bool) -> None:
        if assigns:
            self._variables[self._find(name)] = (name, value)
        else:
            self._variables.append((name, value))

    # pipelines

    def _pipeline(self, dot: Value, pipe: nodes.Pipe) -> Value:
        piped: _Piped = ()
        with self._depth:
            for command in pipe.commands:
                piped = (self._command(dot, command[0], command[1:], piped),)
        value = piped[0] if piped else None
        for name in pipe.variables:
            self._keep(name, value, assigns=pipe.assigns)
        return value

    def _command(
        self, dot: Value, head: nodes.Operand, rest: Sequence[nodes.Operand], piped: _Piped
    ) -> Value:
        self._budget.spend(NODE_WORK)
        match head:
            case nodes.Field():
                return self._fields(dot, dot, head.names, rest, piped)
            case nodes.Chain():
                return self._fields(dot, self._operand(dot, head.base), head.fields, rest, piped)
            case nodes.Variable() if head.fields:
                value = self._variables[self._find(head.name)][1]
                return self._fields(dot, value, head.fields, rest, piped)
            case nodes.Function():
                return self._call(dot, head.name, rest, piped)
        if rest or piped:
            raise failed("can't give an argument to what is no function")
        return self._value(dot, head)

    def _value(self, dot: Value, node: nodes.Operand) -> Value:
        match node:
            case nodes.Dot():
                return dot
            case nodes.Pipe():
                return self._pipeline(dot, node)
            case nodes.Variable():
                return self._variables[self._find(node.name)][1]
            case nodes.Literal():
                if isinstance(node.value, int) and node.value > INT_MAX:
                    raise failed(f"{node.value} overflows int")
                return node.value
        raise failed("nil is not a command")

    def _operand(self, dot: Value, node: nodes.Operand) -> Value:
        return None if isinstance(node, nodes.Nil) else self._command(dot, node, (), ())

    def _fields(
        self,
        dot: Value,
        value: Value,
        names: tuple[str, ...],
        rest: Sequence[nodes.Operand],
        piped: _Piped,
    ) -> Value:
        """
        A chain of fields; arguments belong to the last one, and only a method takes them.
        """
        for name in names[:-1]:
            value = self._field(dot, value, name, (), ())
        return self._field(dot, value, names[-1], rest, piped)

    def _field(
        self, dot: Value, value: Value, name: str, rest: Sequence[nodes.Operand], piped: _Piped
    ) -> Value:
        self._budget.spend(NODE_WORK)
        if value is None:
            return None
        if isinstance(value, Record) and name in value.methods:
            arguments = [self._operand(dot, n) for n in rest] + [*piped]
            if len(arguments) != 1 or not isinstance(arguments[0], str):
                raise failed(f"{name} takes one string")
            return value.methods[name](arguments[0])
        if not isinstance(value, Mapping) and not (
            isinstance(value, Record) and name in value.names
        ):
            raise failed(f"can't evaluate field {name[:40]} in type {type_name(value)}")
        if rest or piped:
            raise failed(f"{name[:40]} has arguments but is no method")
        return value.get(name)

    # functions

    def _call(self, dot: Value, name: str, rest: Sequence[nodes.Operand], piped: _Piped) -> Value:
        function = FUNCTIONS[name]
        count = len(rest) + len(piped)
        if count < function.least or (function.most is not None and count > function.most):
            raise failed(f"wrong number of arguments for {name}: {count}")
        if name in SHORT_CIRCUITS:
            return self._short_circuit(dot, rest, piped, until=name == "or")
        values = [self._operand(dot, n) for n in rest] + [*piped]
        self._budget.spend(sum(len(v) for v in values if isinstance(v, str)))
        return function.run(self._budget, *values)

    def _short_circuit(
        self, dot: Value, rest: Sequence[nodes.Operand], piped: _Piped, *, until: bool
    ) -> Value:
        value: Value = None
        for node in rest:
            value = self._operand(dot, node)
            if bool(value) is until:
                return value
        return piped[0] if piped else value
