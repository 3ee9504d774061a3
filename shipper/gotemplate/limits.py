"""
What a template may cost at most.

Templates come from containers, so each of them is hostile: whatever it says, parsing and rendering
end within these bounds, in time, in memory and in depth of the stack. What can be much work at once
is paid for before it is done.
"""

from types import TracebackType

from shipper.gotemplate.errors import Kind, TemplateError, failed

# Characters. The longest template seen in the wild has 157; a token costs about 200 bytes, so
# parsing stays within a few MiB.
TEMPLATE_MAX_CHARS = 16_384

# Characters. CloudWatch takes names of 512; longer ones are cut later, with a warning that shows
# what they were.
OUTPUT_MAX_CHARS = 16_384

# Levels of blocks, parentheses and {{template}} calls, one in the other. A level takes up to 7
# frames of Python's 1,000, and the caller has its own; Go itself allows 100,000.
DEPTH_MAX = 80

# Units: one per character that a function reads or formats (escaping may make six of it), one per
# variable looked at, NODE_WORK per node, argument and map entry. All of it takes a tenth of a
# second and some MiB.
WORK_MAX = 250_000
NODE_WORK = 10


class Budget:
    """
    The work that one rendering may still do, in units of WORK_MAX.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = WORK_MAX

    def spend(self, units: int) -> None:
        """
        Pay for work that is about to be done.

        Raises TemplateError "exec" if there is not that much left.
        """
        self._left -= units
        if self._left < 0:
            raise failed(f"more than {WORK_MAX} units of work")


class Depth:
    """
    How deep the parser or the evaluator is; `with depth:` goes one level down.
    """

    __slots__ = ("_kind", "_level")

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._level = 0

    def __enter__(self) -> None:
        if self._level == DEPTH_MAX:
            raise TemplateError(self._kind, f"nested more than {DEPTH_MAX} levels deep")
        self._level += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._level -= 1
