"""Rows that cannot be used are left out, counted and named by file and line; of several ratings the last wins."""

from pathlib import Path

import numpy as np
import pytest

from recsys.datasets import rows, sources
from recsys.datasets.collecting import last_of_each
from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError

HEADER = "user,item,rating,timestamp"
GOOD = [f"u{n},i1,4,{n}" for n in range(2000)]


def read(tmp_path: Path, lines: list[str] | bytes, max_bad_share: float = 0.01) -> Dataset:
    path = tmp_path / "ratings.csv"
    path.write_bytes(lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode())
    return read_dataset(path, max_bad_share=max_bad_share)


def told(data: Dataset) -> list[str]:
    return [str(row) for row in data.report.examples]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("u,i,4", "3 fields where 4 were expected"),
        ("u,i,4,5,6", "5 fields where 4 were expected"),
        ("oops", "1 field where 4 were expected"),
        (",i,4,5", "user id is empty"),
        ("u, ,4,5", "item id is empty"),
        ("u,,4,5", "item id is empty"),
        ("u,i,,5", "rating is empty"),
        ("u,i,four,5", "rating 'four' is not a finite number"),
        ("u,i,nan,5", "rating 'nan' is not a finite number"),
        ("u,i,-inf,5", "rating '-inf' is not a finite number"),
        ("u,i,1_0,5", "rating '1_0' is not a finite number"),
        ("u,i,-1,5", "rating '-1' is negative"),
        ("u,i,1e300,5", "rating '1e300' is over 1,000,000"),
        ("u,i,4,yesterday", "timestamp 'yesterday' is not a time between 1970 and 2100"),
        ("u,i,4,now", "timestamp 'now' is not a time between 1970 and 2100"),
        ("u,i,4,2020-13-45", "timestamp '2020-13-45' is not a time between 1970 and 2100"),
        ("u,i,4,2999-01-01", "timestamp '2999-01-01' is not a time between 1970 and 2100"),
        ("u,i,4,-5", "timestamp '-5' is not a time between 1970 and 2100"),
        ("u,i,4,99999999999999999999", "timestamp '99999999999999999999' is not a time between 1970 and 2100"),
        ("u,i,4,5000000000", "timestamp '5000000000' is not a time between 1970 and 2100"),
        ("u,i,4,inf", "timestamp 'inf' is not a time between 1970 and 2100"),
        ("x" * 300 + ",i,4,5", "user id has 300 characters, more than 256"),
        ("u,i\x07,4,5", "item id 'i�' has a line end or control character in it"),
        ("u\0,i,4,5", "a NUL byte"),
        ("u,i,4,5" + "x" * 70_000, "a line of 70,007 bytes"),
        ("u,i\r,4,5", "quotes or line ends that do not match"),
    ],
)
def test_a_bad_row_is_left_out_and_named(tmp_path: Path, row: str, problem: str) -> None:
    data = read(tmp_path, [HEADER, *GOOD[:1000], row, *GOOD[1000:]])

    assert told(data) == [f"ratings.csv:1002: {problem}"]
    assert (data.report.rows, data.report.bad, data.report.duplicates, data.n_ratings) == (2001, 1, 0, 2000)
    assert data.user_ids == tuple(f"u{n}" for n in range(2000))  # a bad row leaves no trace in the ids
    assert data.catalogue.item_ids == ("i1",)


def test_empty_lines_are_not_rows(tmp_path: Path) -> None:
    data = read(tmp_path, [HEADER, "", "u,i,4,5", "   ", "", "u,j,4,5", "oops", ""], max_bad_share=0.5)

    assert (data.report.rows, data.report.bad, data.n_ratings) == (3, 1, 2)
    assert told(data) == ["ratings.csv:7: 1 field where 4 were expected"]


