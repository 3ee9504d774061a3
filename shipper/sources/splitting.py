"""
A message that is longer than an event may be, as several.

Comes in: its text. Goes out: texts. Always holds: no character is cut, and none is lost.
"""

from __future__ import annotations

from shipper.batch import MAX_MESSAGE_BYTES

__all__ = ["MAX_CHARACTER_BYTES", "split_message"]

MAX_CHARACTER_BYTES = 4
"""UTF-8's."""


def split_message(text: str, max_bytes: int = MAX_MESSAGE_BYTES) -> list[str]:
    """
    A message as texts of at most `max_bytes` of UTF-8, cut between characters.
    """
    if len(text) * MAX_CHARACTER_BYTES <= max_bytes:
        return [text]
    data = text.encode()
    texts = []
    start = 0
    while start < len(data):
        end = min(start + max_bytes, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        texts.append(data[start:end].decode())
        start = end
    return texts
