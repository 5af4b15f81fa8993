"""Encode and decode: what goes in comes out, and what could not have come from `encode` is refused."""

import io
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spoiling import no_pause

from recsys.artifacts.contents import Contents, ModelDescription, TopLists, encode
from recsys.artifacts.decoding import decode
from recsys.datasets.ratings import Catalogue
from recsys.errors import VersionInvalidError
from recsys.models.item_item import DenseItemItem, ItemItem, SparseItemItem, store_item_item

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
finite = st.floats(-1e6, 1e6, width=32)
not_negative = st.floats(0, 1, width=32)


@st.composite
def item_items(draw: st.DrawFn, n: int) -> ItemItem:
    dense = draw(hnp.arrays(np.float32, (n, n), elements=finite))
    np.fill_diagonal(dense, 0)
    if draw(st.booleans()):
        return DenseItemItem(dense)
    kept = draw(hnp.arrays(bool, (n, n)))
    np.fill_diagonal(kept, val=False)
    rows, columns = np.nonzero(kept)
    indptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)
    return SparseItemItem(indptr, columns.astype(np.int32), dense[rows, columns])


@st.composite
def top_lists(draw: st.DrawFn, n_users: int, n_items: int) -> TopLists:
    users = draw(st.sets(st.integers(0, n_users - 1))) if n_users else ()
    shape = (len(users), draw(st.integers(0, 3)))
    items = draw(hnp.arrays(np.int32, shape, elements=st.integers(-1, n_items - 1)))
    return TopLists(np.array(sorted(users), np.int32), items, draw(hnp.arrays(np.float32, shape, elements=finite)))


@st.composite
def any_contents(draw: st.DrawFn) -> Contents:
    item_ids = tuple(draw(st.lists(ids, min_size=1, max_size=6, unique=True)))
    user_ids = tuple(draw(st.lists(ids, max_size=4, unique=True)))
    n_items, n_users = len(item_ids), len(user_ids)

    def column(values: st.SearchStrategy[Any]) -> Any:
        return tuple(draw(st.lists(values, min_size=n_items, max_size=n_items)))

    catalogue = Catalogue(
        item_ids,
        column(text),
        column(st.none() | st.integers(1850, 2100)),
        column(st.lists(text, max_size=3).map(tuple)),
        column(st.none() | text),
        column(st.none() | text),
    )
    lengths = draw(st.lists(st.integers(0, 4), min_size=n_users, max_size=n_users))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n_ratings = int(indptr[-1])
    linear: dict[str, Any] = {"item_item": None, "row_norms": None, "column_norms": None}
    algorithm = draw(st.sampled_from(["edlae", "popularity"]))
    if algorithm == "edlae":
        n_modelled = draw(st.integers(0, n_items))
        norms = hnp.arrays(np.float32, n_modelled, elements=not_negative)
        linear = {
            "item_item": draw(item_items(n_modelled)),
            "row_norms": draw(norms),
            "column_norms": draw(norms),
            "top_lists": draw(st.none() | top_lists(n_users, n_items)),
        }
    low = draw(st.sampled_from([0.0, 0.5, 1.0]))
    description = ModelDescription.model_validate(
        {
            "algorithm": algorithm,
            "graded": draw(st.booleans()),
            "half_life": draw(st.none() | st.floats(0.01, 1)),
            "min_half_life": draw(st.floats(0.5, 50)),
            "scale_low": low,
            "scale_high": draw(st.sampled_from([5.0, 10.0])),
            "scale_step": 0.5,
            "has_timestamps": draw(st.booleans()),
        }
    )
    return Contents(
        description=description,
        catalogue=catalogue,
        user_ids=user_ids,
        rating_counts=draw(hnp.arrays(np.int32, n_items, elements=st.integers(0, 2**31 - 1))),
        popularity=draw(hnp.arrays(np.float32, n_items, elements=not_negative)),
        history_indptr=indptr,
        history_items=draw(hnp.arrays(np.int32, n_ratings, elements=st.integers(0, n_items - 1))),
        history_values=draw(hnp.arrays(np.float32, n_ratings, elements=st.floats(0.5, 5, width=32))),
        history_timestamps=draw(hnp.arrays(np.int64, n_ratings, elements=st.integers(-(2**63), 2**63 - 1))),
        **linear,
    )


