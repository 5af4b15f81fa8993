"""A version directory → a verified, immutable model: read once, hash, check, build, ask the golden queries.

What is hashed is what is used: arrays are views of the bytes that were hashed. Files are read, not mapped, because a
mapped file that somebody truncates kills the process with SIGBUS. Runs in a thread; `pause` gives the event loop its
turn.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.artifacts.contents import Contents
from recsys.artifacts.decoding import decode
from recsys.artifacts.files import open_regular, read_exactly
from recsys.artifacts.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileRecord,
    GoldenQuery,
    Manifest,
    parse_manifest,
)
from recsys.artifacts.turns import yield_to_loop
from recsys.datasets.events import UserRatings
from recsys.datasets.ratings import Float32
from recsys.errors import VersionIncompleteError, VersionInvalidError
from recsys.models.recommend import History, Recommender

#: How far a golden score may be off: one processor's rounding is not another's.
GOLDEN_TOLERANCE = 1e-4
#: How many of the lists that a version brings along are asked for, at least.
LISTS_ASKED = 4
_HASHED_AT_ONCE = 2**18


@dataclass(frozen=True)
class Servable:
    """A verified model: the manifest, the contents, positions by id, and what each rating of the histories counts
    (`history_weights`, float32 [n_ratings]): working that out at each question would be a sixth of an answer.
    """

    manifest: Manifest
    contents: Contents
    recommender: Recommender
    item_index: dict[str, int]
    user_index: dict[str, int]
    history_weights: Float32

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def created_at(self) -> datetime:
        return self.manifest.created_at

    def history(self, user: int) -> History:
        """What one user rated, oldest first, as it is weighed."""
        return self.contents.history(user, self.history_weights)

    def ratings(self, user: int) -> UserRatings:
        """What one user rated, oldest first, as it was given."""
        contents, rows = self.contents, self.contents.rows(user)
        return UserRatings(
            contents.history_items[rows], contents.history_values[rows], contents.history_timestamps[rows]
        )


def read_manifest(directory: Path) -> Manifest:
    """Read a version's manifest and see that the directory holds the files it lists, with their sizes, and nothing
    else.

    Errors: VersionIncompleteError for what a copy that is still under way looks like, VersionInvalidError for the rest.
    Cost: no file but the manifest is read.
    """
    descriptor = _open_directory(directory)
    try:
        return _check_listing(descriptor, directory.name)
    finally:
        os.close(descriptor)


def _open_directory(directory: Path) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise VersionIncompleteError(f"{directory.name} is gone") from error
    except OSError as error:
        raise VersionInvalidError(f"{directory.name} cannot be opened: {error.strerror}") from error


def _check_listing(descriptor: int, name: str) -> Manifest:
    try:
        present = set(os.listdir(descriptor))
    except OSError as error:
        raise VersionInvalidError(f"{name} cannot be listed: {error.strerror}") from error
    if MANIFEST_NAME not in present:
        raise VersionIncompleteError(f"there is no {MANIFEST_NAME}, which is written last")
    handle = open_regular(descriptor, MANIFEST_NAME)
    try:
        size = os.fstat(handle).st_size
    finally:
        os.close(handle)
    if size > MAX_MANIFEST_BYTES:
        raise VersionInvalidError(f"{MANIFEST_NAME} has {size} bytes, more than {MAX_MANIFEST_BYTES}")
    manifest = parse_manifest(bytes(read_exactly(descriptor, MANIFEST_NAME, size)), name=name)
    listed = {record.path for record in manifest.files}
    if extra := sorted(present - listed - {MANIFEST_NAME}):
        raise VersionInvalidError(f"{', '.join(extra[:5])}: not in the manifest")
    if missing := sorted(listed - present):
        raise VersionIncompleteError(f"{', '.join(missing[:5])}: missing")
    for record in manifest.files:
        _check_size(descriptor, record)
    return manifest


def _check_size(descriptor: int, record: FileRecord) -> None:
    handle = open_regular(descriptor, record.path)
    try:
        found = os.fstat(handle).st_size
    finally:
        os.close(handle)
    if found < record.bytes:
        raise VersionIncompleteError(f"{record.path} has {found} of {record.bytes} bytes")
    if found > record.bytes:
        raise VersionInvalidError(f"{record.path} has {found} bytes, the manifest says {record.bytes}")


def load_servable(directory: Path, *, pause: Callable[[], None] = yield_to_loop) -> Servable:
    """Load a version and prove that it is what its manifest says and answers as it did when it was trained.

    Errors: VersionIncompleteError, VersionInvalidError. Cost: one read and one SHA-256 of every byte.
    """
    descriptor = _open_directory(directory)
    try:
        manifest = _check_listing(descriptor, directory.name)
        files = {}
        for record in manifest.files:
            content = read_exactly(descriptor, record.path, record.bytes, pause=pause)
            if _sha256(content, pause) != record.sha256:
                raise VersionInvalidError(f"{record.path} does not have the SHA-256 that the manifest says")
            files[record.path] = content
    finally:
        os.close(descriptor)
    servable = build_servable(manifest, decode(files, pause=pause), pause=pause)
    check_golden(servable, pause=pause)
    return servable


def _sha256(content: memoryview, pause: Callable[[], None]) -> str:
    """Hash a file in pieces: all at once would take a processor from the requests for 10 ms, the GIL free or not."""
    hashed = hashlib.sha256()
    for start in range(0, len(content), _HASHED_AT_ONCE):
        hashed.update(content[start : start + _HASHED_AT_ONCE])
        pause()
    return hashed.hexdigest()


def build_servable(manifest: Manifest, contents: Contents, *, pause: Callable[[], None] = yield_to_loop) -> Servable:
    """Put checked contents together with their manifest.

    Errors: VersionInvalidError when the two do not agree.
    """
    counts = (contents.catalogue.n_items, len(contents.user_ids), contents.history_items.size)
    said = (manifest.data.items, manifest.data.users, manifest.data.ratings)
    if counts != said:
        raise VersionInvalidError(f"{MANIFEST_NAME} says {said} items, users, ratings; the files hold {counts}")
    if manifest.algorithm != contents.description.algorithm:
        raise VersionInvalidError(f"{MANIFEST_NAME} and model.json name different algorithms")
    return Servable(
        manifest,
        contents,
        contents.recommender,
        {item: index for index, item in enumerate(contents.catalogue.item_ids)},
        {user: index for index, user in enumerate(contents.user_ids)},
        contents.history_weights(pause=pause),
    )


def make_golden(contents: Contents, *, n_queries: int = 8, n: int = 10) -> tuple[GoldenQuery, ...]:
    """Choose queries that touch what can go wrong (users from short to long histories, a single rating, none) and
    record today's answers.
    """
    lengths = np.diff(contents.history_indptr)
    order = np.argsort(lengths, kind="stable")
    picked = order[np.unique(np.linspace(0, order.size - 1, n_queries).astype(int))] if order.size else order
    histories = [_recent_history(contents, int(user)) for user in picked]
    histories += [History.empty()] + [History(h.items[-1:], h.stars[-1:], h.ordered) for h in histories[-1:]]
    ids = contents.catalogue.item_ids
    queries = []
    for history in histories:
        recommender = contents.recommender
        scores = recommender.scores(history)
        answer = recommender.select(scores, n, excluded=history.items)
        queries.append(
            GoldenQuery(
                items=tuple(ids[i] for i in history.items),
                stars=tuple(round(float(star), 4) for star in history.stars),
                ordered=history.ordered,
                answer=tuple(ids[i] for i in answer),
                scores=tuple(float(score) for score in scores.values[answer]),
                titles=tuple(contents.catalogue.titles[i] for i in answer),
            )
        )
    return tuple(queries)


def _recent_history(contents: Contents, user: int, limit: int = 200) -> History:
    whole = contents.rows(user)
    rows = slice(max(whole.start, whole.stop - limit), whole.stop)
    stars = np.round(contents.scale.stars(contents.history_values[rows]), 4)
    return History(contents.history_items[rows], stars, contents.description.has_timestamps)


def check_golden(servable: Servable, *, pause: Callable[[], None] = yield_to_loop) -> None:
    """Ask every golden query, and what a few of the lists that were made beforehand answer. Scores must agree to
    GOLDEN_TOLERANCE, items too unless they tie within it.

    Errors: VersionInvalidError that says which query or list came out differently.
    """
    for number, query in enumerate(servable.manifest.golden, start=1):
        _check_query(servable, query, number)
        pause()
    if (lists := servable.contents.top_lists) is not None:
        n_lists = lists.users.size
        for row in range(0, n_lists, max(1, n_lists // LISTS_ASKED)):
            wanted = lists.items[row][lists.items[row] >= 0]
            history = servable.history(int(lists.users[row]))
            _check_answer(servable, history, wanted, lists.scores[row, : wanted.size], f"list {row} of top_items.npy")
            pause()


def _check_query(servable: Servable, query: GoldenQuery, number: int) -> None:
    try:
        items = np.array([servable.item_index[item] for item in query.items], np.int32)
        wanted = np.array([servable.item_index[item] for item in query.answer], np.intp)
    except KeyError as error:
        raise VersionInvalidError(f"golden query {number} names {error}, which is not in the catalogue") from error
    history = History(items, np.array(query.stars, np.float32), query.ordered)
    _check_answer(servable, history, wanted, np.array(query.scores), f"golden query {number}")


def _check_answer(
    servable: Servable,
    history: History,
    wanted: NDArray[np.integer],
    expected: NDArray[np.floating],
    name: str,
) -> None:
    recommender = servable.recommender
    scores = recommender.scores(history)
    got = recommender.select(scores, wanted.size, excluded=history.items)
    for answer, what in ((got, "the best scores"), (wanted, "the scores of the expected items")):
        found = scores.values[answer]
        if found.shape != expected.shape or not np.allclose(
            found, expected, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE
        ):
            raise VersionInvalidError(f"{name} is answered differently: {what} are not as recorded")
