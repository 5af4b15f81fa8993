"""A version's files → its contents, every one checked: what later code takes for granted is proven here.

Nothing here opens a file, and nothing is ever unpickled.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import orjson
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from recsys.artifacts.contents import Contents, ModelDescription, TopLists
from recsys.artifacts.turns import settle, settled, yield_to_loop
from recsys.datasets.ratings import Catalogue, Int64
from recsys.errors import VersionInvalidError
from recsys.models.item_item import DenseItemItem, ItemItem, SparseItemItem

#: Parsers hold the GIL: 20,000 lines at once would stall the server's loop.
_LINES_AT_ONCE = 50
_IDS_AT_ONCE = 2000
_CHECK_AT_ONCE = 2**18
_MAX_YEAR = 9999
_Year = Annotated[int, Field(ge=-_MAX_YEAR, le=_MAX_YEAR)]
#: Lines of items.jsonl: id, title, year, genres, IMDb id, TMDB id.
_ITEMS = TypeAdapter(
    list[tuple[Annotated[str, Field(min_length=1)], str, _Year | None, tuple[str, ...], str | None, str | None]],
    config=ConfigDict(strict=True),
)


def decode(files: Mapping[str, bytes | memoryview], *, pause: Callable[[], None] = yield_to_loop) -> Contents:
    """Build the contents from the files' bytes; arrays are read-only views of those very bytes.

    Everything that later code takes for granted is checked here: names, types, shapes, finiteness, indices in range,
    rows in order. `pause` is called between pieces of about a millisecond.

    Errors: VersionInvalidError that names the file. Cost: one pass over all bytes.
    """
    reader = _Reader(files, pause)
    description = reader.description()
    catalogue = reader.catalogue()
    user_ids = reader.user_ids()
    n_items, n_users = catalogue.n_items, len(user_ids)
    indptr = reader.array("history_indptr.npy", np.int64, (n_users + 1,))
    n_ratings = int(indptr[-1])
    linear: dict[str, Any] = {"item_item": None, "row_norms": None, "column_norms": None}
    if description.algorithm == "edlae":
        rows = reader.array("row_norms.npy", np.float32, (None,), low=0)
        if rows.size > n_items:
            raise VersionInvalidError(f"row_norms.npy has {rows.size} items of {n_items}")
        linear = {
            "item_item": reader.item_item(rows.size),
            "row_norms": rows,
            "column_norms": reader.array("column_norms.npy", np.float32, rows.shape, low=0),
            "top_lists": reader.top_lists(n_users, n_items),
        }
    contents = Contents(
        description=description,
        catalogue=catalogue,
        user_ids=user_ids,
        rating_counts=reader.array("rating_counts.npy", np.int32, (n_items,), low=0),
        popularity=reader.array("popularity.npy", np.float32, (n_items,), low=0),
        history_indptr=reader.row_pointers("history_indptr.npy", indptr, n_ratings),
        history_items=reader.array("history_items.npy", np.int32, (n_ratings,), low=0, high=n_items - 1),
        history_values=reader.array("history_values.npy", np.float32, (n_ratings,)),
        history_timestamps=reader.array("history_timestamps.npy", np.int64, (n_ratings,)),
        **linear,
    )
    reader.expect_nothing_else()
    return contents


class _Reader:
    """Takes files out of a mapping, each once, and checks them."""

    def __init__(self, files: Mapping[str, bytes | memoryview], pause: Callable[[], None]) -> None:
        self._files = dict(files)
        self._pause = pause

    def expect_nothing_else(self) -> None:
        if self._files:
            raise VersionInvalidError(f"{', '.join(sorted(self._files))}: not part of such a model")

    def _take(self, name: str) -> bytes | memoryview:
        try:
            return self._files.pop(name)
        except KeyError:
            raise VersionInvalidError(f"{name} is not in the manifest") from None

    def description(self) -> ModelDescription:
        try:
            return ModelDescription.model_validate_json(bytes(self._take("model.json")))
        except ValidationError as error:
            first = error.errors()[0]
            raise VersionInvalidError(f"model.json: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def catalogue(self) -> Catalogue:
        columns: tuple[list[Any], ...] = ([], [], [], [], [], [])
        known: dict[tuple[str, ...], tuple[str, ...]] = {}  # 20,000 tuples would keep the garbage collector for 20 ms
        for lines in self._lines("items.jsonl"):
            try:
                rows = _ITEMS.validate_json(lines)
            except ValidationError as error:
                first = error.errors()[0]
                if first["type"] == "json_invalid":
                    raise VersionInvalidError(f"items.jsonl is not JSON lines: {first['msg']}") from error
                line = len(columns[0]) + int(first["loc"][0]) + 1
                raise VersionInvalidError(f"items.jsonl: line {line} is not an item: {first['msg']}") from error
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
            columns[3][-len(rows) :] = [known.setdefault(genres, genres) for genres in columns[3][-len(rows) :]]
        self._unique("items.jsonl", columns[0])
        return Catalogue(*map(settled, columns))

    def user_ids(self) -> tuple[str, ...]:
        users: list[Any] = []
        for lines in self._lines("users.jsonl"):
            try:
                users.extend(orjson.loads(lines))
            except orjson.JSONDecodeError as error:
                raise VersionInvalidError(f"users.jsonl is not JSON lines: {error}") from error
        if not all(isinstance(user, str) and user for user in users):
            raise VersionInvalidError("users.jsonl: a line is not an id")
        self._unique("users.jsonl", users)
        return settled(users)

    def _unique(self, name: str, ids: list[str]) -> None:
        different: set[str] = set()
        settle()
        for start in range(0, len(ids), _IDS_AT_ONCE):
            different.update(ids[start : start + _IDS_AT_ONCE])
            self._pause()
        if len(different) != len(ids):
            raise VersionInvalidError(f"{name}: an id stands there twice")

    def _lines(self, name: str) -> Iterator[bytes]:
        """Give the lines a few at a time, as one JSON array."""
        content = bytes(self._take(name))
        settle()  # the lists that these lines will go into
        start = 0
        while start < len(content):
            end = start
            for _ in range(_LINES_AT_ONCE):
                newline = content.find(b"\n", end)
                end = newline + 1 if newline >= 0 else len(content)
                if end == len(content):
                    break
            yield b"[" + content[start:end].rstrip(b"\n").replace(b"\n", b",") + b"]"
            start = end
            self._pause()

    def array(
        self,
        name: str,
        dtype: type[np.generic],
        shape: tuple[int | None, ...],
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> NDArray[Any]:
        """View a `.npy` file as the array it must be: exactly this type and shape (None: any length), all finite."""
        content = self._take(name)
        stream = io.BytesIO(content[:4096])
        try:
            version = npy.read_magic(stream)
            if version != (1, 0):
                raise VersionInvalidError(f"{name}: .npy version {version} is not (1, 0)")
            found_shape, fortran_order, found = npy.read_array_header_1_0(stream)
        except VersionInvalidError:
            raise
        except Exception as error:  # numpy's header parser raises whatever ast and tokenize raise
            raise VersionInvalidError(f"{name} is not a .npy file: {error}") from error
        if found != np.dtype(dtype) or found.hasobject:
            raise VersionInvalidError(f"{name} has type {found}, not {np.dtype(dtype)}")
        matches = len(found_shape) == len(shape) and all(
            wanted in (None, got) for wanted, got in zip(shape, found_shape, strict=True)
        )
        if not matches or (fortran_order and len(shape) > 1):
            raise VersionInvalidError(f"{name} has shape {found_shape}, not {shape}")
        if len(content) != stream.tell() + int(np.prod(found_shape, dtype=object)) * found.itemsize:
            raise VersionInvalidError(f"{name} has {len(content)} bytes, which is not its shape {found_shape}")
        array: NDArray[Any] = np.frombuffer(content, found, offset=stream.tell()).reshape(found_shape)
        self._check_values(name, array.reshape(-1), low, high)
        return array

    def _check_values(self, name: str, flat: NDArray[Any], low: float | None, high: float | None) -> None:
        for start in range(0, flat.size, _CHECK_AT_ONCE):
            part = flat[start : start + _CHECK_AT_ONCE]
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise VersionInvalidError(f"{name} holds a value that is not finite")
            if (low is not None and part.min() < low) or (high is not None and part.max() > high):
                raise VersionInvalidError(f"{name} holds a value out of range")
            self._pause()

    def top_lists(self, n_users: int, n_items: int) -> TopLists | None:
        """Versions made before there were any have none."""
        if not self._files.keys() & {"top_users.npy", "top_items.npy", "top_scores.npy"}:
            return None
        users = self.array("top_users.npy", np.int32, (None,), low=0, high=n_users - 1)
        if np.any(users[1:] <= users[:-1]):
            raise VersionInvalidError("top_users.npy: the users must rise")
        items = self.array("top_items.npy", np.int32, (users.size, None), low=-1, high=n_items - 1)
        return TopLists(users, items, self.array("top_scores.npy", np.float32, items.shape))

    def row_pointers(self, name: str, indptr: Int64, n_entries: int) -> Int64:
        if indptr[0] != 0 or indptr[-1] != n_entries or np.any(indptr[1:] < indptr[:-1]):
            raise VersionInvalidError(f"{name} does not point at rows")
        return indptr

    def item_item(self, n_modelled: int) -> ItemItem:
        if "item_item.npy" in self._files:
            values = self.array("item_item.npy", np.float32, (n_modelled, n_modelled))
            if np.any(np.einsum("ii->i", values)):
                raise VersionInvalidError("item_item.npy: the diagonal must be zero")
            return DenseItemItem(values)
        indptr = self.array("item_item_indptr.npy", np.int64, (n_modelled + 1,))
        indices = self.array("item_item_indices.npy", np.int32, (None,), low=0, high=n_modelled - 1)
        self.row_pointers("item_item_indptr.npy", indptr, indices.size)
        rising = np.diff(indices) > 0
        starts = indptr[1:-1]
        rising[starts[(starts > 0) & (starts < indices.size)] - 1] = True
        if not rising.all():
            raise VersionInvalidError("item_item_indices.npy: the columns of a row must rise")
        if np.any(indices == np.repeat(np.arange(n_modelled, dtype=np.int32), np.diff(indptr))):
            raise VersionInvalidError("item_item_indices.npy: the diagonal must be zero")
        return SparseItemItem(indptr, indices, self.array("item_item_values.npy", np.float32, (indices.size,)))
