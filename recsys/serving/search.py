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
        separators = np.flatnonzero(self._text == ord(_SEPARATOR))
        self._starts, self._ends = separators[:-1] + 1, separators[1:]
        self._n_items = len(folded)

    def find(self, query: str) -> NDArray[np.intp]:
        """Return the items whose titles hold every word of `query`, best first: a title that begins with the query,
        then one where each is the beginning of a word, then the others; among equals the more popular.

        Cost: O(words · length of all titles), a millisecond for 20,000 titles, two if a word is in each of them.
        """
        words = fold(query).split()
        if not words:
            return np.empty(0, np.intp)
        anywhere = np.ones(self._n_items, bool)
        word_starts = np.ones(self._n_items, bool)
        for word in sorted(set(words), key=len, reverse=True):
            at = self._places(word)
            anywhere &= self._items_at(at)
            if not anywhere.any():
                return np.empty(0, np.intp)
            word_starts &= self._items_at(at[self._text[at - 1] == ord(" ")])
        rank = word_starts.astype(np.int8)
        found = np.flatnonzero(anywhere)
        rank[self._that_begin_with(" " + " ".join(words), found)] = 2
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

    def _that_begin_with(self, needle: str, items: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of `items` have titles that begin with `needle`. Each ends with a separator, which is in no needle, so
        none is looked at beyond its end.
        """
        for offset, letter in enumerate(needle.encode()):
            items = items[self._text[self._starts[items] + offset] == letter]
        return items

    def _items_at(self, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which items' titles these places are in, bool [n_items]."""
        holding = np.zeros(self._n_items, bool)
        holding[np.searchsorted(self._ends, places)] = True
        return holding
