"""Find items by the words of their titles: each different word is looked at once. Built once for each model.

Folding drops case and accents, so that "amelie" finds "Amélie".
"""

import unicodedata
from array import array
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 200
_BLANK = ord(" ")
#: What each byte of ASCII is folded to.
_FOLDED = bytes(ord(chr(code).lower()) if chr(code).isalnum() else _BLANK for code in range(128)).ljust(256)


def fold(text: str) -> str:
    """Return `text` without case, accents, punctuation and doubled blanks. Cost: 1 µs for most titles, 10 µs for those
    with letters that ASCII has not.
    """
    if text.isascii():
        return " ".join(text.encode().translate(_FOLDED).decode().split())
    decomposed = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = "".join(letter if letter.isalnum() else " " for letter in text.casefold())
    return " ".join(words.split())


class TitleIndex:
    """Answers title queries over a catalogue whose order is by popularity.

    A word that is in many titles is looked at once: each different one has a number, and knows in whose titles it is.
    """

    def __init__(self, titles: Sequence[str], *, pause: Callable[[], None]) -> None:
        numbers: dict[str, int] = {}
        words, lengths = array("i"), array("i")
        for start in range(0, len(titles), _CHUNK):
            for title in titles[start : start + _CHUNK]:
                folded = fold(title).split()
                words.extend([numbers.setdefault(word, len(numbers)) for word in folded])
                lengths.append(len(folded))
            pause()
        self._n_items = len(lengths)
        #: The words of all titles, int32 [n_words]; those of item `i` begin at `_words_of[i]`.
        self._words = np.array(words, np.int32)
        self._words_of = _bounds(lengths)
        #: The items whose titles they are, sorted by word, int32 [n_words]; those of word `w` begin at `_items_of[w]`.
        items = np.repeat(np.arange(self._n_items, dtype=np.int32), lengths)
        self._items = items[np.argsort(self._words, kind="stable")]
        self._items_of = _bounds(np.bincount(self._words, minlength=len(numbers)))
        #: All different words between blanks, and of which of them each byte is (a blank: of the one after it).
        self._text = np.frombuffer(f" {' '.join(numbers)} ".encode(), np.uint8)
        self._counts = np.bincount(self._text, minlength=256)
        blanks = self._text == _BLANK
        self._word_at = np.cumsum(blanks, dtype=np.int32) - 1
        self._lengths = np.diff(np.flatnonzero(blanks)) - 1

    def find(self, query: str) -> NDArray[np.intp]:
        """Return the items whose titles hold every word of `query`, best first: a title that begins with the query,
        then one where each is the beginning of a word, then the others; among equals the more popular.

        Cost: O(length of all different words + words that match and their titles) for each word asked for.
        """
        asked = fold(query).split()
        if not asked:
            return np.empty(0, np.intp)
        anywhere = np.ones(self._n_items, bool)
        word_starts = np.ones(self._n_items, bool)
        beginnings: dict[str, NDArray[np.bool_]] = {}
        for word in sorted(set(asked), key=len, reverse=True):
            at = self._places(word)
            anywhere &= self._items_with(self._words_at(at))
            if not anywhere.any():
                return np.empty(0, np.intp)
            beginnings[word] = self._words_at(at[self._text[at - 1] == _BLANK])
            word_starts &= self._items_with(beginnings[word])
        fitting = [beginnings[word] & (self._lengths == len(word.encode())) for word in asked[:-1]]
        fitting.append(beginnings[asked[-1]])
        rank = word_starts.astype(np.int8)
        rank[self._that_begin_with(fitting, np.flatnonzero(word_starts))] = 2
        found = np.flatnonzero(anywhere)
        return found[np.argsort(-rank[found], kind="stable")]

    def _places(self, needle: str) -> NDArray[np.intp]:
        """Where `needle` stands in the text: the places of its rarest letter, thinned out by each other one.

        UTF-8 is searched as bytes: no character is a part of another. The text begins with a blank, so there is always
        a letter before.
        """
        letters = np.frombuffer(needle.encode(), np.uint8)
        rarest = int(np.argmin(self._counts[letters]))
        text = self._text
        at = np.flatnonzero(text == letters[rarest]) - rarest
        at = at[(at > 0) & (at <= text.size - letters.size)]
        for offset in np.argsort(self._counts[letters], kind="stable")[1:]:
            at = at[text[at + offset] == letters[offset]]
        return at

    def _words_at(self, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which words these places of the text are in, bool [n_different_words]."""
        words = np.zeros(self._lengths.size, bool)
        words[self._word_at[places]] = True
        return words

    def _items_with(self, words: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which items' titles hold one of `words`, bool [n_items]."""
        chosen = np.flatnonzero(words)
        starts, counts = self._items_of[chosen], self._items_of[chosen + 1] - self._items_of[chosen]
        # the ranges [start, start + count) one after the other
        ranges = np.repeat(starts - np.cumsum(counts) + counts, counts)
        ranges += np.arange(ranges.size)
        holding = np.zeros(self._n_items, bool)
        holding[self._items[ranges]] = True
        return holding

    def _that_begin_with(self, fitting: Sequence[NDArray[np.bool_]], items: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of `items` have titles whose first words are each one of the words that fit there."""
        items = items[self._words_of[items + 1] - self._words_of[items] >= len(fitting)]
        for place, words in enumerate(fitting):
            items = items[words[self._words[self._words_of[items] + place]]]
        return items


def _bounds(lengths: ArrayLike) -> NDArray[np.intp]:
    """Where parts of these lengths begin, one after the other, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
