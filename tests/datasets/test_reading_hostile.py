"""Whatever is there instead of a data set, the answer is one clear line, never a traceback."""

import io
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recsys.datasets import sources
from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError

GOOD = b"user,item,rating,timestamp\nu,i,4,5\nv,i,3,6\n"


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    text = str(caught.value)
    assert text.isprintable()  # one line, and nothing for the terminal to act on
    return text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"user,item,rating\n", "holds no ratings"),
        (b"movieId,title,genres\n1,A,B\n", "no column for user and rating; its header is: movieId, title, genres"),
        (b"1,2,3.5\n1,3,4\n", "its header is: 1, 2, 3.5"),
        (b"user,item,rating,rating\n1,2,3,4\n", "more than one column 'rating'"),
        (b"user,item,rating\x00\n", "NUL"),
        ("user,item,rating\n1,2,3\n".encode("utf-16"), "UTF-16"),
        (b"user,item,rating\r1,2,3\r", "CR alone"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not a text file"),
        (b"\x1b[31mred\n", "no column for user"),
        (b"just words\n", "no column for user and item and rating; its header is: just words"),
        (b"x" * 3_000_000, "no column"),
        (b"user,item,rating\n" + b"x" * 3_000_000, "not a table of text"),
    ],
)
def test_a_file_that_is_no_ratings_table(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(content)

    assert expected in refused(path)


def test_a_missing_path_names_what_would_do(tmp_path: Path) -> None:
    text = refused(tmp_path / "nowhere")

    assert "nowhere does not exist" in text
    assert "MovieLens directory or zip, or a CSV file" in text


def test_a_directory_without_a_data_set_names_what_it_has_and_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title\n1,A\n", encoding="utf-8")
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8")

    text = refused(tmp_path)

    assert "it has: holiday.jpg, movies.csv (movieId, title)" in text
    assert "u.data, ratings.dat, ratings.csv" in text


def test_an_empty_directory(tmp_path: Path) -> None:
    assert "it has: no files" in refused(tmp_path)


def test_two_ratings_files_are_not_guessed_between(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.csv").write_bytes(GOOD)

    assert "several files hold ratings: a.csv, b.csv" in refused(tmp_path)


@pytest.mark.parametrize(
    ("header", "expected"), [("number,words", "id and title; its header is: number, words"), ("movie,genres", "title;")]
)
def test_a_catalogue_without_the_needed_columns(tmp_path: Path, header: str, expected: str) -> None:
    (tmp_path / "ratings.csv").write_bytes(GOOD)
    (tmp_path / "movies.csv").write_text(f"{header}\n1,A\n", encoding="utf-8")

    assert f"movies.csv has no column for {expected}" in refused(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(GOOD)
    path.chmod(0)

    assert "cannot be read: Permission denied" in refused(path)


def test_what_is_neither_file_nor_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")

    assert "neither a file nor a directory" in refused(tmp_path / "pipe.csv")
    assert "it has: no files" in refused(tmp_path)  # and a pipe in a directory is not waited for


def test_a_link_that_leads_nowhere_or_round(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to(tmp_path / "gone.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "b.csv")

    assert "does not exist" in refused(tmp_path / "a.csv")
    assert "it has: no files" in refused(tmp_path)
    refused(tmp_path / "b.csv")


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 not really", b"user,item,rating\n1,2,3\n"])
def test_a_zip_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ml.zip"
    path.write_bytes(content)

    assert "ml.zip cannot be read" in refused(path)


def test_a_zip_cut_short(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "ml.zip", {"ratings.csv": GOOD * 100})
    path.write_bytes(path.read_bytes()[:-30])

    assert "ml.zip cannot be read" in refused(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_a_damaged_member(tmp_path: Path, compression: int) -> None:
    path = make_zip(tmp_path / "ml.zip", {"ratings.csv": GOOD + bytes(range(33, 90)) * 50}, compression)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)

    assert "ratings.csv cannot be read" in refused(path)


def test_a_zip_with_an_empty_name(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "ml.zip", {"xratings.csv": GOOD})
    path.write_bytes(path.read_bytes().replace(b"xratings.csv", b"\0ratings.csv"))

    assert "it has: no files" in refused(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "ml.zip", {"ratings.csv": GOOD})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)

    assert "ratings.csv in the zip is encrypted" in refused(path)


@pytest.mark.parametrize("name", ["../ratings.csv", "/ratings.csv", "a/../../ratings.csv", "..\\ratings.csv"])
def test_a_name_that_leaves_the_zip_is_not_read(tmp_path: Path, name: str) -> None:
    assert "it has: no files" in refused(make_zip(tmp_path / "ml.zip", {name: GOOD}))

    both = make_zip(tmp_path / "both.zip", {name: b"evil", "good/ratings.csv": GOOD, "__MACOSX/ratings.csv": GOOD})
    assert read_dataset(both).n_ratings == 2
    assert {path.name for path in tmp_path.iterdir()} == {"ml.zip", "both.zip"}


def test_a_zip_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", {"ratings.csv": b"user,item,rating\n" + b"1,1,1\n" * 12_000_000})
    assert "zip bomb" in refused(bomb)

    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 1000)
    large = make_zip(tmp_path / "large.zip", {"ratings.csv": GOOD + os.urandom(2000).hex().encode()})
    assert "unpacks from" in refused(large)


names = st.sampled_from(
    ["r.csv", "ratings.csv", "ratings.tsv", "movies.csv", "items.csv", "links.csv", "u.data", "u.item", "u.genre",
     "ratings.dat", "movies.dat", "sub/ratings.csv", "data.zip"]
)  # fmt: skip
tokens = st.sampled_from(
    [b"user", b"item", b"rating", b"timestamp", b"movieId", b"title", b"genres", b"imdbId", b",", b";", b"\t", b"::",
     b"|", b'"', b'""', b"\n", b"\r\n", b"\r", b" ", b"\0", b"1", b"5", b"007", b"3.5", b"-1", b"nan", b"1e400",
     b"2020-01-01", b"0000-01-01", b"2020-01-01T99", b"now", b"99999999999999999999", b"\xff", b"\xc3\xa9",
     b"\xef\xbb\xbf", b"\x1e", b"\x1f", b"(1995)", b", The", b"PK\x03\x04", b"user,item,rating,timestamp\n",
     b"1,2,3,4\n", b"1\t2\t3\t4\n", b"1::2::3::4\n", b"id,title\n", b"1|2|3|4|5|1\n"]
)  # fmt: skip
contents = st.one_of(
    st.binary(max_size=200),
    st.lists(tokens, max_size=40).map(b"".join),
    st.lists(tokens, max_size=40).map(lambda parts: b"user,item,rating,timestamp\n" + b"".join(parts)),
)
slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)


@slow_machine
@given(st.dictionaries(names, contents, min_size=1, max_size=4), st.booleans(), st.integers(1, 300))
@example({"u.data": b"1\t2\t3\t4\n", "u.item": b"1|2|3|4|5|1\n", "u.genre": b"a|0|b\n"}, False, 5)
def test_arbitrary_bytes_raise_nothing_but_data_errors(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], as_zip: bool, block_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    if as_zip:
        path = make_zip(folder / "all.zip", files)
    else:
        path = folder
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    first = path if as_zip else path / next(iter(files))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK_BYTES", block_bytes)
        for target in (path, first):
            check(read_or_refuse(target))


def read_or_refuse(path: Path) -> Dataset | DataError:
    try:
        return read_dataset(path, max_bad_share=1.0)
    except DataError as error:
        return error


def check(data: Dataset | DataError) -> None:
    if isinstance(data, DataError):
        assert str(data).isprintable()
        return
    assert data.n_ratings > 0
    assert data.report.rows - data.report.bad - data.report.duplicates <= data.n_ratings <= data.report.rows
    assert data.users.max() + 1 == data.n_users
    assert data.items.max() < data.n_items
    assert len(set(data.catalogue.item_ids)) == data.n_items
    assert len(set(zip(data.users.tolist(), data.items.tolist(), strict=True))) == data.n_ratings
    assert data.scale is not None


@slow_machine
@given(st.data())
def test_a_damaged_zip_raises_nothing_but_data_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/ratings.csv", GOOD)
        archive.writestr("a/movies.csv", "id,title\ni,Film (1999)\n")
    content = bytearray(packed.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(content)
    check(read_or_refuse(path))
