"""Builds a catalogue row by row, and names what every layout has to provide.

Owns which of two rows for one item counts (the first), and that an item without a title is called by its id.
Must not know how any file is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recsys.datasets.collecting import RatingsFile
from recsys.datasets.columns import id_problem
from recsys.datasets.ratings import Catalogue
from recsys.datasets.sources import File
from recsys.datasets.tally import Tally
from recsys.datasets.titles import parse_title


@dataclass
class _Item:
    title: str
    year: int | None
    genres: tuple[str, ...]
    imdb_id: str | None = None
    tmdb_id: str | None = None


@dataclass
class CatalogueBuilder:
    """A catalogue in the making; `tallies` has one count for each file that was read for it."""

    tallies: list[Tally] = field(default_factory=list)
    _items: dict[str, _Item] = field(default_factory=dict)

    def reading(self, file: File) -> Tally:
        tally = Tally(file.name)
        self.tallies.append(tally)
        return tally

    def add(
        self,
        tally: Tally,
        line: int,
        item_id: str,
        title: str,
        *,
        genres: tuple[str, ...],
        year: int | None = None,
        other_year: int | None = None,
    ) -> None:
        """Add an item, unless its id is bad or known already. `year` goes before the year in the title, and
        `other_year` after it.
        """
        if problem := id_problem(item_id):
            tally.leave_out(1, [(line, f"item id {problem}")])
            return
        item_id = item_id.strip()
        if item_id in self._items:
            tally.duplicates += 1
            return
        name, found_year = parse_title(title)
        years = (year, found_year, other_year)
        self._items[item_id] = _Item(name or item_id, next((y for y in years if y is not None), None), genres)

    def link(self, item_id: str, imdb_id: str | None, tmdb_id: str | None) -> None:
        """Give a known item its ids elsewhere, unless it has them; an unknown item is passed over."""
        item = self._items.get(item_id.strip())
        if item is not None:
            item.imdb_id, item.tmdb_id = item.imdb_id or imdb_id, item.tmdb_id or tmdb_id

    def index(self) -> dict[str, int]:
        """Position of each item, in the file's order."""
        return {item_id: position for position, item_id in enumerate(self._items)}

    def build(self, item_ids: Sequence[str]) -> Catalogue:
        """The catalogue of `item_ids`: those added here with what is known of them, others by their id."""
        items = [self._items.get(item_id) or _Item(item_id, None, ()) for item_id in item_ids]
        return Catalogue(
            tuple(item_ids),
            tuple(item.title for item in items),
            tuple(item.year for item in items),
            tuple(item.genres for item in items),
            tuple(item.imdb_id for item in items),
            tuple(item.tmdb_id for item in items),
        )


@dataclass(frozen=True)
class Layout:
    """A data set as found: what it is called, where its ratings are, and how to fill its catalogue."""

    name: str
    ratings: RatingsFile
    fill: Callable[[CatalogueBuilder], None]
