"""Finds the films of somebody else's ratings in our catalogue: by IMDb or TMDB id, else by title and year.

Owns what counts as the same title. Must not read files, and must not know HTTP.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from recsys.artifacts.turns import yield_to_loop
from recsys.datasets.exports import Exported
from recsys.datasets.ratings import Catalogue, RatingScale
from recsys.serving.search import fold

_PAUSE_EVERY = 100
_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ı": "i"})
_ARTICLES = frozenset(
    {
        *("the", "a", "an", "le", "la", "les", "l", "un", "une", "el", "los", "las", "una", "il", "lo", "i", "gli"),
        *("der", "die", "das", "ein", "eine", "de", "het", "een", "o", "os", "as", "det", "den", "en", "ett"),
    }
)
_NUMERALS = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9"}
_SAME_WORDS = _NUMERALS | {"and": "", "vs": "versus", "pt": "part", "vol": "volume", "mr": "mister", "dr": "doctor"}
_BRACKETS = re.compile(r"\(([^()]*)\)")
_KNOWN_AS = re.compile(r"^\s*a\.?k\.?a\.?\s+", re.IGNORECASE)
_LIKED_STARS = 4.0


@dataclass(frozen=True)
class Matched:
    """A film of ours (its position), the rating on our scale, and by what it was found."""

    item: int
    rating: float
    by: Literal["imdb", "tmdb", "title"]
    exported: Exported


@dataclass(frozen=True)
class Unmatched:
    exported: Exported
    why: str


class Matcher:
    """The ids and titles of one catalogue, ready to be looked up. Cost: O(n_items), about 25 µs each."""

    def __init__(self, catalogue: Catalogue, withdrawn: Iterable[int] = ()) -> None:
        self._years, self._imdb_ids = catalogue.years, catalogue.imdb_ids
        gone = frozenset(withdrawn)
        self._by_imdb: dict[str, int] = {}
        self._by_tmdb: dict[str, int] = {}
        self._by_title: dict[str, list[int]] = {}
        # the most popular come first, so of two that claim one id the better known has it
        for item, title in enumerate(catalogue.titles):
            if item in gone:
                continue
            if (imdb := catalogue.imdb_ids[item]) is not None:
                self._by_imdb.setdefault(_number(imdb), item)
            if (tmdb := catalogue.tmdb_ids[item]) is not None:
                self._by_tmdb.setdefault(tmdb, item)
            for key in titles_of(title):
                self._by_title.setdefault(key, []).append(item)
            if item % _PAUSE_EVERY == 0:
                yield_to_loop()

    def match(self, ratings: Iterable[Exported], scale: RatingScale) -> tuple[list[Matched], list[Unmatched]]:
        """Find the film of each rating, or say why there is none. Of several ratings of one film the latest counts."""
        matched: dict[int, Matched] = {}
        unmatched: list[Unmatched] = []
        for number, exported in enumerate(ratings):
            if number % _PAUSE_EVERY == 0:
                yield_to_loop()
            found = self._find(exported)
            if isinstance(found, str):
                unmatched.append(Unmatched(exported, found))
                continue
            item, by = found
            rating = on_scale(exported.stars, scale)
            if rating is None:
                unmatched.append(Unmatched(exported, "this data set only knows what was liked"))
                continue
            candidate, before = Matched(item, rating, by, exported), matched.get(item)
            if before is None:
                matched[item] = candidate
                continue
            newer = (exported.timestamp or 0) >= (before.exported.timestamp or 0)
            matched[item] = candidate if newer else before
            unmatched.append(
                Unmatched((before if newer else candidate).exported, "the file has a later rating of this film")
            )
        return list(matched.values()), unmatched

    def _find(self, exported: Exported) -> tuple[int, Literal["imdb", "tmdb", "title"]] | str:
        if exported.problem is not None:
            return exported.problem
        if exported.imdb_id is not None and (item := self._by_imdb.get(_number(exported.imdb_id))) is not None:
            return item, "imdb"
        if exported.kind is not None:
            return f"not a film: {exported.kind}"
        if exported.tmdb_id is not None and (item := self._by_tmdb.get(exported.tmdb_id)) is not None:
            return item, "tmdb"
        return self._by_name(exported)

    def _by_name(self, exported: Exported) -> tuple[int, Literal["title"]] | str:
        """By the title, of the same year or the one beside it: a film is dated by its premiere or by its release."""
        items = self._titled(titles_of(exported.title))
        if not items:
            return self._by_half_a_name(exported)
        year = exported.year
        if year is None:
            return (
                (next(iter(items)), "title")
                if len(items) == 1
                else "several films bear this title, and no year is given"
            )
        for distance in (0, 1):
            for item in items:
                known = self._years[item]
                if (
                    known is not None
                    and abs(known - year) == distance
                    and not (distance and self._is_other(item, exported))
                ):
                    return item, "title"
        undated = [item for item in items if self._years[item] is None]
        if len(undated) == 1:
            return undated[0], "title"
        years = sorted({known for item in items if (known := self._years[item]) is not None})
        return f"in the catalogue a film of this title is of {', '.join(map(str, years[:3]))}"

    def _by_half_a_name(self, exported: Exported) -> tuple[int, Literal["title"]] | str:
        """ "Léon: The Professional" is elsewhere "The Professional": one side of the colon, if exactly one film of that
        very year bears it.
        """
        keys = [key for half in exported.title.split(":") for key in titles_of(half)]
        items = [
            item for item in self._titled(keys) if exported.year is not None and self._years[item] == exported.year
        ]
        if len(items) == 1 and not self._is_other(items[0], exported):
            return items[0], "title"
        return "no film of this title in the catalogue"

    def _titled(self, keys: Iterable[str]) -> dict[int, None]:
        return {item: None for key in keys for item in self._by_title.get(key, ())}

    def _is_other(self, item: int, exported: Exported) -> bool:
        """Whether both have an IMDb id: they differ, or it would have been found by it."""
        return exported.imdb_id is not None and self._imdb_ids[item] is not None


def on_scale(stars: float, scale: RatingScale) -> float | None:
    """Put stars of five on the scale of the data set, to its nearest step, halves upwards. A scale of one value means
    "liked": None for what was not.
    """
    if scale.low == scale.high:
        return scale.low if stars >= _LIKED_STARS else None
    steps = math.floor((stars * scale.per_star - scale.low) / scale.step + 0.5 + 1e-9)
    value = scale.low + max(0, steps) * scale.step
    return round(min(value, scale.high), 4)


def titles_of(title: str) -> list[str]:
    """The keys under which a title is looked up: whole, without what stands in brackets, and each bracket by itself
    ("Seven (a.k.a. Se7en)"). Case, accents, blanks, punctuation and a leading article do not matter, "II" is "2".
    """
    names = [title, _BRACKETS.sub(" ", title), *(_KNOWN_AS.sub("", name) for name in _BRACKETS.findall(title))]
    return list(dict.fromkeys(key for key in map(_key, names) if key))


def _key(title: str) -> str:
    words = fold(title.casefold().translate(_LETTERS).replace("&", " and ")).split()
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return "".join(_SAME_WORDS.get(word, word) for word in words)


def _number(imdb: str) -> str:
    """IMDb ids are numbers, whatever zeros stand before them."""
    return imdb.lower().removeprefix("tt").lstrip("0")
