"""
Values as text: print, println and printf.

In come any values, out goes text. Nothing here is an error to Go: what is wrong with a format
stands in the text, `%!d(string=a)`, `%!s(MISSING)`, `%!(EXTRA int=3)`.
"""

from dataclasses import replace

from shipper.gotemplate.formatting import PLAIN, Spec, format_argument, printable
from shipper.gotemplate.limits import NODE_WORK, Budget
from shipper.gotemplate.values import Value, join, type_name

# Go's own bound of a width or precision, looked at before each further digit
_TOO_LARGE = 1_000_000
_DIGITS = frozenset("0123456789")


def show(budget: Budget, *values: Value) -> str:
    """
    What an action prints, and what html, js and urlquery escape.
    """
    return sprint(budget, *map(printable, values))


def sprint(budget: Budget, *values: Value) -> str:
    """
    `print`: a space between two values neither of which is a string.
    """
    parts: list[str] = []
    after_string = True
    for value in values:
        is_string = isinstance(value, str)
        parts.append("" if is_string or after_string else " ")
        parts.append(format_argument(value, "v", PLAIN, budget))
        after_string = is_string
    return join(parts)


def sprintln(budget: Budget, *values: Value) -> str:
    """
    `println`: always a space, and a newline.
    """
    return join([" ".join(format_argument(v, "v", PLAIN, budget) for v in values), "\n"])


def sprintf(budget: Budget, template: str, *values: Value) -> str:
    """
    `printf`.
    """
    return _Printf(template, values, budget).run()


class _Printf:
    """
    One format on its way: `_at` is the next character, `_argument` the next argument.
    """

    def __init__(self, template: str, values: tuple[Value, ...], budget: Budget) -> None:
        self._format = template
        self._values = values
        self._budget = budget
        self._out: list[str] = []
        self._at = 0
        self._argument = 0
        self._reordered = False  # some verb had an index such as [3]
        self._is_index_good = True
        self._after_index = False

    def run(self) -> str:
        while self._at < len(self._format):
            percent = self._format.find("%", self._at)
            end = len(self._format) if percent < 0 else percent
            self._out.append(self._format[self._at : end])
            self._at = end + 1
            if percent >= 0:
                self._budget.spend(NODE_WORK)
                self._directive()
        if not self._reordered and self._argument < len(self._values):
            self._extra()
        return join(self._out)

    def _next(self) -> str:
        return self._format[self._at : self._at + 1]

    def _directive(self) -> None:
        self._is_index_good = True
        spec = self._flags()
        self._index()
        spec = self._precision(self._width(spec))
        if not self._after_index:
            self._index()
        verb = self._next()
        self._at += 1
        if not verb:
            self._out.append("%!(NOVERB)")
        elif verb == "%":
            self._out.append("%")
        elif not self._is_index_good:
            self._out.append(f"%!{verb}(BADINDEX)")
        elif self._argument >= len(self._values):
            self._out.append(f"%!{verb}(MISSING)")
        else:
            self._print(verb, spec)

    def _print(self, verb: str, spec: Spec) -> None:
        if verb == "v":
            spec = replace(spec, sharp_v=spec.sharp, sharp=False, plus_v=spec.plus, plus=False)
        value = self._values[self._argument]
        self._out.append(format_argument(value, verb, spec, self._budget))
        self._argument += 1

    def _flags(self) -> Spec:
        begin = self._at
        while self._next() and self._next() in "#0+- ":
            self._at += 1
        flags = self._format[begin : self._at]
        return Spec(
            plus="+" in flags,
            minus="-" in flags,
            sharp="#" in flags,
            space=" " in flags,
            zero="0" in flags and "-" not in flags,
        )

    def _width(self, spec: Spec) -> Spec:
        if self._next() != "*":
            width = self._number(len(self._format))
            self._is_index_good &= not (self._after_index and width is not None)
            return replace(spec, width=width or 0)
        width = self._starred()
        if width is None:
            self._out.append("%!(BADWIDTH)")
            return spec
        left = width < 0
        return replace(
            spec, width=abs(width), minus=spec.minus or left, zero=spec.zero and not left
        )

    def _precision(self, spec: Spec) -> Spec:
        # a dot that ends the format is a verb to Go 1.19
        if self._next() != "." or self._at + 1 == len(self._format):
            return spec
        self._at += 1
        self._is_index_good &= not self._after_index
        self._index()
        if self._next() != "*":
            return replace(spec, precision=self._number(len(self._format)) or 0)
        precision = self._starred()
        if precision is None or precision < 0:
            self._out.append("%!(BADPREC)")
            return spec
        return replace(spec, precision=precision)

    def _starred(self) -> int | None:
        """
        The argument that `*` stands for; None if it is no integer, or too large.
        """
        self._at += 1
        self._after_index = False
        if self._argument >= len(self._values):
            return None
        value = self._values[self._argument]
        self._argument += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _TOO_LARGE:
            return None
        return value

    def _number(self, end: int) -> int | None:
        """
        Digits up to `end`; None, and all of it skipped, if the number is too large.
        """
        number = None
        while self._at < end and self._next() in _DIGITS:
            if (number or 0) > _TOO_LARGE:
                self._at = end
                return None
            number = (number or 0) * 10 + int(self._next())
            self._at += 1
        return number

    def _index(self) -> None:
        self._after_index = self._next() == "["
        if not self._after_index:
            return
        self._reordered = True
        close = self._format.find("]", self._at)
        if close < 0:
            self._is_index_good = self._after_index = False
            self._at += 1
            return
        self._at += 1
        number = self._number(close)
        is_number = number is not None and self._at == close
        self._at = close + 1
        if is_number and number and number <= len(self._values):
            self._argument = number - 1
        else:
            self._is_index_good = False
            self._after_index = is_number

    def _extra(self) -> None:
        shown = [
            "<nil>"
            if v is None
            else f"{type_name(v)}={format_argument(v, 'v', PLAIN, self._budget)}"
            for v in self._values[self._argument :]
        ]
        self._out.append(f"%!(EXTRA {', '.join(shown)})")
