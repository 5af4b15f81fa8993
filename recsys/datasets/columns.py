"""Turns the text of a cell, or of a column of cells, into an id, a rating or a time; or says what is wrong.

Owns what counts as a good value. Must not know files, lines or layouts. pandas is imported where it is used.
"""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import NO_TIMESTAMP, Int64
from recsys.datasets.tally import shown

MAX_ID_CHARS = 256
#: Above any scale of ratings; a play count fits.
MAX_RATING = 1e6
#: 2100-01-01: no rating was given later.
END_OF_TIME_S = 4_102_444_800
#: How programs that export tables write "no time".
_NO_TIME = frozenset({"", "null", "none", "nan", "nat", "na", "n/a", "\\n"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ISO_DATE = r"\d{4}-\d\d"


def id_problem(text: str) -> str | None:
    """What keeps `text`, without the blanks around it, from being an id."""
    bare = text.strip()
    if not bare:
        return "is empty"
    if len(bare) > MAX_ID_CHARS:
        return f"has {len(bare):,} characters, more than {MAX_ID_CHARS}"
    if "\N{REPLACEMENT CHARACTER}" in bare:
        return f"{shown(bare)!r} is not valid UTF-8"
    if _CONTROL.search(bare):
        return f"{shown(bare)!r} has a line end or control character in it"
    return None


def rating_of(text: str, *, decimal_comma: bool = False) -> tuple[float, str | None]:
    """The rating (NaN if there is none), and what is wrong with it."""
    bare = text.strip()
    if not bare:
        return math.nan, "is empty"
    try:
        # float() would take the underscores of Python's own notation.
        value = math.nan if "_" in bare else float(bare.replace(",", ".") if decimal_comma else bare)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        return math.nan, f"{shown(bare)!r} is not a finite number"
    if value < 0:
        return math.nan, f"{shown(bare)!r} is negative"
    if value > MAX_RATING:
        return math.nan, f"{shown(bare)!r} is over {MAX_RATING:,.0f}"
    return value + 0.0, None  # makes -0.0 the usual zero


def seconds(numbers: Int64) -> tuple[Int64, NDArray[np.bool_]]:
    """Unix seconds of unix seconds or milliseconds (int64 [n]), and where there is such a time (mask [n])."""
    plain = (numbers >= 0) & (numbers < END_OF_TIME_S)
    # From 1973 on milliseconds cannot be mistaken for seconds; between the two lies no time of a rating.
    milli = (numbers >= 10**11) & (numbers < END_OF_TIME_S * 1000)
    return np.where(milli, numbers // 1000, numbers), plain | milli


def times_of(texts: NDArray[Any]) -> tuple[Int64, NDArray[np.bool_]]:
    """Unix seconds (int64 [n]) of unix seconds, milliseconds or ISO 8601 (object [n] of str), and where they
    are good (mask [n]). No time at all is good, and gives NO_TIMESTAMP; a time without a zone is UTC. Cost:
    O(n).
    """
    import pandas as pd

    codes, found = pd.factorize(texts)
    unique = pd.Series(found, dtype=object).str.strip()
    numbers = np.asarray(pd.to_numeric(unique, errors="coerce"), np.float64)
    numeric = np.isfinite(numbers) & (np.abs(numbers) < 2.0**62)
    times, good = seconds(np.floor(np.where(numeric, numbers, -1.0)).astype(np.int64))

    # Only what begins like a date: pandas would read "now" and "today" as the time of reading.
    dated = ~numeric & unique.str.match(_ISO_DATE).to_numpy(np.bool_)
    if dated.any():
        parsed = pd.to_datetime(unique[dated], format="ISO8601", errors="coerce", utc=True)
        parsed_s = parsed.to_numpy("datetime64[s]").astype(np.int64)
        times[dated] = parsed_s
        good[dated] = (parsed_s >= 0) & (parsed_s < END_OF_TIME_S)

    absent = unique.str.lower().isin(_NO_TIME).to_numpy(np.bool_)
    times[absent], good[absent] = NO_TIMESTAMP, True
    return times[codes], good[codes]
