"""Find items by the words of their titles: one long folded text, searched by numpy. Built once for each model.

Folding drops case and accents, so that "amelie" finds "Amélie".
"""

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_CHUNK = 200
_SEPARATOR = "\n"


def fold(text: str) -> str:
    """Return `text` without case, accents, punctuation and doubled blanks."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = "".join(letter if letter.isalnum() else " " for letter in text.casefold())
    return " ".join(words.split())


class TitleIndex:
    """Answers title queries over a catalogue whose order is by popularity."""

    def __init__(self, titles: Sequence[str], *, pause: Callable[[], None]) -> None:
        folded: list[str] = []
        for start in range(0, len(titles), _CHUNK):
            folded.extend(" " + fold(title) for title in titles[start : start + _CHUNK])
            pause()
        text = _SEPARATOR + "".join(title + _SEPARATOR for title in folded)
        self._text = np.frombuffer(text.encode(), np.uint8)
        self._counts = np.bincount(self._text, minlength=256)
        self._ends = np.flatnonzero(self._text == ord(_SEPARATOR))[1:]
        self._n_items = len(folded)

    def find(self, query: str) -> NDArray[np.intp]:
        """Return the items whose titles hold every word of `query`, best first: a title that begins with the query,
        then one where each is the beginning of a word, then the others; among equals the more popular.

        Cost: O(words · length of all titles), about a millisecond for 20,000 titles whatever the query.
        """
        words = fold(query).split()
        if not words:
            return np.empty(0, np.intp)
        rank = np.zeros(self._n_items, np.int8)
        anywhere = np.ones(self._n_items, bool)
        word_starts = np.ones(self._n_items, bool)
        for word in sorted(set(words), key=len, reverse=True):
            at = self._places(word)
            anywhere &= self._items_at(at)
            if not anywhere.any():
                return np.empty(0, np.intp)
            word_starts &= self._items_at(at[self._text[at - 1] == ord(" ")])
        rank[word_starts] = 1
        at = self._places(" " + " ".join(words))
        rank[self._items_at(at[self._text[at - 1] == ord(_SEPARATOR)])] = 2
        found = np.flatnonzero(anywhere)
        return found[np.argsort(-rank[found], kind="stable")]

    def _places(self, needle: str) -> NDArray[np.intp]:
        """Where `needle` stands in the text: the places of its rarest letter, thinned out by each other one.

        UTF-8 is searched as bytes: no character is a part of another. The text begins with a separator, so there is
        always a letter before.
        """
        letters = np.frombuffer(needle.encode(), np.uint8)
        rarest = int(np.argmin(self._counts[letters]))
        text = self._text
        at = np.flatnonzero(text == letters[rarest]) - rarest
        at = at[(at > 0) & (at <= text.size - letters.size)]
        for offset in np.argsort(self._counts[letters], kind="stable")[1:]:
            at = at[text[at + offset] == letters[offset]]
        return at

    def _items_at(self, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which items' titles these places are in, bool [n_items]."""
        holding = np.zeros(self._n_items, bool)
        holding[np.searchsorted(self._ends, places)] = True
        return holding
