"""
The tokens of a template.

In comes the text, out goes a list of tokens that ends with "eof". Texts between actions come
trimmed; comments are gone; every action is closed and so is every parenthesis in it. A token's kind
is the sign or keyword itself where there is only one: "{{", "(", "|", ":=", "if".
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from unicodedata import category

from shipper.gotemplate.errors import TemplateError
from shipper.gotemplate.literals import NUMBER

SPACES = " \t\r\n"
_SPACE_SET = frozenset(SPACES)
_SPACE_RUN = re.compile(rf"[{SPACES}]*+")
_WORDS = "block break continue define else end if nil range template with"
_KEYWORDS = frozenset(_WORDS.split())
_ENDS_WORD = frozenset(SPACES + ".,|:()")
_SIGNS = frozenset("()|=")
_SAME = {"raw": "string", "rune": "number"}

_TOKEN = re.compile(
    rf"""
    (?P<declare> :=)
    | (?P<string> "(?:[^"\\\n]|\\[^\n])*+")
    | (?P<raw> `[^`]*+`)
    | (?P<rune> '(?:[^'\\\n]|\\[^\n])*+')
    | (?P<number> (?=[+-]|\.?[0-9]) {NUMBER} (?:(?=[+-]){NUMBER}(?=i))?+ i?+)
    | (?P<variable> \$\w*+)
    | (?P<field> \.\w++)
    | (?P<dot> \.)
    | (?P<word> \w++)
    | (?P<sign> (?!["`':])[!-~])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """
    A piece of the template, where it begins, and whether spaces stand before it.
    """

    kind: str
    text: str
    at: int
    spaced: bool = False


def tokenize(text: str) -> list[Token]:
    """
    All tokens of a template.

    Raises TemplateError "parse", with the place.
    """
    return list(_tokens(text))


def _error(message: str, at: int) -> TemplateError:
    return TemplateError("parse", f"{message} at character {at + 1}")


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while (left := text.find("{{", at)) >= 0:
        trims = text[left + 2 : left + 3] == "-" and text[left + 3 : left + 4] in _SPACE_SET
        plain = text[at:left].rstrip(SPACES) if trims else text[at:left]
        if plain:
            yield Token("text", plain, at)
        at = left + (4 if trims else 2)
        if text.startswith("/*", at):
            at = _after_comment(text, at)
        else:
            yield Token("{{", "{{", left)
            at = yield from _action(text, at)
    if at < len(text):
        yield Token("text", text[at:], at)
    yield Token("eof", "", len(text))


def _after_close(text: str, at: int) -> int | None:
    if text.startswith("}}", at):
        return at + 2
    if text[at : at + 1] in _SPACE_SET and text.startswith("-}}", at + 1):
        return _after_spaces(text, at + 4)
    return None


def _after_spaces(text: str, at: int) -> int:
    match = _SPACE_RUN.match(text, at)
    return match.end() if match else at


def _after_comment(text: str, at: int) -> int:
    end = text.find("*/", at + 2)
    if end < 0:
        raise _error("unclosed comment", at)
    after = _after_close(text, end + 2)
    if after is None:
        raise _error("comment ends before the closing delimiter", end)
    return after


def _action(text: str, at: int) -> Generator[Token, None, int]:
    parentheses = 0
    while True:
        begin, at = at, _after_spaces(text, at)
        # the space of " -}}" belongs to the delimiter
        close = _after_close(text, at) or (_after_close(text, at - 1) if at > begin else None)
        if close is not None:
            if parentheses:
                raise _error("unclosed left paren", at)
            yield Token("}}", "}}", at)
            return close
        token = _token(text, at, spaced=at > begin)
        parentheses += (token.kind == "(") - (token.kind == ")")
        if parentheses < 0:
            raise _error("unexpected right paren", at)
        yield token
        at += len(token.text)


def _token(text: str, at: int, *, spaced: bool) -> Token:
    match = _TOKEN.match(text, at)
    if match is None:
        raise _error(
            "unclosed action" if at == len(text) else "bad character or unclosed quote", at
        )
    kind, body = match.lastgroup or "", match[0]
    if kind in ("variable", "field", "dot", "word"):
        _check_word(text, match)
    elif kind == "number" and _goes_on(text[match.end() : match.end() + 1]):
        raise _error("bad number syntax", at)
    return Token(_kind(kind, body), body, at, spaced)


def _kind(kind: str, body: str) -> str:
    if kind == "word" and body not in _KEYWORDS:
        return "bool" if body in ("true", "false") else "name"
    if kind in ("word", "declare") or body in _SIGNS:
        return body
    return _SAME.get(kind, kind)


def _goes_on(character: str) -> bool:
    return character in ("+", "-", "_") or character.isalnum()


def _check_word(text: str, match: re.Match[str]) -> None:
    after = match.end()
    follower = text[after : after + 1]
    if follower and follower not in _ENDS_WORD and not text.startswith("}}", after):
        raise _error("bad character", after)
    # Python's \w has numbers such as ² that are neither a letter nor a digit to Go
    letters = match[0].lstrip("$.")
    if not letters.isascii() and any(c != "_" and _is_foreign(c) for c in letters):
        raise _error("bad character in a name", match.start())


def _is_foreign(character: str) -> bool:
    kind = category(character)
    return kind[0] != "L" and kind != "Nd"
