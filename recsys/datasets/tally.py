"""Counts what reading one file found: rows, those left out, those overruled by another; keeps a few examples.

Owns the limit on bad rows and the error that tells of it. Must not read files or judge rows itself.
"""

from collections.abc import Iterable

from recsys.datasets.ratings import BadRow
from recsys.errors import DataError, Problem

#: How many bad rows are kept to be shown; the others are only counted.
MAX_EXAMPLES = 20
_SHOWN_IN_ERROR = 3


def shown(text: str, limit: int = 40) -> str:
    """`text` fit for one line of a message: clipped, and without anything that a terminal would act on."""
    clipped = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in clipped)


class Tally:
    """The running count for the file called `file`."""

    def __init__(self, file: str) -> None:
        self.file = shown(file, 200)
        self.rows = 0
        self.bad = 0
        self.duplicates = 0
        self.examples: list[BadRow] = []

    def leave_out(self, n_rows: int, found: Iterable[tuple[int, str]]) -> None:
        """Count `n_rows` more bad rows; `found` has line and problem of the first MAX_EXAMPLES of them."""
        self.bad += n_rows
        rows = [BadRow(self.file, line, problem) for line, problem in found]
        self.examples = sorted([*self.examples, *rows], key=lambda row: row.line)[:MAX_EXAMPLES]

    def check(self, max_bad_share: float) -> None:
        """Raise DataError when more than `max_bad_share` of the rows are bad."""
        if self.bad <= max_bad_share * self.rows:
            return
        first = "; ".join(str(row) for row in self.examples[:_SHOWN_IN_ERROR])
        more = "; …" if self.bad > _SHOWN_IN_ERROR else ""
        raise DataError(
            f"{self.file}: {self.bad:,} of {self.rows:,} rows are bad, over the limit of {max_bad_share:.3g} "
            f"of them: {first}{more}",
            hint="mend the file, or raise the limit with RECSYS_DATA__MAX_BAD_SHARE",
            problems=tuple(Problem(f"{row.file}:{row.line}", row.problem) for row in self.examples),
        )
