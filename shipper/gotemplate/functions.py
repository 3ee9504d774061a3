"""
The functions a template can call.

In come evaluated arguments, in a number that the table allows; out goes a value. Their strings are
paid for by the caller; functions that print pay for what they make.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from shipper.gotemplate.errors import failed
from shipper.gotemplate.limits import Budget
from shipper.gotemplate.printing import show, sprint, sprintf, sprintln
from shipper.gotemplate.values import NIL_MAP, Byte, Record, Value, to_bytes, to_text, type_name


@dataclass(frozen=True, slots=True)
class Function:
    """
    A function, given the budget and then its arguments, at least and at most so many (None: any).
    """

    run: Callable[..., Value]
    least: int
    most: int | None = None


def _pure(run: Callable[..., Value], least: int, most: int | None = None) -> Function:
    return Function(lambda _budget, *values: run(*values), least, most)


# strings and maps: positions and lengths are bytes


def _index(item: Value, *keys: Value) -> Value:
    if item is None:
        raise failed("index of nil")
    for key in keys:
        if isinstance(item, Mapping):
            if not isinstance(key, str):
                raise failed(f"cannot index a map with {type_name(key)}")
            item = item.get(key, "")
        elif isinstance(item, str):
            data = to_bytes(item)
            item = Byte(data[_position(key, len(data) - 1)])
        else:
            raise failed(f"cannot index {type_name(item)}")
    return item


def _slice(item: Value, *positions: Value) -> Value:
    if not isinstance(item, str):
        raise failed(f"cannot slice {type_name(item)}")
    data = to_bytes(item)
    begin, end = ([_position(p, len(data)) for p in positions] + [0, len(data)][len(positions) :])[
        :2
    ]
    if begin > end:
        raise failed(f"slice from {begin} to {end}")
    return to_text(data[begin:end])


def _position(value: Value, last: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise failed(f"cannot index with {type_name(value)}")
    if not 0 <= value <= last:
        raise failed(f"index out of range: {value}")
    return value


def _length(item: Value) -> Value:
    if isinstance(item, str):
        return len(to_bytes(item))
    if isinstance(item, Mapping):
        return len(item)
    raise failed(f"len of {type_name(item)}")


# comparison: of one basic kind only


def _kind(value: Value) -> str | None:
    name = "int" if isinstance(value, Byte) else type_name(value)
    return name if isinstance(value, bool | int | float | complex | str) else None


def _equal(left: Value, *others: Value) -> Value:
    if not others:
        raise failed("missing argument for comparison")
    return any(_is_same(left, other) for other in others)


def _is_same(left: Value, right: Value) -> bool:
    kind = _kind(left)
    if kind is not None and kind == _kind(right):
        return left == right
    if left is None or right is None:
        return _is_nil(left) and _is_nil(right)
    if isinstance(left, Record) and isinstance(right, Record):
        return left is right
    if (
        isinstance(left, Mapping)
        and isinstance(right, Mapping)
        and (_is_nil(left) or _is_nil(right))
    ):
        return _is_nil(left) and _is_nil(right)
    raise failed(f"cannot compare {type_name(left)} with {type_name(right)}")


def _is_nil(value: Value) -> bool:
    return value is None or value is NIL_MAP


def _less(left: Value, right: Value) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return to_bytes(left) < to_bytes(right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        kind = _kind(left)
        if kind == _kind(right) and kind != "bool":
            return left < right
    raise failed(f"cannot compare {type_name(left)} with {type_name(right)}")


def _less_or_equal(left: Value, right: Value) -> bool:
    return _less(left, right) or _is_same(left, right)


# escaping

_HTML: dict[str, str | int | None] = {
    "\0": "\ufffd",
    '"': "&#34;",
    "'": "&#39;",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"'}
_JS_SPECIAL = frozenset("<>&=")


def _html(budget: Budget, *values: Value) -> Value:
    return show(budget, *values).translate(str.maketrans(_HTML))


def _js(budget: Budget, *values: Value) -> Value:
    return "".join(map(_js_escape, show(budget, *values)))


def _js_escape(character: str) -> str:
    if character in _JS:
        return _JS[character]
    is_byte = "\udc80" <= character <= "\udcff"
    is_plain = character == "\x7f" or character.isprintable() or is_byte
    if is_plain and character not in _JS_SPECIAL:
        return character
    return f"\\u{ord(character):04X}"


def _url_query(budget: Budget, *values: Value) -> Value:
    return quote_plus(to_bytes(show(budget, *values)))


# the table


def _call(*_values: Value) -> Value:
    raise failed("call of what is no function")


def _printf(budget: Budget, template: Value, *values: Value) -> Value:
    if not isinstance(template, str):
        raise failed(f"a format is a string, not {type_name(template)}")
    return sprintf(budget, template, *values)


def _never(*_values: Any) -> Value:
    raise AssertionError("the evaluator does these itself")


# they leave arguments unevaluated
SHORT_CIRCUITS = frozenset(("and", "or"))

FUNCTIONS: Mapping[str, Function] = {
    "and": Function(_never, 1),
    "or": Function(_never, 1),
    "not": _pure(lambda value: not value, 1, 1),
    "call": _pure(_call, 1),
    "index": _pure(_index, 1),
    "slice": _pure(_slice, 1, 3),
    "len": _pure(_length, 1, 1),
    "eq": _pure(_equal, 1),
    "ne": _pure(lambda left, right: not _is_same(left, right), 2, 2),
    "lt": _pure(_less, 2, 2),
    "le": _pure(_less_or_equal, 2, 2),
    "gt": _pure(lambda left, right: not _less_or_equal(left, right), 2, 2),
    "ge": _pure(lambda left, right: not _less(left, right), 2, 2),
    "print": Function(sprint, 0),
    "printf": Function(_printf, 1),
    "println": Function(sprintln, 0),
    "html": Function(_html, 0),
    "js": Function(_js, 0),
    "urlquery": Function(_url_query, 0),
}
