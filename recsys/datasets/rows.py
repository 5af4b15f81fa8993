"""Cuts a table of text into whole records, in bulk, and remembers the line each began on.

Owns delimiters, quotes, line ends, encodings and field counts: what comes out is blocks in which every line
is one record with the right number of fields, so that pandas and csv need not guess and cannot fail. Only
irregular lines are looked at one by one. Must not know what the fields mean.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Int64
from recsys.datasets.sources import File
from recsys.datasets.tally import MAX_EXAMPLES, Tally

#: A record longer than this, or a quoted field over more lines, is taken for a stray quote, not for data.
MAX_RECORD_BYTES, MAX_RECORD_LINES = 65_536, 50
#: Stands in for a delimiter of two characters (`::`), which pandas could only split slowly.
_JOINT = b"\x1f"
#: Stands in for a line end inside a quoted field, so that a record stays on one line.
_LINE_END_IN_FIELD = "\x1e"
_NEWLINE, _RETURN, _QUOTE, _SPACE, _NUL = b'\n\r" \0'
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Form:
    """How a file is written: the delimiter, fields to a record, lines before the first record, and whether
    fields may be quoted.
    """

    delimiter: str
    n_fields: int
    header_lines: int = 0
    quoted: bool = False

    @property
    def separator(self) -> bytes:
        """The single byte between two fields in a block."""
        return self.delimiter.encode() if len(self.delimiter) == 1 else _JOINT


@dataclass(frozen=True)
class Block:
    """Some records of a file: `data` has one on each line, `lines` (int64 [n_records]) where each began.

    `data` is to be read as `encoding` with errors replaced; only where `quoted` do quotes mean anything.
    `bytes_read` counts from the start of the file.
    """

    data: bytes
    lines: Int64
    quoted: bool
    encoding: str
    bytes_read: int


def encoding_of(data: bytes) -> str | None:
    """UTF-8 or latin-1, or None when `data` is plain ASCII and so says nothing.

    A few broken bytes do not make a UTF-8 file latin-1: it takes most of the lines that are not ASCII.
    """
    if data.isascii():
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        votes = [_is_utf8(line) for line in data.split(b"\n") if not line.isascii()]
        return "utf-8" if sum(votes) * 2 > len(votes) else "latin-1"
    return "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_blocks(file: File, form: Form, tally: Tally) -> Iterator[Block]:
    """Yield all records of `file` with `form.n_fields` fields, in order; the others go to `tally`. Empty
    lines do not count. Errors: DataError when the file cannot be read. Cost: O(size), a block in memory at a time.
    """
    line, to_skip, bytes_read = 1, form.header_lines, 0
    carried = b""
    encoding: str | None = None
    for piece in chain(file.blocks(), (b"",)):
        bytes_read += len(piece)
        data = carried + piece.replace(b"\r\n", b"\n")
        while to_skip and data:
            data = data[data.index(b"\n") + 1 :]
            to_skip, line = to_skip - 1, line + 1
        if not data:
            continue
        encoding = encoding or encoding_of(data)
        if form.separator == _JOINT:
            data = data.replace(form.delimiter.encode(), _JOINT)
        mended = _mend(data, form, final=not piece)
        tally.rows += mended.rows.size + mended.n_bad
        tally.leave_out(mended.n_bad, ((line + row, problem) for row, problem in mended.bad))
        yield Block(mended.data, mended.rows + line, mended.quoted, encoding or "utf-8", bytes_read)
        line += mended.n_lines
        carried = mended.carried


def records(file: File, form: Form, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each record, one by one: for catalogues, which are short beside ratings."""
    for block in read_blocks(file, form, tally):
        separator = form.separator.decode()
        texts = block.data.decode(block.encoding, errors="replace").split("\n")[:-1]
        if block.quoted:
            split: Iterator[list[str]] = csv.reader(texts, delimiter=separator, skipinitialspace=True)
        else:
            split = (text.split(separator) for text in texts)
        yield from zip(block.lines.tolist(), split, strict=True)


@dataclass
class _Mended:
    """Lines put right: `rows` (int64) is the line within the block, from 0, that each record of `data` began on."""

    data: bytes
    rows: Int64
    quoted: bool
    n_lines: int
    n_bad: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    #: The start of a record that goes on in the next block.
    carried: bytes = b""