def test_the_first_twenty_are_kept_in_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 300)
    kinds = ["oops", ",i,4,5", "u,i,x,5", "u,i,4,x", "u,i,4,5,6"]
    lines = [kinds[n // 10 % 5] if n % 10 == 0 else f"u{n},i,4,5" for n in range(1000)]

    data = read(tmp_path, [HEADER, *lines], max_bad_share=0.2)

    assert data.report.bad == 100
    assert [row.line for row in data.report.examples] == [2 + 10 * n for n in range(20)]


def test_too_many_bad_rows_stop_the_reading_with_all_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, [HEADER, *GOOD[:95], "a", "u,i,-3,1", "b", "c", "d"])

    text = str(caught.value)
    assert "ratings.csv: 5 of 100 rows are bad" in text
    assert "ratings.csv:97: 1 field where 4 were expected; ratings.csv:98: rating '-3' is negative" in text
    assert "RECSYS_DATA__MAX_BAD_SHARE" in text
    assert "\n" not in text
    assert caught.value.problems[0].where == "ratings.csv:97"


@pytest.mark.parametrize(("n_bad", "stops"), [(10, False), (11, True)])
def test_the_limit_itself_is_allowed(tmp_path: Path, n_bad: int, stops: bool) -> None:
    lines = [HEADER, *GOOD[: 1000 - n_bad], *["bad"] * n_bad]
    if stops:
        with pytest.raises(DataError, match="11 of 1,000"):
            read(tmp_path, lines)
    else:
        assert read(tmp_path, lines).report.bad == 10


def test_nothing_but_bad_rows_is_no_data_set_whatever_the_limit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no ratings"):
        read(tmp_path, [HEADER, "a", "b"], max_bad_share=1.0)


def test_lines_are_counted_through_line_ends_in_quotes(tmp_path: Path) -> None:
    lines = ["note,user,item,rating", '"one\ntwo\n\nthree",u,i,5', 'x,u,"j",4', '"a ""b""\n",v,i,4', "oops"]

    data = read(tmp_path, lines, max_bad_share=0.5)

    assert data.values.tolist() == [5.0, 4.0, 4.0]
    assert (data.user_ids, data.catalogue.item_ids) == (("u", "v"), ("i", "j"))
    assert told(data) == ["ratings.csv:9: 1 field where 4 were expected"]


def test_a_line_inside_quotes_that_looks_like_a_record_is_none(tmp_path: Path) -> None:
    data = read(tmp_path, ["note,user,item,rating", '"one', "x,u9,i9,5", 'two",u,i,4', "x,v,j,3"])

    assert (data.user_ids, data.catalogue.item_ids, data.report.rows) == (("u", "v"), ("i", "j"), 2)


def test_two_stray_quotes_do_not_swallow_what_is_between_them(tmp_path: Path) -> None:
    data = read(tmp_path, ["user,item,rating,note", 'u,i,5,"great', "v,i,4,fine", 'w,i,3,"bad', "x,i,2,"])

    assert data.values.tolist() == [5.0, 4.0, 3.0, 2.0]


def test_well_quoted_lines_do_not_go_the_slow_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_split", lambda *_args, **_options: pytest.fail("a regular line was split by hand"))

    data = read(tmp_path, [HEADER, '"u, 1","say ""i""","4","5"', 'v, "j",4,', '"","k",4,5'], max_bad_share=0.5)

    assert (data.user_ids, data.catalogue.item_ids) == (("u, 1", "v"), ('say "i"', "j"))


@pytest.mark.parametrize("block_bytes", [1, 7, 20, 64, 1000])
def test_a_record_may_go_on_in_the_next_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block_bytes)
    records = [f'"first\n\nline {n}",u{n},i,5' for n in range(30)]

    data = read(tmp_path, ["note,user,item,rating", *records, "oops", "x,u,j,4"], max_bad_share=0.1)

    assert data.n_ratings == 31
    assert told(data) == ["ratings.csv:92: 1 field where 4 were expected"]


@pytest.mark.parametrize(
    "stray", ['"u,i,5,1', 'u,"i,5,1', 'u,i,"5,1', 'u,i"a,5,7,b"c,x,y', '"', '""u,i,5', 'u,i"i,5,1,', '"u"x,i,5,1,"']
)
def test_a_stray_quote_spoils_no_other_line(tmp_path: Path, stray: str) -> None:
    data = read(tmp_path, [HEADER, *GOOD[:500], stray, *GOOD[500:1000], stray, *GOOD[1000:]])

    assert (data.report.rows, data.report.bad, data.n_ratings) == (2002, 2, 2000)
    assert [row.line for row in data.report.examples] == [502, 1003]