def arrays_of(contents: Contents) -> dict[str, Any]:
    found = {name: value for name, value in vars(contents).items() if isinstance(value, np.ndarray)}
    for name in ("item_item", "top_lists"):
        part = getattr(contents, name)
        found |= {f"{name}.{key}": value for key, value in vars(part).items()} if part is not None else {}
    return found


@settings(deadline=None)
@given(any_contents())
def test_contents_come_back_as_they_were(contents: Contents) -> None:
    found = decode(dict(encode(contents)), pause=no_pause)

    assert contents.description == found.description
    assert contents.catalogue == found.catalogue
    assert contents.user_ids == found.user_ids
    assert type(contents.item_item) is type(found.item_item)
    wanted, got = arrays_of(contents), arrays_of(found)
    assert wanted.keys() == got.keys()
    for name, array in wanted.items():
        assert array.dtype == got[name].dtype
        np.testing.assert_array_equal(array, got[name], err_msg=name)


@settings(deadline=None)
@given(any_contents())
def test_the_same_contents_give_the_same_bytes(contents: Contents) -> None:
    files = dict(encode(contents))

    assert files == dict(encode(decode(files, pause=no_pause)))


def test_arrays_are_read_only_views_of_the_bytes_that_were_given(sample_contents: Contents) -> None:
    files = dict(encode(sample_contents))
    found = decode(files, pause=no_pause)

    for name, array in arrays_of(found).items():
        assert not array.flags.writeable, name
        base = array
        while isinstance(base, np.ndarray):
            base = base.base
        assert any(base is content for content in files.values()), f"{name} is a copy"


@pytest.fixture(scope="module")
def dense_files(sample_contents: Contents) -> dict[str, bytes]:
    return dict(encode(sample_contents))


@pytest.fixture(scope="module")
def sparse_contents(sample_contents: Contents) -> Contents:
    assert isinstance(sample_contents.item_item, DenseItemItem)
    stored = store_item_item(sample_contents.item_item.values, max_dense_bytes=0, mean_kept=20)
    return replace(sample_contents, item_item=stored)


@pytest.fixture(scope="module")
def sparse_files(sparse_contents: Contents) -> dict[str, bytes]:
    return dict(encode(sparse_contents))


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=allow_pickle)
    return buffer.getvalue()


def array_in(files: dict[str, bytes], name: str) -> np.ndarray:
    found: np.ndarray = np.lib.format.read_array(io.BytesIO(files[name]))
    return found


def changed(files: dict[str, bytes], name: str, at: Any, value: Any) -> dict[str, bytes]:
    array = array_in(files, name).copy()
    array[at] = value
    return files | {name: npy(array)}


def refuse(files: dict[str, bytes], match: str) -> None:
    with pytest.raises(VersionInvalidError, match=match):
        decode(files, pause=no_pause)


ARRAYS = (
    "column_norms", "history_indptr", "history_items", "history_timestamps", "history_values", "item_item",
    "popularity", "rating_counts", "row_norms", "top_items", "top_scores", "top_users",
)  # fmt: skip
FLOATS = ("column_norms", "history_values", "item_item", "popularity", "row_norms", "top_scores")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(dense_files: dict[str, bytes], name: str, value: float) -> None:
    at = (0, 1) if name in ("item_item", "top_scores") else 0

    refuse(changed(dense_files, f"{name}.npy", at, value), rf"{name}\.npy holds a value that is not finite")


@pytest.mark.parametrize("name", ARRAYS)
def test_another_type_is_refused(dense_files: dict[str, bytes], name: str) -> None:
    array = array_in(dense_files, f"{name}.npy")
    others = [np.float64, np.float16, np.int16, np.uint64, np.bool_, np.complex64, array.dtype.newbyteorder(">")]

    for other in others:
        refuse(dense_files | {f"{name}.npy": npy(np.zeros(array.shape, other))}, rf"{name}\.npy has type")


