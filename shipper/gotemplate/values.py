"""
The values that a template can meet, and Go's names for their types.

Go's strings are bytes. Here they are `str` in which a byte that is not UTF-8 is one lone surrogate
(PEP 383), as Go counts it as one rune: `len` of such a text is Go's number of runes, `to_bytes`
gives Go's bytes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from sys import maxunicode
from types import MappingProxyType
from typing import TypeAlias

from shipper.gotemplate.errors import failed

INT_MAX = 2**63 - 1
NIL_MAP: Mapping[str, str] = MappingProxyType({})
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Byte(int):
    """
    An uint8: what `index` takes out of a string.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Context:
    """
    What a name is made from: the RenderContext of logspout-cloudwatch.

    A function as instance_id or region is called only when a template reaches the field, once in a
    rendering; its own exceptions pass through. No labels at all (None) are Go's nil map.
    """

    host: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None
    name: str = ""
    id: str = ""
    logger_host: str = ""
    instance_id: str | Callable[[], str] = ""
    region: str | Callable[[], str] = ""


class Record:
    """
    A context as one rendering sees it: Go's names, in Go's order. It stands for the pointer.
    """

    __slots__ = ("_fields", "methods", "names")

    def __init__(self, context: Context) -> None:
        self._fields: dict[str, str | Mapping[str, str] | Callable[[], str]] = {
            "Host": context.host,
            "Env": context.env,
            "Labels": NIL_MAP if context.labels is None else context.labels,
            "Name": context.name,
            "ID": context.id,
            "LoggerHost": context.logger_host,
            "InstanceID": context.instance_id,
            "Region": context.region,
        }
        self.names = tuple(self._fields)
        self.methods: Mapping[str, Callable[[str], str]] = {
            "Lbl": lambda key: _label(context.labels or {}, key)
        }

    def get(self, name: str) -> str | Mapping[str, str]:
        """
        The value of a field in `names`.
        """
        value = self._fields[name]
        if isinstance(value, str | Mapping):
            return value
        made = self._fields[name] = value()
        return made


def _label(labels: Mapping[str, str], key: str) -> str:
    if key not in labels:
        raise failed(f"no container label {key[:100]!r}")
    return labels[key]


@dataclass(frozen=True, slots=True)
class Struct:
    """
    What a record points at; only printing tells the two apart.
    """

    record: Record


Value: TypeAlias = bool | int | float | complex | str | Mapping[str, str] | Record | Struct | None

_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (bool, "bool"),
    (Byte, "uint8"),
    (int, "int"),
    (float, "float64"),
    (complex, "complex128"),
    (Record, "*cloudwatch.RenderContext"),
    (Struct, "cloudwatch.RenderContext"),
    (type(None), "<nil>"),
)


def type_name(value: Value) -> str:
    """
    What `%T` prints.
    """
    for python_type, name in _TYPE_NAMES:
        if isinstance(value, python_type):
            return name
    return "map[string]string"


def rune(code: int) -> str | None:
    """
    The character of a code point; None if there can be none.
    """
    if not 0 <= code <= maxunicode or "\ud800" <= chr(code) <= "\udfff":
        return None
    return chr(code)


def to_bytes(text: str) -> bytes:
    """
    The bytes that Go has for this text; a surrogate that stands for no byte becomes U+FFFD.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _NO_BYTE.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """
    The text for Go's bytes, valid or not.
    """
    return data.decode("utf-8", "surrogateescape")


def join(parts: Iterable[str]) -> str:
    """
    The parts in one text, in which halves of a rune that now stand together are whole.
    """
    text = "".join(parts)
    return text if text.isascii() else to_text(to_bytes(text))
