"""Reads what a catalogue says of a movie: title and year, genres, IMDb and TMDB ids.

Pure: text in, values out. Must not read files.
"""

import re
from collections.abc import Iterable

_YEAR = r"(18[7-9]\d|19\d\d|20\d\d)"
_TO_YEAR = r"(?:\s*[-–—/]\s*(?:\d{4}|\d\d)?)"
#: What IMDb writes after the year: video, television, a video game.
_MEDIUM = r"(?:\s*\((?:V|TV|VG|mini)\))*"
_IN_BRACKETS = re.compile(rf"\s*\(\s*{_YEAR}{_TO_YEAR}?\s*\)\)?{_MEDIUM}$")
#: Without brackets only a span is a year: "Blade Runner 2049" is a title.
_BARE_SPAN = re.compile(rf"\s+{_YEAR}\s*[-–—]\s*(?:\d{{4}}|\d\d)$")
_ANY_YEAR = re.compile(rf"(?<!\d){_YEAR}(?!\d)")

#: The articles that MovieLens moves to the end, by language. "L'" and "Un'" are joined to their noun.
_ARTICLES = (
    "The|An?"  # English
    "|Les?|La|L['’]|Une?"  # French
    "|El|Los|Las|Una"  # Spanish
    "|Il|Lo|I|Gli|Gl['’]|Uno|Un['’]"  # Italian
    "|Der|Die|Das|Den|Dem|Eine?"  # German
    "|De|Het|Een"  # Dutch
    "|Os?|As|Uma?"  # Portuguese
    "|Det|En|Ett?"  # Danish, Norwegian, Swedish
    "|Els|Az|Da"  # Catalan, Hungarian, slang
)
_TRAILING = re.compile(rf"^(\s*(?:a\.?k\.?a\.?\s+)?)(\S.*), ({_ARTICLES})(\s*)$", re.IGNORECASE)
_NOT_GENRES = frozenset({"", "(no genres listed)", "unknown"})


def parse_title(text: str) -> tuple[str, int | None]:
    """Split "Matrix, The (1999)" into "The Matrix" and 1999. Of a span of years the first counts; a title
    that would be nothing but a year stays whole.
    """
    text = " ".join(text.split())
    found = _IN_BRACKETS.search(text) or _BARE_SPAN.search(text)
    if found is None or not text[: found.start()].strip():
        return _articles_first(text), None
    return _articles_first(text[: found.start()]), int(found.group(1))


def parse_year(text: str) -> int | None:
    """The first year in `text`: "1995", "1995.0", "1975-1979", "01-Jan-1995"."""
    found = _ANY_YEAR.search(text)
    return int(found.group(1)) if found else None


def parse_genres(names: Iterable[str]) -> tuple[str, ...]:
    """Genre names in their order, each once, without those that say there is none."""
    bare = (" ".join(name.split()) for name in names)
    return tuple(dict.fromkeys(name for name in bare if name.lower() not in _NOT_GENRES))


def split_genres(text: str) -> tuple[str, ...]:
    """Genres out of one cell: parted by `|` as MovieLens does, else by semicolon, else by comma."""
    parted_by = next((mark for mark in "|;," if mark in text), "|")
    return parse_genres(text.split(parted_by))


def imdb_id(text: str) -> str | None:
    """An IMDb id in IMDb's own form, "tt0114709", from that or from the bare number."""
    found = re.fullmatch(r"\s*(?:tt)?(\d{1,12})(?:\.0)?\s*", text, re.ASCII)
    return f"tt{found.group(1):0>7}" if found else None


def tmdb_id(text: str) -> str | None:
    """A TMDB id as text, "862"; also from "862.0", which is how a column with gaps is often written."""
    found = re.fullmatch(r"\s*(\d{1,12})(?:\.0)?\s*", text, re.ASCII)
    return found.group(1) if found else None


def _articles_first(title: str) -> str:
    """Bring trailing articles to the front, in the title and in each name in brackets after it."""
    parts = re.split(r"([()])", title.strip())
    return "".join(map(_article_first, parts)).strip()


def _article_first(part: str) -> str:
    found = _TRAILING.match(part)
    if found is None:
        return part
    lead, name, article, blank = found.groups()
    if not article[0].isupper():
        return part
    joint = "" if article[-1] in "'’" else " "
    return f"{lead}{article}{joint}{name}{blank}"
