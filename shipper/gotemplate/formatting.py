"""
One value as text: the verbs of Go's fmt.

In come a value, a verb and its flags; out goes text. A verb that does not fit the value is no error
but text that says so, as in Go. Not done, and an error: %x, %X, %b and the flag # of a float or
complex number, and %p, an address, of a map or of the context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from math import copysign

from shipper.gotemplate.errors import failed
from shipper.gotemplate.limits import NODE_WORK, Budget
from shipper.gotemplate.literals import can_backquote, quote
from shipper.gotemplate.values import (
    NIL_MAP,
    Byte,
    Record,
    Struct,
    Value,
    rune,
    to_bytes,
    type_name,
)

_INTEGER_STYLES = {"v": "d", "d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_FLOAT_STYLES = {"v": "g", "g": "g", "G": "G", "f": "f", "F": "f", "e": "e", "E": "E"}
_BASIC = (type(None), bool, int, float, complex, str)
_PREFIXES = {"b": "0b", "x": "0x", "X": "0X"}
_SHORTEST_EXPONENTS = range(-4, 6)


@dataclass(frozen=True, slots=True)
class Spec:
    """
    What stands between `%` and the verb; widths and precisions in runes or digits.

    `sharp_v` and `plus_v` are `#` and `+` of the verb v, which mean something else there.
    """

    plus: bool = False
    minus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    sharp_v: bool = False
    plus_v: bool = False
    width: int = 0
    precision: int | None = None


PLAIN = Spec()


def printable(value: Value) -> Value:
    """
    What an action prints for a value, where that is not what `print` does.
    """
    if value is None:
        return "<no value>"
    return Struct(value) if isinstance(value, Record) else value


def format_argument(value: Value, verb: str, spec: Spec, budget: Budget) -> str:
    """
    A whole argument, where %T and %p are verbs too.
    """
    if verb == "T":
        value, verb = (None, "v") if value is None else (type_name(value), "s")
    if verb == "p" and not isinstance(value, _BASIC):
        raise failed("%p is not supported: there are no addresses")
    return format_value(value, verb, spec, budget)


def format_value(value: Value, verb: str, spec: Spec, budget: Budget) -> str:
    """
    An argument, or a value within one.
    """
    size = len(value) if isinstance(value, str) else 0
    budget.spend(NODE_WORK + size + spec.width + (spec.precision or 0))
    text = None if verb == "w" else _format(value, verb, spec, budget)
    if text is not None:
        return text
    if value is None:
        return f"%!{verb}(<nil>)"
    return f"%!{verb}({type_name(value)}={format_value(value, 'v', spec, budget)})"


def _format(value: Value, verb: str, spec: Spec, budget: Budget) -> str | None:
    match value:
        case Record():
            return "&" + _struct(value, verb, spec, budget)
        case Struct():
            return _struct(value.record, verb, spec, budget)
        case Mapping():
            return _map(value, verb, spec, budget)
        case str():
            return _string(value, verb, spec)
        case None | bool():
            return _word(value, verb, spec)
    return _number(value, verb, spec)


def _word(value: bool | None, verb: str, spec: Spec) -> str | None:
    if verb != "v" and (verb != "t" or value is None):
        return None
    return _pad("<nil>" if value is None else str(value).lower(), spec)


def _pad(text: str, spec: Spec) -> str:
    if spec.minus:
        return text.ljust(spec.width)
    return text.rjust(spec.width, "0" if spec.zero else " ")


def _pad_with_spaces(text: str, spec: Spec) -> str:
    return _pad(text, replace(spec, zero=False))


def _cut(text: str, spec: Spec) -> str:
    return text if spec.precision is None else text[: spec.precision]


def _sign(spec: Spec, *, negative: bool) -> str:
    if negative:
        return "-"
    return "+" if spec.plus else " " if spec.space else ""


# strings


def _string(value: str, verb: str, spec: Spec) -> str | None:
    if verb == "q" or (verb == "v" and spec.sharp_v):
        text = _cut(value, spec)
        if spec.sharp and can_backquote(text):
            return _pad(f"`{text}`", spec)
        return _pad(quote(text, '"', ascii_only=spec.plus), spec)
    if verb in "sv":
        return _pad(_cut(value, spec), spec)
    if verb in "xX":
        return _pad(_hex(value, verb, spec), spec)
    return None


def _hex(value: str, verb: str, spec: Spec) -> str:
    data = to_bytes(value)[: spec.precision]
    prefix = _PREFIXES[verb] if spec.sharp and data else ""
    digits = data.hex(" ") if spec.space else data.hex()
    if verb == "X":
        digits = digits.upper()
    return prefix + (digits.replace(" ", " " + prefix) if spec.space else digits)


# numbers


def _number(value: complex, verb: str, spec: Spec) -> str | None:
    match value:
        case int():
            return _integer(value, verb, spec)
        case float():
            return _float(value, verb, spec)
    return _complex(value, verb, spec)


def _integer(value: int, verb: str, spec: Spec) -> str | None:
    if verb in "cqU":
        return _character(value, verb, spec)
    style = _INTEGER_STYLES.get(verb)
    if style is None:
        return None
    if verb == "v" and spec.sharp_v and isinstance(value, Byte):
        style, spec = "x", replace(spec, sharp=True)
    if spec.precision == 0 and value == 0:
        return " " * spec.width
    sign = _sign(spec, negative=value < 0)
    least = spec.precision
    if least is None:
        least = spec.width - len(sign) if spec.zero else 0
    digits = format(abs(value), style).zfill(least)
    if spec.sharp:
        octal = "" if digits.startswith("0") else "0"
        digits = (octal if style == "o" else _PREFIXES.get(style, "")) + digits
    return _pad_with_spaces(sign + ("0o" if verb == "O" else "") + digits, spec)


def _character(value: int, verb: str, spec: Spec) -> str:
    known = rune(value)
    character = known or "\ufffd"
    if verb == "c":
        return _pad(character, spec)
    if verb == "q":
        return _pad(quote(character, "'", ascii_only=spec.plus), spec)
    shown = f" '{known}'" if spec.sharp and known and known.isprintable() else ""
    digits = f"{value % 2**64:X}".zfill(max(4, spec.precision or 0))
    return _pad_with_spaces(f"U+{digits}{shown}", spec)


def _float(value: float, verb: str, spec: Spec) -> str | None:
    style = _FLOAT_STYLES.get(verb)
    if verb in "xXb" or (spec.sharp and style):
        raise failed(f"%{verb} of a float is not supported with these flags")
    if style is None:
        return None
    sign = _sign(spec, negative=copysign(1.0, value) < 0)
    digits = _digits(abs(value), style, spec.precision)
    return (
        sign + digits.rjust(spec.width - len(sign), "0") if spec.zero else _pad(sign + digits, spec)
    )


def _digits(value: float, style: str, precision: int | None) -> str:
    if precision is not None or style not in "gG":
        return format(value, f".{6 if precision is None else precision}{style}")
    exact = Decimal(repr(value)).normalize()
    if exact.adjusted() in _SHORTEST_EXPONENTS:
        return format(exact, "f")
    exponent_style = "e" if style == "g" else "E"
    return format(value, f".{len(exact.as_tuple().digits) - 1}{exponent_style}")


def _complex(value: complex, verb: str, spec: Spec) -> str | None:
    real = _float(value.real, verb, spec)
    imaginary = _float(value.imag, verb, replace(spec, plus=True))
    return None if real is None else f"({real}{imaginary}i)"


# maps and the context


def sort_entries(value: Mapping[str, str], budget: Budget) -> list[tuple[str, str]]:
    """
    Entries in Go's order: by key, by code point.
    """
    budget.spend(NODE_WORK * len(value))
    return sorted(value.items())


def _map(value: Mapping[str, str], verb: str, spec: Spec, budget: Budget) -> str:
    entries = [
        f"{format_value(k, verb, spec, budget)}:{format_value(v, verb, spec, budget)}"
        for k, v in sort_entries(value, budget)
    ]
    if not spec.sharp_v:
        return f"map[{' '.join(entries)}]"
    return type_name(value) + ("(nil)" if value is NIL_MAP else f"{{{', '.join(entries)}}}")


def _struct(record: Record, verb: str, spec: Spec, budget: Budget) -> str:
    named = spec.sharp_v or spec.plus_v
    fields = [
        (f"{name}:" if named else "") + format_value(record.get(name), verb, spec, budget)
        for name in record.names
    ]
    if not spec.sharp_v:
        return f"{{{' '.join(fields)}}}"
    return f"{type_name(Struct(record))}{{{', '.join(fields)}}}"
