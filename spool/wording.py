"""
Numbers as people read them, for the log and for the command alike.
"""

from __future__ import annotations

__all__ = ["counted", "human_bytes", "human_duration"]


def counted(count: int, noun: str) -> str:
    """
    `1 event`, `2,000 events`, `2 batches`.
    """
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def human_bytes(count: int) -> str:
    """
    `1.5 MiB`.
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def human_duration(seconds: float) -> str:
    """
    `40 s`, `3 min`, `2 h 5 min`, `12 days`.
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 2 * 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60):,} days"
