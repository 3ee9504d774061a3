"""
Go's literals: read from a template, and written for `%q`.

In come the characters of one token, out goes its value; what is no legal literal is a parse error.
"""

import re
from math import isfinite

from shipper.gotemplate.errors import TemplateError
from shipper.gotemplate.values import INT_MAX, join, rune, to_text

UINT_MAX = 2 * INT_MAX + 1

# As Go's lexer has it: it takes more than is legal, the conversion refuses the rest. The
# quantifiers are possessive, so nothing is tried twice.
NUMBER = (
    r"[+-]?+(?:"
    r"0[xX][0-9a-fA-F_]*+(?:\.[0-9a-fA-F_]*+)?+(?:[pP][+-]?+[0-9_]*+)?+"
    r"|0[oO][0-7_]*+(?:\.[0-7_]*+)?+"
    r"|0[bB][01_]*+(?:\.[01_]*+)?+"
    r"|[0-9_]*+(?:\.[0-9_]*+)?+(?:[eE][+-]?+[0-9_]*+)?+"
    r")"
)
_COMPLEX = re.compile(rf"(?:(?P<real>{NUMBER})(?=[+-]))?(?P<imaginary>{NUMBER})i")
_OLD_OCTAL = re.compile(r"[+-]?0[0-7_]+")

_PIECE = re.compile(
    r"(?P<plain>[^\\]++)"
    r"|\\(?:(?P<short>[abfnrtv\\'\"])"
    r"|(?P<octal>[0-3][0-7]{2})|x(?P<hex>[0-9a-fA-F]{2})"
    r"|u(?P<u4>[0-9a-fA-F]{4})|U(?P<u8>[0-9a-fA-F]{8}))"
)
_SHORT = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_SHORT_BACK = {character: "\\" + letter for letter, character in _SHORT.items()}


def _illegal(text: str) -> TemplateError:
    return TemplateError("parse", f"illegal literal {text[:40]!r}")


def number(text: str) -> int | float | complex:
    """
    The value of a number or of a character constant.

    An integer beyond int64 that fits uint64 is legal, and an error only once it is used.
    """
    if text.startswith("'"):
        return _rune(text)
    if text.endswith("i"):
        return _complex(text)
    integer = _integer(text)
    if integer is None:
        return _float(text)
    if not -INT_MAX - 1 <= integer <= UINT_MAX:
        raise _illegal(text)
    # Go takes a signed 0x1e for a float, as its `e` is one
    return float(integer) if text[0] in "+-" and "e" in text.lower() else integer


def _integer(text: str) -> int | None:
    try:
        return int(text, 8 if _OLD_OCTAL.fullmatch(text) else 0)
    except ValueError:
        return None


def _float(text: str, *, imaginary: bool = False) -> float:
    is_hex = "x" in text.lower()
    if is_hex and ("p" not in text.lower() or "_" in text):
        raise _illegal(text)
    try:
        value = float.fromhex(text) if is_hex else float(text)
    except (ValueError, OverflowError) as error:
        raise _illegal(text) from error
    # without any of these signs it is an integer too large for 64 bits
    if not isfinite(value) or not (imaginary or set(text) & set(".eEpP")):
        raise _illegal(text)
    return value


def _complex(text: str) -> complex:
    match = _COMPLEX.fullmatch(text)
    if match is None:
        raise _illegal(text)
    real = _float(match["real"], imaginary=True) if match["real"] else 0.0
    return complex(real, _float(match["imaginary"], imaginary=True))


def _rune(text: str) -> int:
    piece = _PIECE.fullmatch(text, 1, len(text) - 1)
    if piece is None:
        raise _illegal(text)
    value = _unescape(piece, "'")
    if len(value) != 1:
        raise _illegal(text)
    return value[0] if isinstance(value, bytes) else ord(value)


def unquote(text: str) -> str:
    """
    The value of a string, "interpreted" or `raw`, given with its quotes.
    """
    quotes, body = text[0], text[1:-1]
    if quotes == "`":
        return body.replace("\r", "")
    parts, at = [], 0
    while at < len(body):
        piece = _PIECE.match(body, at)
        if piece is None:
            raise _illegal(text)
        value = _unescape(piece, quotes)
        parts.append(value if isinstance(value, str) else to_text(value))
        at = piece.end()
    return join(parts)


def _unescape(piece: re.Match[str], quotes: str) -> str | bytes:
    kind, body = piece.lastgroup, piece[piece.lastgroup or 0]
    if kind == "plain":
        return body
    if kind == "short":
        if body in "'\"" and body != quotes:
            raise _illegal(piece[0])
        return _SHORT.get(body, body)
    if kind in ("octal", "hex"):
        return bytes([int(body, 8 if kind == "octal" else 16)])
    character = rune(int(body, 16))
    if character is None:
        raise _illegal(piece[0])
    return character


def quote(text: str, quotes: str, *, ascii_only: bool) -> str:
    """
    A literal that Go reads as this text, as strconv.Quote writes it.
    """
    return quotes + "".join(_escape(c, quotes, ascii_only) for c in text) + quotes


def _escape(character: str, quotes: str, ascii_only: bool) -> str:
    if character in (quotes, "\\"):
        return "\\" + character
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    if character in _SHORT_BACK:
        return _SHORT_BACK[character]
    if character.isascii() or "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) & 0xFF:02x}"
    code = ord(character)
    return f"\\u{code:04x}" if character <= "\uffff" else f"\\U{code:08x}"


def can_backquote(text: str) -> bool:
    """
    Whether a raw string can hold this text.
    """
    return not any(
        c in "`\x7f\ufeff" or (c < " " and c != "\t") or "\ud800" <= c <= "\udfff" for c in text
    )