@pytest.mark.parametrize("name", ARRAYS)
def test_another_shape_is_refused(dense_files: dict[str, bytes], name: str) -> None:
    array = array_in(dense_files, f"{name}.npy")
    for other in (array[:-1], array[np.newaxis], array.reshape(-1, 1), array.reshape(-1)[0].reshape(())):
        spoiled = dense_files | {f"{name}.npy": npy(other)}
        with pytest.raises(VersionInvalidError):
            decode(spoiled, pause=no_pause)


def test_an_array_in_fortran_order_is_refused(dense_files: dict[str, bytes]) -> None:
    """Its bytes mean the transposed matrix to whoever reads them row by row."""
    array = array_in(dense_files, "item_item.npy")

    refuse(dense_files | {"item_item.npy": npy(np.asfortranarray(array))}, r"item_item\.npy")


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("name", ARRAYS)
def test_an_object_array_is_refused_and_never_unpickled(
    dense_files: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    trace = tmp_path / "executed"
    array = np.full(array_in(dense_files, f"{name}.npy").shape, Bomb(trace), dtype=object)

    for content in (npy(array, allow_pickle=True), pickle.dumps(Bomb(trace))):
        refuse(dense_files | {f"{name}.npy": content}, rf"{name}\.npy")

    assert not trace.exists()


def header(described: bytes, n_bytes: int = 0) -> bytes:
    padded = described + b" " * (-(len(described) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(n_bytes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x02\x00" + bytes(100),
        b"\x93NUMPY\x09\x09" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        bytes(200),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': ("),
        header(b"'''"),
        header(b"[1, 2]"),
        header(b"{1: 2, 'a': 3}"),
        header(b"{[]: 1}"),
        header(b"  a\n b\n   c\n  d"),
        header(b"(" * 900),
        header(b"-" * 3000 + b"1"),
        header(b"\xff\xfe\x00"),
        header(b"__import__('os')"),
        header(b"{'descr': ('<f4',), 'fortran_order': False, 'shape': (3,), }", 12),
        header(b"{'descr': {'names': 1}, 'fortran_order': False, 'shape': (3,), }", 12),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", 12),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }", 12),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,), }", 12),
        header(b"{'descr': '<f4', 'fortran_order': 7, 'shape': (3,), }", 12),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 12),
    ],
    ids=repr,
)
def test_a_header_that_numpy_would_not_write_is_refused(dense_files: dict[str, bytes], content: bytes) -> None:
    """Whatever numpy's parser makes of it: a header that raises something else would pass for a fault of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refuse(dense_files | {"popularity.npy": content}, r"popularity\.npy")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_header_with_any_byte_changed_is_read_right_or_refused(
    dense_files: dict[str, bytes], data: st.DataObject
) -> None:
    content = bytearray(dense_files["popularity.npy"])
    at = data.draw(st.integers(0, 127))
    content[at] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = decode(dense_files | {"popularity.npy": bytes(content)}, pause=no_pause)
        except VersionInvalidError:
            return
    np.testing.assert_array_equal(array_in(dense_files, "popularity.npy"), found.popularity)


@pytest.mark.parametrize("name", ARRAYS)
def test_bytes_too_few_or_too_many_for_the_shape_are_refused(dense_files: dict[str, bytes], name: str) -> None:
    content = dense_files[f"{name}.npy"]
    for other in (content[:-1], content[:200], content + b"\0", content + content):
        with pytest.raises(VersionInvalidError):
            decode(dense_files | {f"{name}.npy": other}, pause=no_pause)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("history_items.npy", 3, -1),
        ("history_items.npy", 3, 10**6),
        ("history_indptr.npy", 0, 1),
        ("history_indptr.npy", 1, -5),
        ("history_indptr.npy", 3, 0),
        ("history_indptr.npy", -1, -1),
        ("history_indptr.npy", -1, 2**62),
        ("rating_counts.npy", 0, -1),
        ("popularity.npy", 0, -0.5),
        ("row_norms.npy", 0, -1.0),
        ("column_norms.npy", 0, -1.0),
        ("item_item.npy", (4, 4), 0.25),
        ("top_users.npy", 0, -1),
        ("top_users.npy", 3, 2),
        ("top_users.npy", -1, 10**6),
        ("top_items.npy", (2, 1), -2),
        ("top_items.npy", (2, 1), 10**6),
    ],
)
def test_a_value_out_of_range_is_refused(dense_files: dict[str, bytes], name: str, at: Any, value: Any) -> None:
    with pytest.raises(VersionInvalidError):
        decode(changed(dense_files, name, at, value), pause=no_pause)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("item_item_indices.npy", 0, -1),
        ("item_item_indices.npy", 0, 10**6),
        ("item_item_indptr.npy", 0, 1),
        ("item_item_indptr.npy", 1, -1),
        ("item_item_indptr.npy", 1, 2**40),
        ("item_item_indptr.npy", -1, 0),
        ("item_item_values.npy", 0, np.nan),
    ],
)
def test_a_thresholded_matrix_that_points_elsewhere_is_refused(
    sparse_files: dict[str, bytes], name: str, at: Any, value: Any
) -> None:
    refuse(changed(sparse_files, name, at, value), r"item_item_\w+\.npy")


@pytest.mark.parametrize("name", ["history_indptr.npy", "item_item_indptr.npy"])
def test_pointers_whose_differences_overflow_are_refused(sparse_files: dict[str, bytes], name: str) -> None:
    """2⁶³−1 → −2 looks like a rise to 64-bit subtraction."""
    spoiled = changed(sparse_files, name, slice(1, 3), [2**63 - 1, -2])

    refuse(spoiled, name.replace(".", r"\."))


def test_columns_of_a_row_that_fall_or_repeat_are_refused(
    sparse_contents: Contents, sparse_files: dict[str, bytes]
) -> None:
    matrix = sparse_contents.item_item
    assert isinstance(matrix, SparseItemItem)
    row = int(np.flatnonzero(np.diff(matrix.indptr) >= 2)[0])
    first, second = int(matrix.indptr[row]), int(matrix.indptr[row]) + 1
    swapped = [matrix.indices[second], matrix.indices[first]]

    for columns in (swapped, [matrix.indices[first]] * 2):
        refuse(changed(sparse_files, "item_item_indices.npy", [first, second], columns), "must rise")


def test_rows_may_be_empty_and_may_begin_below_the_end_of_the_row_before(sparse_files: dict[str, bytes]) -> None:
    n = array_in(sparse_files, "row_norms.npy").size
    indptr = np.full(n + 1, 3, np.int64)
    indptr[:5] = [0, 0, 2, 2, 3]
    files = sparse_files | {
        "item_item_indptr.npy": npy(indptr),
        "item_item_indices.npy": npy(np.array([5, 9, 0], np.int32)),
        "item_item_values.npy": npy(np.ones(3, np.float32)),
    }

    assert decode(files, pause=no_pause).item_item is not None


def test_a_thresholded_matrix_has_no_diagonal_either(sparse_files: dict[str, bytes]) -> None:
    n = array_in(sparse_files, "row_norms.npy").size
    indptr = np.full(n + 1, 1, np.int64)
    indptr[:4] = 0
    files = sparse_files | {
        "item_item_indptr.npy": npy(indptr),
        "item_item_indices.npy": npy(np.array([3], np.int32)),
        "item_item_values.npy": npy(np.ones(1, np.float32)),
    }

    refuse(files, "diagonal")


@pytest.mark.parametrize("name", ["items.jsonl", "users.jsonl"])
@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"7",
        b"null",
        b'""',
        b"[]",
        b'["a"]',
        b"[" * 5000,
        b"[" * 900 + b"]" * 900,
        b"\xff\xfe",
        b'"\\ud800"',
        b"x",
    ],
)
def test_a_line_that_is_not_what_it_should_be_is_refused(dense_files: dict[str, bytes], name: str, line: bytes) -> None:
    lines = dense_files[name].splitlines()
    lines[7] = line

    refuse(dense_files | {name: b"\n".join(lines) + b"\n"}, name.replace(".", r"\."))


@pytest.mark.parametrize(
    "row",
    [
        ["", "Title", 1999, [], None, None],
        [7, "Title", 1999, [], None, None],
        ["7x", None, 1999, [], None, None],
        ["7x", "Title", "1999", [], None, None],
        ["7x", "Title", 1999.5, [], None, None],
        ["7x", "Title", 10**9, [], None, None],
        ["7x", "Title", -(10**9), [], None, None],
        ["7x", "Title", True, [], None, None],
        ["7x", "Title", 1999, "Drama", None, None],
        ["7x", "Title", 1999, [1], None, None],
        ["7x", "Title", 1999, [["Drama"]], None, None],
        ["7x", "Title", 1999, [], 5, None],
        ["7x", "Title", 1999, [], None],
        ["7x", "Title", 1999, [], None, None, None],
    ],
)
def test_a_row_of_the_catalogue_that_is_no_item_is_refused(dense_files: dict[str, bytes], row: list[Any]) -> None:
    lines = dense_files["items.jsonl"].splitlines()
    lines[7] = orjson.dumps(row)

    refuse(dense_files | {"items.jsonl": b"\n".join(lines) + b"\n"}, r"items\.jsonl: line 8 is not an item")


@pytest.mark.parametrize("name", ["items.jsonl", "users.jsonl"])
def test_an_id_that_stands_there_twice_is_refused(dense_files: dict[str, bytes], name: str) -> None:
    lines = dense_files[name].splitlines()
    lines[-1] = lines[0]

    refuse(dense_files | {name: b"\n".join(lines) + b"\n"}, "twice")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"algorithm": "svd"}, "algorithm"),
        ({"half_life": 0.0}, "half_life"),
        ({"half_life": -1.0}, "half_life"),
        ({"min_half_life": 0.0}, "min_half_life"),
        ({"scale_step": 0.0}, "scale_step"),
        ({"scale_high": 0.0}, "scale"),
        ({"scale_high": -5.0}, "scale"),
        ({"scale_low": 9.0}, "scale"),
        ({"graded": "maybe"}, "graded"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_a_description_that_cannot_be_is_refused_by_field(
    dense_files: dict[str, bytes], change: dict[str, Any], names: str
) -> None:
    described = orjson.loads(dense_files["model.json"]) | change

    refuse(dense_files | {"model.json": orjson.dumps(described)}, rf"model\.json.*{names}")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"graded": NaN}'])
def test_a_description_that_is_no_json_object_is_refused(dense_files: dict[str, bytes], content: bytes) -> None:
    refuse(dense_files | {"model.json": content}, r"model\.json")


def test_every_file_is_needed(dense_files: dict[str, bytes], sparse_files: dict[str, bytes]) -> None:
    for files in (dense_files, sparse_files):
        for name in files:
            with pytest.raises(VersionInvalidError, match="not in the manifest"):
                decode({other: content for other, content in files.items() if other != name}, pause=no_pause)


def test_a_version_from_before_there_were_lists_has_none(dense_files: dict[str, bytes]) -> None:
    without = {name: content for name, content in dense_files.items() if not name.startswith("top_")}

    assert decode(without, pause=no_pause).top_lists is None


@pytest.mark.parametrize("name", ["extra.npy", "notes.json", "item_item_values.npy"])
def test_a_file_that_no_such_model_has_is_refused(dense_files: dict[str, bytes], name: str) -> None:
    refuse(dense_files | {name: dense_files["popularity.npy"]}, rf"{name}: not part of such a model")


def test_a_popularity_model_has_no_matrix(dense_files: dict[str, bytes]) -> None:
    described = orjson.loads(dense_files["model.json"]) | {"algorithm": "popularity"}

    refuse(dense_files | {"model.json": orjson.dumps(described)}, r"item_item\.npy.*not part of such a model")


def test_more_modelled_items_than_items_are_refused(dense_files: dict[str, bytes]) -> None:
    too_many = np.ones(array_in(dense_files, "rating_counts.npy").size + 1, np.float32)

    refuse(dense_files | {"row_norms.npy": npy(too_many)}, r"row_norms\.npy")


def test_decoding_pauses_often_enough_for_a_loop_beside_it(dense_files: dict[str, bytes]) -> None:
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    decode(dense_files, pause=pause)

    lines = dense_files["items.jsonl"].count(b"\n") + dense_files["users.jsonl"].count(b"\n")
    assert pauses >= lines // 100
