"""
The records that the pages of a SQLite file are made of
(https://www.sqlite.org/fileformat.html#record_format).

Comes in: bytes. Goes out: values. Always holds: a record whose lengths do not agree with each other
is none.
"""

from __future__ import annotations

__all__ = ["Unreadable", "Value", "values_of", "varint"]

Value = int | str | bytes | None

INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""How long an integer of each kind is."""


class Unreadable(Exception):
    """
    What is here is no row.
    """


def varint(data: bytes, at: int) -> tuple[int, int]:
    """
    A number of one to nine bytes, as a positive one, and where it ends.
    """
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for position in range(at + 1, at + 8):
        byte = data[position]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + 1
    return value << 8 | data[at + 8], at + 9


def values_of(record: bytes) -> tuple[Value, ...]:
    """
    What a record holds, where its lengths agree with each other; text that is none, as bytes.
    """
    header_end, at = varint(record, 0)
    position = header_end
    values: list[Value] = []
    while at < header_end:
        kind, at = varint(record, at)
        value, position = _value(record, kind, position)
        values.append(value)
    if at != header_end or position != len(record):
        raise Unreadable
    return tuple(values)


def _value(record: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in INTEGER_BYTES:
        end = at + INTEGER_BYTES[kind]
        return int.from_bytes(record[at:end], "big", signed=True), end
    if kind in (8, 9):
        return kind - 8, at
    if kind < 13 or not kind & 1:  # no spool holds floats or blobs
        raise Unreadable
    end = at + (kind - 13) // 2
    text = record[at:end]
    try:
        return text.decode(), end
    except UnicodeDecodeError:
        return text, end
