"""
What came of a world: is every line accounted for, and was nothing worse than the fault itself?

Comes in: a world in which all has ended. Goes out: findings, (a word for the table, a sentence);
none is good.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from agent import spool, status
from cloudwatch_endpoint import SECRET_KEY
from faults.access import NEW_SECRET
from faults.kinds import Kind
from faults.world import MARK, Line, World

__all__ = ["Finding", "findings"]

MOST_LOG_LINES = 20
MOST_ALIKE = 5
"""Of a fault of some seconds: a line where it begins and where it ends, never one a try."""

NUMBERS = re.compile(r"[0-9]+")

Finding = tuple[str, str]


def findings(world: World, kind: Kind) -> list[Finding]:
    """
    All that is wrong.
    """
    rejected = rejections(world)
    return [
        *about_lines(world, kind, rejected),
        *about_counts(world, rejected),
        *about_log(world),
        *about_ends(world),
        *(("illegal", text) for text in world.endpoint.violations[:3]),
    ]


def rejections(world: World) -> dict[Line, str]:
    """
    The reason of each rejected line.
    """
    rows = spool(
        *("query", "--db", world.db, "--format", "json"),
        "SELECT log_stream, message, reason FROM rejection JOIN events USING (id)",
    )
    assert rows.returncode == 0, rows.stderr
    return {(row["log_stream"], row["message"]): row["reason"] for row in json.loads(rows.stdout)}


def about_lines(world: World, kind: Kind, rejected: dict[Line, str]) -> Iterator[Finding]:
    """
    Each arrived as often as it was sent, or is rejected for a reason that the fault gave.
    """
    arrived = world.arrived()
    missing = [line for line in (world.written - arrived) if line not in rejected]
    if missing:
        yield f"lost {len(missing)}", f"lost: {sorted(missing)[:5]}"
    if unknown := arrived.keys() - world.written.keys():
        yield f"+{len(unknown)}", f"nobody wrote {sorted(unknown)[:5]}"
    doubled = sum((arrived - world.written).values())
    if doubled > world.may_double():
        yield f"x2 {doubled}", f"{doubled} doubled, where {world.may_double()} may be"
    wrong = {
        line: reason
        for line, reason in rejected.items()
        if not any(known in reason for known in kind.rejected)
    }
    if wrong:
        yield f"rej {len(wrong)}", f"rejected without need: {Counter(wrong.values())}"
    if kind.rejected and not rejected:
        yield "rej 0", "nothing is rejected"
    if kind.name == "poisonous event" and len(rejected) > 1:
        yield f"rej {len(rejected)}", "more than the poisonous event is rejected"


def about_counts(world: World, rejected: dict[Line, str]) -> Iterator[Finding]:
    """
    collected = unsent + sent + rejected + pruned + dropped, and each of them is what it should be.
    """
    counts = status(world.db)
    parts = sum(counts[name] for name in ("unsent", "sent", "rejected", "pruned", "dropped"))
    told = {name: counts[name] for name in ("collected", "unsent", "sent", "rejected")}
    if counts["collected"] != parts:
        yield "sum", f"collected is not the sum of its parts: {told}"
    if counts["unsent"]:
        yield f"left {counts['unsent']}", f"unsent are left: {told}"
    if counts["collected"] != world.collected:
        yield "count", f"{world.collected} lines were written: {told}"
    if counts["rejected"] != len(rejected) or counts["pruned"] or counts["dropped"]:
        yield "count", f"{len(rejected)} lines are rejected, none pruned or dropped: {told}"
    checked = spool("check", "--db", world.db)
    if checked.returncode:
        yield "check", checked.stdout + checked.stderr


def about_log(world: World) -> Iterator[Finding]:
    """
    It is short, has no traceback, and nothing in it is anybody's secret.
    """
    text = world.log.read_text()
    lines = text.splitlines()
    if "Traceback" in text:
        yield "trace", text[text.index("Traceback") :][:2_000]
    if len(lines) > MOST_LOG_LINES:
        yield f"log {len(lines)}", "\n".join(lines[:60])
    alike = Counter(NUMBERS.sub("0", line.partition(" ")[2]) for line in lines)
    if alike and (most := max(alike.values())) > MOST_ALIKE:
        yield f"same {most}", f"{most} lines are alike: {alike.most_common(1)}"
    if any(secret in text for secret in (MARK, SECRET_KEY, NEW_SECRET)):
        yield "secret", "a message or a secret is in the log"


def about_ends(world: World) -> Iterator[Finding]:
    """
    What was not killed ends as the contract says, and in the end with 0.
    """
    legal = {"run": {0, -9, 143}, "replay": {0, 75, 130, -9}}  # 143: told to stop twice
    if any(code not in legal[command] for command, code in world.ends) or world.ends[-1][1]:
        yield "exit", f"exit codes: {world.ends}"
