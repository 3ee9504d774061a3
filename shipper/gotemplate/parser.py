"""
The trees of a template: the text's own, and one for each {{define}} and {{block}} in it.

In comes the text, out go the trees by name. {{break}} and {{continue}} stand in a {{range}}, and no
tree is deeper than DEPTH_MAX.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shipper.gotemplate import nodes
from shipper.gotemplate.lexer import Token, tokenize
from shipper.gotemplate.literals import unquote
from shipper.gotemplate.pipelines import PipelineParser

# logspout-cloudwatch names its template so, and templates can call it
MAIN = "template"

_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_CONTROLS: dict[str, type[nodes.If | nodes.With | nodes.Range]] = {
    "if": nodes.If,
    "with": nodes.With,
    "range": nodes.Range,
}
_JUMPS: dict[str, type[nodes.Break | nodes.Continue]] = {
    "break": nodes.Break,
    "continue": nodes.Continue,
}
_ACTIONS = frozenset((*_CONTROLS, *_JUMPS, "template", "block", "else", "end"))


def parse_trees(text: str) -> dict[str, nodes.Tree]:
    """
    The trees of a template by name, its own as MAIN.

    Raises TemplateError "parse", with the place.
    """
    return _Parser(tokenize(text)).parse()


def _is_blank(tree: nodes.Tree) -> bool:
    return all(isinstance(n, nodes.Text) and not n.text.strip(_WHITE_SPACE) for n in tree)


class _Parser(PipelineParser):
    """
    One function for each rule of the grammar; a rule begins at the token after its keyword.
    """

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._ranges = 0
        self._trees: dict[str, nodes.Tree] = {}

    def parse(self) -> dict[str, nodes.Tree]:
        main: list[nodes.Node] = []
        while self._peek().kind != "eof":
            if self._peek().kind == "{{" and self._tokens[self._at + 1].kind == "define":
                self._at += 2
                self._define()
                continue
            node = self._node()
            if isinstance(node, str):
                raise self._error(f"unexpected {{{{{node}}}}}")
            main.append(node)
        self._add(MAIN, tuple(main))
        return self._trees

    def _add(self, name: str, tree: nodes.Tree) -> None:
        if _is_blank(self._trees.get(name, ())):
            self._trees[name] = tree
        elif not _is_blank(tree):
            raise self._error(f"multiple definition of template {name[:40]!r}")

    def _define(self) -> None:
        name = unquote(self._expect("string", "define clause").text)
        self._expect("}}", "define clause")
        self._add(name, self._own_tree("define clause"))

    def _own_tree(self, rule: str) -> nodes.Tree:
        with self._own_scope():
            tree, stop = self._list()
        if stop != "end":
            raise self._error(f"unexpected {{{{else}}}} in {rule}")
        return tree

    @contextmanager
    def _own_scope(self) -> Iterator[None]:
        outer = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        yield
        self._variables, self._ranges = outer

    def _list(self) -> tuple[nodes.Tree, str]:
        """
        Nodes up to {{end}} or {{else}}, and which of the two it was.
        """
        tree: list[nodes.Node] = []
        with self._depth:
            while self._peek().kind != "eof":
                node = self._node()
                if isinstance(node, str):
                    return tuple(tree), node
                tree.append(node)
        raise self._error("unexpected end of the template")

    # actions

    def _node(self) -> nodes.Node | str:
        token = self._take()
        if token.kind == "text":
            return nodes.Text(token.text)
        if token.kind != "{{":
            raise self._unexpected(token, "input")
        return self._action()

    def _action(self) -> nodes.Node | str:
        keyword = self._peek().kind
        if keyword not in _ACTIONS:
            return nodes.Action(self._pipeline("command", "}}"))
        self._take()
        match keyword:
            case "if" | "with" | "range":
                return self._control(keyword)
            case "break" | "continue":
                return self._jump(keyword)
            case "template":
                return self._call()
            case "block":
                return self._block()
        if keyword == "end" or self._peek().kind != "if":
            self._expect("}}", keyword)
        return keyword

    def _jump(self, keyword: str) -> nodes.Node:
        self._expect("}}", keyword)
        if not self._ranges:
            raise self._error(f"{{{{{keyword}}}}} outside {{{{range}}}}")
        return _JUMPS[keyword]()

    def _control(self, keyword: str) -> nodes.Node:
        outer = len(self._variables)
        pipe = self._pipeline(keyword, "}}")
        self._ranges += keyword == "range"
        body, stop = self._list()
        self._ranges -= keyword == "range"
        otherwise = self._otherwise(keyword) if stop == "else" else ()
        del self._variables[outer:]
        return _CONTROLS[keyword](pipe, body, otherwise)

    def _otherwise(self, keyword: str) -> nodes.Tree:
        if keyword == "if" and self._peek().kind == "if":
            self._take()
            with self._depth:
                return (self._control("if"),)  # its {{end}} is ours too
        tree, stop = self._list()
        if stop != "end":
            raise self._error("expected {{end}}, found {{else}}")
        return tree

    def _call(self) -> nodes.Node:
        name = unquote(self._expect("string", "template clause").text)
        if self._peek().kind == "}}":
            self._take()
            return nodes.Call(name, None)
        return nodes.Call(name, self._pipeline("template clause", "}}"))

    def _block(self) -> nodes.Node:
        name = unquote(self._expect("string", "block clause").text)
        pipe = self._pipeline("block clause", "}}")
        self._add(name, self._own_tree("block clause"))
        return nodes.Call(name, pipe)
