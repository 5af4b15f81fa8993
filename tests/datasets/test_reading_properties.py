"""A table that is written in any of the ways a file can be written reads back as the same table."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.datasets import sources
from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.datasets.reading import read_dataset

Row = tuple[str, str, float, int | None]

texts = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f\N{REPLACEMENT CHARACTER}", exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)
ids = (texts | st.sampled_from(["007", "7", "1e3", "NA", "nan", "True", '"', '""', "a,b", "'", "x;y", "::", "-"])).map(
    str.strip
).filter(bool)  # fmt: skip
ratings = st.integers(0, 200).map(lambda n: n / 2)
times = st.none() | st.integers(0, 2_000_000_000)
tables = st.lists(st.tuples(ids, ids, ratings, times), min_size=1, max_size=30, unique_by=lambda row: (row[0], row[1]))


@dataclass(frozen=True)
class Writing:
    delimiter: str
    quoting: int
    line_end: str
    bom: bool
    iso_times: bool
    block_bytes: int

    def of(self, rows: list[Row]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.line_end)  # type: ignore[arg-type]
        writer.writerow(["timestamp", "user", "note", "item", "rating"])
        for user, item, value, time in rows:
            writer.writerow([self.time(time), user, 'any "thing"\n, here', item, value])
        return (b"\xef\xbb\xbf" if self.bom else b"") + text.getvalue().encode()

    def time(self, time: int | None) -> str:
        if time is None:
            return ""
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.iso_times else str(time)


writings = st.builds(
    Writing,
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    iso_times=st.booleans(),
    block_bytes=st.integers(1, 400),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, writings)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, table: list[Row], writing: Writing) -> None:
    path = tmp_path_factory.mktemp("written") / "table.csv"
    path.write_bytes(writing.of(table))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK_BYTES", writing.block_bytes)
        data = read_dataset(path)

    read = [
        (data.user_ids[u], data.catalogue.item_ids[i], float(v), None if t == NO_TIMESTAMP else int(t))
        for u, i, v, t in zip(data.users, data.items, data.values, data.timestamps, strict=True)
    ]
    assert read == table
    assert data.user_ids == tuple(dict.fromkeys(row[0] for row in table))
    assert data.catalogue.item_ids == tuple(dict.fromkeys(row[1] for row in table))
    assert (len(table), 0, 0) == (data.report.rows, data.report.bad, data.report.duplicates)


few = st.sampled_from(["a", "b", "c"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(few, few, st.integers(1, 5).map(float), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_winner_of_duplicates_is_the_one_a_plain_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str, float, int]]
) -> None:
    path = tmp_path_factory.mktemp("duplicates") / "u.data"
    path.write_text("".join(f"{u}\t{i}\t{v}\t{t}\n" for u, i, v, t in table), encoding="utf-8")
    last: dict[tuple[str, str], int] = {}
    for row, (user, item, _, time) in enumerate(table):
        if (user, item) not in last or table[last[user, item]][3] <= time:
            last[user, item] = row

    data = read_dataset(path)

    expected = [table[row] for row in sorted(last.values())]
    read = [
        (data.user_ids[u], data.catalogue.item_ids[i], float(v), int(t))
        for u, i, v, t in zip(data.users, data.items, data.values, data.timestamps, strict=True)
    ]
    assert read == expected
    assert len(table) - len(expected) == data.report.duplicates
