"""Ratings as CSV, out and in: what is written here is read back to the letter, whatever text an id is.

`datasets.rows` reads the files of others, and takes blanks around a cell and line ends in it for accidents. An id that
came in over HTTP may hold any of that. So here a cell in quotes is taken as it stands; one without is read as in a data
file, and headers, ratings and times are. Must not know the store, nor which items and values are allowed.
"""

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from recsys.datasets.columns import MAX_ID_CHARS, id_problem, rating_of, seconds, times_of
from recsys.datasets.csvfile import RATINGS, Header, read_header
from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.datasets.rows import MAX_RECORD_BYTES, encoding_of
from recsys.datasets.sources import File
from recsys.datasets.tally import Tally, shown

#: user_id, item_id, rating, unix seconds (None: not known).
Given = tuple[str, str, float, int | None]
HEADER = "user_id,item_id,rating,timestamp\n"
#: What may stand without quotes, so that it is read back as it is.
_PLAIN = re.compile(r"[\w.:@+/-]+")
#: A cell for each delimiter: what is in quotes, or what is not.
_CELL = {delimiter: re.compile(rf' *"([^"]*(?:""[^"]*)*)" *|([^"{delimiter}]*)') for delimiter in ",;\t"}
_ROWS_AT_ONCE = 5000
#: Beyond that it is a stray quote: no two good ids hold more line ends.
_MAX_RECORD_LINES = 2 * MAX_ID_CHARS + 1


def to_line(user_id: str, item_id: str, value: float, timestamp: int) -> str:
    """One rating as a line of the table under `HEADER`."""
    return f"{_cell(user_id)},{_cell(item_id)},{value!r},{timestamp}\n"


def read_ratings(
    file: File, tally: Tally, *, on_progress: Callable[[float], None] = lambda share: None
) -> Iterator[tuple[int, Given]]:
    """Give the line and content of each rating of a CSV file with a header; bad rows go to `tally`. The header is in
    one of the usual spellings, times are as in a data file, and may be missing.

    Errors: DataError when it cannot be read, or is no such table. Cost: some 5 µs a row, and 8 to 16 MB.
    """
    header = _header(file)
    header.need("user", "item", "rating")
    user, item, rating = (header.roles[role] for role in ("user", "item", "rating"))
    timestamp = header.roles.get("timestamp")
    decimal_comma = header.form.delimiter == ";"

    @lru_cache(1000)
    def value_of(text: str) -> tuple[float, str | None]:
        return rating_of(text, decimal_comma=decimal_comma)

    lines = _Lines(file)
    records = _records(lines, header, tally)
    while batch := list(islice(records, _ROWS_AT_ONCE)):
        time_texts = [record.cells[timestamp].strip() if timestamp is not None else "" for record in batch]
        for record, time_text, at in zip(batch, time_texts, _times(time_texts), strict=True):
            user_id, user_problem = record.id_at(user)
            item_id, item_problem = record.id_at(item)
            value, value_problem = value_of(record.cells[rating])
            if user_problem:
                problem = f"user id {user_problem}"
            elif item_problem:
                problem = f"item id {item_problem}"
            elif value_problem:
                problem = f"rating {value_problem}"
            elif at == _NO_TIME:
                problem = f"timestamp {shown(time_text)!r} is not a time between 1970 and 2100"
            else:
                yield record.line, (user_id, item_id, value, None if at == NO_TIMESTAMP else at)
                continue
            tally.leave_out(1, [(record.line, problem)])
        on_progress(min(1.0, lines.bytes_read / max(1, file.size_bytes)))


