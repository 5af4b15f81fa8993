import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.datasets.reading import read_dataset
from recsys.datasets.sources import File
from recsys.datasets.tally import Tally
from recsys.errors import DataError
from recsys.feedback import ratings_csv
from recsys.feedback.ratings_csv import HEADER, Given, read_ratings, to_line


def read(content: bytes | str) -> tuple[list[tuple[int, Given]], Tally]:
    content = content if isinstance(content, bytes) else content.encode()
    tally = Tally("films.csv")
    found = list(read_ratings(File("films.csv", len(content), lambda: io.BytesIO(content)), tally))
    assert tally.rows == len(found) + tally.bad
    return found, tally


def rows_of(content: bytes | str) -> list[Given]:
    found, tally = read(content)
    assert tally.examples == []
    return [row for _, row in found]


class TestWriting:
    def test_plain_ids_stand_without_quotes(self) -> None:
        assert to_line("007", "tt0079944", 4.5, 100) == "007,tt0079944,4.5,100\n"

    def test_others_in_quotes(self) -> None:
        assert to_line('say "hi"', "a,b", 4.0, 0) == '"say ""hi""","a,b",4.0,0\n'

    @settings(max_examples=300)
    @given(user_id=st.text(min_size=1, max_size=256), item_id=st.text(min_size=1, max_size=256))
    def test_any_id_is_read_back_to_the_letter(self, user_id: str, item_id: str) -> None:
        content = HEADER + to_line(user_id, item_id, 3.3, 5) + to_line("next", "1", 1.0, 6)

        assert rows_of(content) == [(user_id, item_id, 3.3, 5), ("next", "1", 1.0, 6)]

    def test_so_are_the_longest_that_are_all_line_ends(self) -> None:
        line = to_line("\n" * 256, "\r\n" * 128, 3.0, 5)

        assert rows_of(HEADER + line + line) == [("\n" * 256, "\r\n" * 128, 3.0, 5)] * 2


class TestReading:
    @pytest.mark.parametrize(
        "content",
        [
            "userId,movieId,rating,timestamp\nann,1,4.5,100\n",
            "\ufeffuser,item,rating,timestamp\r\nann,1,4.5,100\r\n",
            "\n\nrated at;note;stars;film;member\n100;x;4,5;1;ann",
            "timestamp\titem\tuser\tscore\n100000000000\t1\tann\t4.50\n",
            "user,item,rating,date\nann,1,4.5,1970-01-01T00:01:40Z\n",
            "user,item,rating,date\nann,1,4.5,1970-01-01 01:01:40+01:00\n",
            '"user", "item", "rating", "time"\n"ann", "1", "4.5", "100"\n',
            "user,item,rating,timestamp\n ann ,1 , 4.5 , 100 \n\n  \n",
        ],
    )
    def test_takes_what_a_data_file_may_look_like(self, content: str) -> None:
        at = 100_000_000 if "100000000000" in content else 100
        assert rows_of(content) == [("ann", "1", 4.5, at)]

    @pytest.mark.parametrize("content", ["user,item,rating\nann,1,4\n", "user,item,rating,timestamp\nann,1,4,\n"])
    def test_a_time_may_be_missing(self, content: str) -> None:
        assert rows_of(content) == [("ann", "1", 4.0, None)]

    def test_latin_1_is_recognised(self) -> None:
        assert rows_of("user,item,rating\nJosé,Amélie,4\n".encode("latin-1")) == [("José", "Amélie", 4.0, None)]

    def test_a_header_alone_holds_nothing(self) -> None:
        assert rows_of(HEADER) == []

    def test_blanks_count_in_quotes_only(self) -> None:
        assert rows_of('user,item,rating\n" ann ", 1 ,4\n') == [(" ann ", "1", 4.0, None)]

    def test_lines_are_counted_through_cells_of_several(self) -> None:
        found, _ = read('user,item,rating\n"a\nb\r\nc",1,4\nann,1,4\n\nbob,1,4\n')

        assert [line for line, _ in found] == [2, 5, 7]
        assert found[0][1][0] == "a\nb\r\nc"

    def test_a_cell_may_go_on_in_the_next_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("recsys.datasets.sources.BLOCK_BYTES", 7)

        assert rows_of('user,item,rating\n"a\nb",1,4\n"é\n\n",2,5\n') == [
            ("a\nb", "1", 4.0, None),
            ("é\n\n", "2", 5.0, None),
        ]

    def test_progress_rises_to_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ratings_csv, "_ROWS_AT_ONCE", 10)
        content = (HEADER + "ann,1,4,1\n" * 95).encode()
        told: list[float] = []
        file = File("films.csv", len(content), lambda: io.BytesIO(content))
        assert len(list(read_ratings(file, Tally("films.csv"), on_progress=told.append))) == 95

        assert sorted(told) == told
        assert len(told) == 10
        assert told[-1] == 1.0