def _mend(data: bytes, form: Form, *, final: bool) -> _Mended:
    """Keep the regular lines of `data` as they are, and put right or leave out the others."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    separators = np.flatnonzero(text == form.separator[0])
    mended = _Mended(data, np.arange(ends.size), form.quoted and b'"' in data, ends.size)
    odd = malformed = np.zeros(ends.size, np.bool_)
    if mended.quoted:
        separators, malformed, odd = _quotes(text, starts, ends, separators, form.separator[0])
    n_fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    regular = (n_fields == form.n_fields) & ~malformed & (ends - starts <= MAX_RECORD_BYTES)
    for byte in (_NUL, _RETURN):
        if bytes([byte]) in data:
            regular[np.searchsorted(ends, np.flatnonzero(text == byte))] = False
    if not regular.all():
        _mend_by_hand(mended, form, starts, ends, n_fields, regular, np.flatnonzero(odd), final=final)
    return mended


def _mend_by_hand(
    mended: _Mended,
    form: Form,
    starts: Int64,
    ends: Int64,
    n_fields: Int64,
    regular: Mask,
    odd: Int64,
    *,
    final: bool,
) -> None:
    """Go through the lines that are not `regular`; at those in `odd` a record may begin that goes on further down."""
    data, kept = mended.data, regular.copy()
    pieces: list[bytes] = []
    done = next_row = 0
    for row in np.flatnonzero(~regular).tolist():
        if row < next_row:  # in a record that began further up
            continue
        start, end, last = int(starts[row]), int(ends[row]), row
        pieces.append(data[done:start])
        done = end + 1
        if not data[start:end].strip():
            continue
        fields = None
        at = int(np.searchsorted(odd, row))
        if at < odd.size and odd[at] == row:
            last = int(odd[at + 1]) if at + 1 < odd.size else ends.size
            if last == ends.size and last - row < MAX_RECORD_LINES and not final:
                mended.carried, mended.n_lines, done = data[start:], row, len(data)
                kept[row:] = False
                break
            if last < min(ends.size, row + MAX_RECORD_LINES):
                fields = _split(data[start : ends[last]], form, strict=True)
        if fields is None and mended.quoted:
            last, fields = row, _split(data[start:end], form, strict=False)
        if fields is None:
            mended.n_bad += 1
            if len(mended.bad) < MAX_EXAMPLES:
                mended.bad.append((row, _problem(data[start:end], int(n_fields[row]), form)))
            continue
        pieces.append(_joined(fields, form))
        done, next_row = int(ends[last]) + 1, last + 1
        kept[row], kept[row + 1 : next_row] = True, False
    pieces.append(data[done:])
    mended.data, mended.rows = b"".join(pieces), np.flatnonzero(kept)


def _quotes(
    text: NDArray[np.uint8], starts: Int64, ends: Int64, separators: Int64, separator: int
) -> tuple[Int64, Mask, Mask]:
    """Find the separators outside quotes, the lines whose quotes are not as RFC 4180 has them, and among
    those the lines with an odd number of quotes, where a field may go on in the next. Each line is judged by
    itself, so that one stray quote spoils one line and not the rest of the file.
    """
    quotes = np.flatnonzero(text == _QUOTE)
    line = np.searchsorted(ends, quotes)
    before_line = np.searchsorted(quotes, starts)
    opens = (np.arange(quotes.size) - before_line[line]) % 2 == 0
    start, before, after = starts[line], text[quotes - 1], text[quotes + 1]
    spaced = (before == _SPACE) & ((quotes - 1 == start) | (text[quotes - 2] == separator))
    doubled = (before == _QUOTE) & (quotes > start)
    good_open = (quotes == start) | (before == separator) | spaced | doubled
    good_close = (after == separator) | (after == _NEWLINE) | (after == _QUOTE)
    odd = np.diff(np.searchsorted(quotes, ends), prepend=0) % 2 == 1
    malformed = odd.copy()
    malformed[line[~np.where(opens, good_open, good_close)]] = True
    inside = (np.searchsorted(quotes, separators) - before_line[np.searchsorted(ends, separators)]) % 2 == 1
    return separators[~inside], malformed, odd


def _split(record: bytes, form: Form, *, strict: bool) -> list[str] | None:
    """The fields of a record (bytes as latin-1 characters), or None when it is not exactly one good one."""
    if len(record) > MAX_RECORD_BYTES or b"\0" in record:
        return None
    reader = csv.reader(
        [record.decode("latin-1")], delimiter=form.separator.decode(), skipinitialspace=True, strict=strict
    )
    try:
        fields = next(reader)
    except (csv.Error, StopIteration):
        return None
    return fields if len(fields) == form.n_fields else None


def _joined(fields: list[str], form: Form) -> bytes:
    flat = [field.replace("\n", _LINE_END_IN_FIELD).replace("\r", _LINE_END_IN_FIELD) for field in fields]
    line = io.StringIO()
    writer = csv.writer(line, delimiter=form.separator.decode(), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(flat)
    return line.getvalue().encode("latin-1")


def _problem(line: bytes, n_fields: int, form: Form) -> str:
    if len(line) > MAX_RECORD_BYTES:
        return f"a line of {len(line):,} bytes"
    if b"\0" in line:
        return "a NUL byte"
    if n_fields == form.n_fields:
        return "quotes or line ends that do not match"
    return f"{n_fields} field{'s' if n_fields != 1 else ''} where {form.n_fields} were expected"