def test_quotes_inside_a_field_are_text(tmp_path: Path) -> None:
    data = read(tmp_path, [HEADER, 'u,5" disc,4,1', 'v,6"" disc,4,1', '"w","7"" disc",4,1', 'x, "8",4,1'])

    assert data.catalogue.item_ids == ('5" disc', '6"" disc', '7" disc', "8")


def test_an_id_with_a_line_end_is_bad(tmp_path: Path) -> None:
    data = read(tmp_path, [HEADER, *GOOD, '"u\nv",i,4,1', '"u",i2,4,1'])

    assert told(data) == ["ratings.csv:2002: user id 'u�v' has a line end or control character in it"]
    assert data.n_ratings == 2001


def test_a_few_broken_bytes_do_not_change_the_encoding_of_the_rest(tmp_path: Path) -> None:
    lines = [HEADER, *(f"ü{n},ï1,4,{n}" for n in range(500)), "?,ï1,4,5", *(f"é{n},ï1,4,{n}" for n in range(500))]
    content = "\n".join(lines).encode().replace(b"?", b"\xff\xfe")

    data = read(tmp_path, content)

    assert told(data) == ["ratings.csv:502: user id '��' is not valid UTF-8"]
    assert data.catalogue.item_ids == ("ï1",)
    assert data.user_ids[-1] == "é499"


def test_the_last_rating_by_time_wins_and_keeps_its_place(tmp_path: Path) -> None:
    lines = ["u,a,1,30", "u,b,2,10", "u,a,3,20", "v,a,5,5", "u,b,4,10", "u,c,5,1", "u,a,2,30"]

    data = read(tmp_path, [HEADER, *lines])

    kept = [(data.user_ids[u], data.catalogue.item_ids[i]) for u, i in zip(data.users, data.items, strict=True)]
    assert kept == [("v", "a"), ("u", "b"), ("u", "c"), ("u", "a")]
    assert data.values.tolist() == [5.0, 4.0, 5.0, 2.0]
    assert (data.report.rows, data.report.bad, data.report.duplicates) == (7, 0, 3)


def test_a_rating_with_a_time_beats_one_without(tmp_path: Path) -> None:
    data = read(tmp_path, [HEADER, "u,a,1,30", "u,a,2,"])

    assert data.values.tolist() == [1.0]


def test_without_duplicates_nothing_is_sifted() -> None:
    users, items = np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32)

    assert last_of_each(users, items, np.zeros(3, np.int64)) is None
    assert last_of_each(users[:0], items[:0], np.zeros(0, np.int64)) is None


def test_the_first_of_two_catalogue_rows_for_an_item_wins_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("id,title\n1,First\n1 ,Second\n2,Other\n", encoding="utf-8")

    data = read(tmp_path, [HEADER, "u,1,4,5"])

    assert data.catalogue.titles == ("First", "Other")
    assert (data.report.rows, data.report.bad, data.report.duplicates) == (1, 0, 1)


def test_bad_rows_of_the_catalogue_are_named_and_limited_too(tmp_path: Path) -> None:
    movies = ["id,title", *(f"{n},Film {n}" for n in range(300)), "oops", " ,No id"]
    (tmp_path / "movies.csv").write_text("\n".join(movies), encoding="utf-8")

    data = read(tmp_path, [HEADER, "u,1,4,5"])

    expected = ["movies.csv:302: 1 field where 2 were expected", "movies.csv:303: item id is empty"]
    assert told(data) == expected
    with pytest.raises(DataError, match=r"movies\.csv: 2 of 302 rows are bad"):
        read(tmp_path, [HEADER, "u,1,4,5"], max_bad_share=0.001)


def test_an_item_without_a_title_is_called_by_its_id(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("id,title\n1,\n", encoding="utf-8")

    assert read(tmp_path, [HEADER, "u,1,4,5"]).catalogue.titles == ("1",)