def _cell(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'


def _header(file: File) -> Header:
    """The header, judged by its own line: ids further down may hold what no text file has."""
    head = file.head()
    first = head[: head.find(b"\n", len(head) - len(head.lstrip())) + 1] or head
    return read_header(File(file.name, len(first), lambda: io.BytesIO(first)), RATINGS)


class _Lines:
    """The lines of a file, numbered from 1, without their line feeds; None for one that is not text. Those that were
    taken too many can be given back.
    """

    def __init__(self, file: File) -> None:
        self.bytes_read = 0
        self._lines = enumerate(self._decoded(file), 1)
        self._returned: deque[tuple[int, str | None]] = deque()

    def next(self) -> tuple[int, str | None] | None:
        return self._returned.popleft() if self._returned else next(self._lines, None)

    def give_back(self, lines: Sequence[tuple[int, str | None]]) -> None:
        self._returned.extendleft(reversed(lines))

    def _decoded(self, file: File) -> Iterator[str | None]:
        encoding = None
        for piece in file.blocks():
            encoding = encoding or encoding_of(piece)
            for line in io.BytesIO(piece):
                self.bytes_read += len(line)
                try:
                    yield line[:-1].decode(encoding or "utf-8")
                except UnicodeDecodeError:
                    yield None


class _Record(NamedTuple):
    """The cells of a record that began on `line`, and which of them were in quotes."""

    line: int
    cells: Sequence[str]
    quoted: Sequence[bool]

    def id_at(self, column: int) -> tuple[str, str | None]:
        """The id, and what is wrong with it."""
        text = self.cells[column]
        if not self.quoted[column]:
            return text.strip(), id_problem(text)
        if 0 < len(text) <= MAX_ID_CHARS:
            return text, None
        return text, f"has {len(text):,} characters, where 1 to {MAX_ID_CHARS} are expected"


def _records(lines: _Lines, header: Header, tally: Tally) -> Iterator[_Record]:
    """Cut lines into records of as many cells as the header has; the others go to `tally`."""
    n_fields, delimiter = header.form.n_fields, header.form.delimiter
    unquoted = (False,) * n_fields
    for _ in range(header.form.header_lines):
        lines.next()
    while (found := lines.next()) is not None:
        number, text = found
        if text is not None and not text.strip():
            continue
        tally.rows += 1
        if text is None:
            tally.leave_out(1, [(number, "is not valid UTF-8")])
        elif '"' not in text:
            cells = text.removesuffix("\r").split(delimiter)
            if len(cells) == n_fields:
                yield _Record(number, cells, unquoted)
            else:
                s = "s" if len(cells) != 1 else ""
                tally.leave_out(1, [(number, f"{len(cells)} field{s} where {n_fields} were expected")])
        elif (record := _quoted_record(number, text, lines, header)) is not None:
            yield record
        else:
            tally.leave_out(1, [(number, f"quotes that do not match, or not {n_fields} fields")])


def _quoted_record(number: int, text: str, lines: _Lines, header: Header) -> _Record | None:
    """A record with quotes, which may go on in the next lines; None, and only the first line is taken, when there is
    no good one.
    """
    parts: list[str] = [text]
    taken: list[tuple[int, str | None]] = []
    is_open, n_chars = text.count('"') % 2 == 1, len(text)
    while is_open and len(taken) < _MAX_RECORD_LINES and n_chars < MAX_RECORD_BYTES:
        if (more := lines.next()) is None:
            break
        taken.append(more)
        if more[1] is None:
            break
        parts.append(more[1])
        is_open ^= more[1].count('"') % 2 == 1
        n_chars += len(more[1])
    record = None if is_open else _split(number, "\n".join(parts).removesuffix("\r"), header)
    if record is None:
        lines.give_back(taken)
    return record


def _split(number: int, text: str, header: Header) -> _Record | None:
    delimiter, n_fields = header.form.delimiter, header.form.n_fields
    cell = _CELL[delimiter]
    cells, quoted, at = [], [], 0
    while (found := cell.match(text, at)) is not None:
        inside, plain = found.groups()
        cells.append(plain if inside is None else inside.replace('""', '"'))
        quoted.append(inside is not None)
        at = found.end() + 1
        if text[found.end() : at] != delimiter:
            break
    return _Record(number, cells, quoted) if at > len(text) and len(cells) == n_fields else None


#: Stands for a time that is none.
_NO_TIME = NO_TIMESTAMP + 1


def _times(texts: list[str]) -> list[int]:
    """Unix seconds of each cell, NO_TIMESTAMP where it says that there is none, `_NO_TIME` where it cannot be read."""
    if all(text.isdigit() and text.isascii() and len(text) < 19 for text in texts):
        times, good = seconds(np.array([int(text) for text in texts], np.int64))
    else:
        times, good = times_of(np.array(texts, object))
    found: list[int] = np.where(good, times, _NO_TIME).tolist()
    return found