class TestBadRows:
    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("ann,1,many,5", "rating 'many' is not a finite number"),
            ("ann,1,,5", "rating is empty"),
            ("ann,1,nan,5", "rating 'nan' is not a finite number"),
            ("ann,1,-1,5", "rating '-1' is negative"),
            (",1,4,5", "user id is empty"),
            ('"",1,4,5', "user id has 0 characters, where 1 to 256 are expected"),
            (f'ann,"{"x" * 257}",4,5', "item id has 257 characters, where 1 to 256 are expected"),
            ("a\x07nn,1,4,5", "user id 'a�nn' has a line end or control character in it"),
            ("ann,1,4,yesterday", "timestamp 'yesterday' is not a time between 1970 and 2100"),
            ("ann,1,4,-5", "timestamp '-5' is not a time between 1970 and 2100"),
            ("ann,1,4,99999999999999999999", "timestamp '99999999999999999999' is not a time between 1970 and 2100"),
            ("ann,1,4", "3 fields where 4 were expected"),
            ("ann,1,4,5,6", "5 fields where 4 were expected"),
            ("ann", "1 field where 4 were expected"),
            ('ann,"1"x,4,5', "quotes that do not match, or not 4 fields"),
            ('a"nn,1,4,5', "quotes that do not match, or not 4 fields"),
            ('"ann,1,4,5', "quotes that do not match, or not 4 fields"),
            ('"ann",1,4,5,', "quotes that do not match, or not 4 fields"),
            ("\udcff,1,4,5", "is not valid UTF-8"),
        ],
    )
    def test_are_named_by_line_and_spoil_no_other(self, line: str, problem: str) -> None:
        text = f"user,item,rating,time\né,1,4,5\n{line}\né,2,4,5\né,3,4,5\n"
        found, tally = read(text.encode("utf-8", "surrogateescape"))

        assert [(3, problem)] == [(row.line, row.problem) for row in tally.examples]
        assert [line for line, _ in found] == [2, 4, 5]

    def test_many_stray_quotes_cost_their_lines_only(self) -> None:
        content = "user,item,rating\n" + "".join(f'a{n}"b,1,4\nbob{n},1,4\n' for n in range(2000))
        found, tally = read(content)

        assert (2000, [f"bob{n}" for n in range(2000)]) == (tally.bad, [row[0] for _, row in found])


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b"date,shop,amount\n2020-01-01,a,5\n", "no column for user and item"),
            (b"user,movie,stars,rating,rating\n", "more than one column"),
            (b"PK\x03\x04\x14\0\0\0\x08\0" * 50, "films.csv"),
            (b"\x00\x01" * 4000, "is not a text file"),
            ("user,item,rating\n".encode("utf-16"), "UTF-16"),
            (b"user,item,rating\rann,1,4\r", "CR alone"),
            (b"user,item,rating\n" + b"x" * 2**24, "is not a table of text"),
        ],
    )
    def test_what_is_no_table_of_ratings_is_one_clear_line(self, content: bytes, says: str) -> None:
        with pytest.raises(DataError, match=says) as caught:
            read(content)

        assert "\n" not in str(caught.value)


CELLS = st.text(st.sampled_from("a0é .-\x07"), max_size=4)
NUMBERS = st.sampled_from(["4", "4.5", " 3 ", "many", "", "-1", "1e9", "5_0", "nan"])
TIMES = st.sampled_from(["100", "", "2001-02-03", "2001-02-03T04:05:06+02:00", "never", "1e3", "10.5", "NULL", "-1"])


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.tuples(CELLS, NUMBERS, TIMES) | st.tuples(CELLS, NUMBERS), min_size=1, max_size=12))
def test_rows_without_quotes_are_read_as_training_does(
    cells: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each user has an item of their own, so that training merges none."""
    path: Path = tmp_path_factory.mktemp("same") / "ratings.csv"
    lines = [f"{row[0]},{number},{','.join(row[1:])}\n" for number, row in enumerate(cells)]
    path.write_text("user,item,rating,time\n" + "".join(lines) + "ann,last,4,1\n", encoding="utf-8")

    data = read_dataset(path, max_bad_share=1)
    found, tally = read(path.read_bytes())

    columns = (data.users, data.items, data.values, data.timestamps)
    assert {
        (data.user_ids[user], data.catalogue.item_ids[item], value, None if at == NO_TIMESTAMP else at)
        for user, item, value, at in zip(*(column.tolist() for column in columns), strict=True)
    } == {row for _, row in found}
    assert [(row.line, row.problem) for row in data.report.examples] == [
        (row.line, row.problem) for row in tally.examples
    ]
