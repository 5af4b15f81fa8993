"""Reads a data set from wherever the operator points: the one way in for training and the command line.

Owns the search for the layout, the order of the catalogue and the report. Must not know how any is written.
"""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np

from recsys.datasets.cataloguing import CatalogueBuilder, Layout
from recsys.datasets.collecting import collect, last_of_each
from recsys.datasets.csvfile import describe, find_csv
from recsys.datasets.movielens import find_movielens
from recsys.datasets.ratings import Array, Dataset, ReadReport
from recsys.datasets.sources import Folder, Source, open_source
from recsys.datasets.tally import MAX_EXAMPLES, Tally, shown
from recsys.errors import DataError

Progress = Callable[[str, float], None]


def read_dataset(path: Path, *, max_bad_share: float = 0.01, progress: Progress | None = None) -> Dataset:
    """Read a MovieLens directory or zip (100K, 1M, latest, 20M, 25M, 32M), or a CSV file with a header.

    A row that cannot be used is left out and reported; `max_bad_share` is how many of a file's rows may be so
    (0 to 1). The last rating of a user for an item wins, by time, then by place in the file. In the report
    `rows` counts the rows of the ratings file; `bad` and `duplicates` count those of the catalogue's files too.
    `progress` hears the stage and the share of it that is done. Errors: DataError, one line that says what to
    do. Cost: O(n log n); at its height about 40 bytes a rating and 200 MB for the block in hand.
    """
    tell = progress or (lambda _stage, _share: None)
    with open_source(path) as source:
        layout = _find_layout(source)
        tell("reading", 0.0)
        builder = CatalogueBuilder()
        layout.fill(builder)
        user_index: dict[str, int] = {}
        item_index = builder.index()
        tally = Tally(layout.ratings.file.name)
        columns = collect(layout.ratings, user_index, item_index, tally, lambda share: tell("reading", share))
    tallies = (tally, *builder.tallies)
    for count in tallies:
        count.check(max_bad_share)
    if tally.rows == tally.bad:
        raise DataError(f"{tally.file} holds no ratings", hint=_no_ratings_hint(tally))

    users, items = _joined(columns.users), _joined(columns.items)
    values, timestamps = _joined(columns.values), _joined(columns.timestamps)
    winners = last_of_each(users, items, timestamps)
    if winners is not None:
        tally.duplicates += int(winners.size - winners.sum())
        users, items = users[winners], items[winners]
        values, timestamps = values[winners], timestamps[winners]
    report = ReadReport(
        layout.name,
        tally.rows,
        sum(count.bad for count in tallies),
        sum(count.duplicates for count in tallies),
        tuple(row for count in tallies for row in count.examples)[:MAX_EXAMPLES],
    )
    catalogue = builder.build(tuple(item_index))
    dataset = Dataset(tuple(user_index), catalogue, users, items, values, timestamps, source=str(path), report=report)
    tell("reading", 1.0)
    return dataset


def _no_ratings_hint(tally: Tally) -> str:
    return f"all {tally.rows:,} rows are bad" if tally.rows else "it ends before the first one"


def _joined(blocks: list[Array]) -> Array:
    """One column of its blocks, which are let go: otherwise a large data set would be in memory twice."""
    column: Array = np.concatenate(blocks)  # type: ignore[assignment]  # of one dtype, so it is kept
    blocks.clear()
    return column


def _find_layout(source: Source) -> Layout:
    """The data set nearest to the top. Errors: DataError when there is none, or several side by side."""
    where = shown(str(source.path), 300)
    for _, level in groupby(sorted(source.folders, key=_depth), _depth):
        found = {name: _layout_in(source.folders[name], source.chosen) for name in level}
        layouts = {name: layout for name, layout in found.items() if layout is not None}
        if len(layouts) > 1:
            names = shown(", ".join(sorted(layouts)), 200)
            raise DataError(f"{where} holds several data sets: {names}", hint="name one of these folders")
        if layouts:
            return next(iter(layouts.values()))
    files = "; ".join(describe(folder) for _, folder in sorted(source.folders.items())[:5] if folder)
    raise DataError(
        f"{where} holds no data set that we know; it has: {files or 'no files'}",
        hint="looked for u.data, ratings.dat, ratings.csv, or one CSV with user, item and rating columns",
    )


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)


def _layout_in(folder: Folder, chosen: str | None) -> Layout | None:
    return find_movielens(folder, chosen) or find_csv(folder, chosen)
