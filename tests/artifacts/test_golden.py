"""Golden queries: a model that loads must answer as it did where it was trained, up to ties and rounding."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from spoiling import Spoiled, no_pause

from recsys.artifacts.contents import Contents
from recsys.artifacts.servable import GOLDEN_TOLERANCE, LISTS_ASKED, Servable, build_servable, check_golden, make_golden
from recsys.errors import VersionInvalidError


def with_golden(servable: Servable, **changes: Any) -> Servable:
    """The same model, which claims something else of its last long query."""
    golden = servable.manifest.golden
    longest = max(range(len(golden)), key=lambda at: len(golden[at].items))
    changed = [query.model_copy(update=changes) if at == longest else query for at, query in enumerate(golden)]
    return replace(servable, manifest=servable.manifest.model_copy(update={"golden": tuple(changed)}))


def longest_query(servable: Servable) -> Any:
    return max(servable.manifest.golden, key=lambda query: len(query.items))


def test_queries_range_from_no_history_to_a_long_one(sample_contents: Contents) -> None:
    lengths = [len(query.items) for query in make_golden(sample_contents)]

    assert {0, 1} <= set(lengths)
    assert max(lengths) == min(200, int(np.diff(sample_contents.history_indptr).max()))
    assert len(set(lengths)) >= 5


def test_queries_are_the_same_every_time(sample_contents: Contents) -> None:
    assert make_golden(sample_contents) == make_golden(sample_contents)


def test_a_model_without_users_still_has_a_query(sample_contents: Contents) -> None:
    none = np.empty(0, np.int32)
    empty = replace(
        sample_contents,
        user_ids=(),
        history_indptr=np.zeros(1, np.int64),
        history_items=none,
        history_values=none.astype(np.float32),
        history_timestamps=none.astype(np.int64),
    )

    assert [query.items for query in make_golden(empty)] == [()]


def test_another_score_is_refused_by_the_querys_number(sample_servable: Servable) -> None:
    query = longest_query(sample_servable)
    scores = (query.scores[0] + 0.1, *query.scores[1:])

    with pytest.raises(VersionInvalidError, match=r"golden query \d+ is answered differently"):
        check_golden(with_golden(sample_servable, scores=scores), pause=no_pause)


def test_another_item_is_refused(sample_servable: Servable) -> None:
    query = longest_query(sample_servable)
    other = next(item for item in reversed(list(sample_servable.item_index)) if item not in query.answer + query.items)

    with pytest.raises(VersionInvalidError, match="the scores of the expected items"):
        check_golden(with_golden(sample_servable, answer=(*query.answer[:-1], other)), pause=no_pause)


def test_an_unknown_item_is_refused(sample_servable: Servable) -> None:
    query = longest_query(sample_servable)

    for change in ({"answer": (*query.answer[:-1], "no such item")}, {"items": ("no such item", *query.items[1:])}):
        with pytest.raises(VersionInvalidError, match="not in the catalogue"):
            check_golden(with_golden(sample_servable, **change), pause=no_pause)


def test_a_shorter_history_is_refused(sample_servable: Servable) -> None:
    query = longest_query(sample_servable)

    with pytest.raises(VersionInvalidError, match="answered differently"):
        check_golden(with_golden(sample_servable, items=query.items[:3], stars=query.stars[:3]), pause=no_pause)


def test_rounding_of_another_processor_is_accepted(sample_servable: Servable) -> None:
    query = longest_query(sample_servable)
    scores = tuple(score + GOLDEN_TOLERANCE * (-0.9) ** at for at, score in enumerate(query.scores))

    check_golden(with_golden(sample_servable, scores=scores), pause=no_pause)


def test_items_that_tie_may_change_places(sample_servable: Servable) -> None:
    """Two items that nobody could tell apart: the matrix gives both the same column."""
    query = longest_query(sample_servable)
    first, second = (sample_servable.item_index[item] for item in query.answer[:2])
    values = np.array(sample_servable.contents.item_item.values)
    values[:, second] = values[:, first]
    values[second, second] = values[first, second] = values[second, first] = 0
    item_item = replace(sample_servable.contents.item_item, values=values)
    tied = replace(sample_servable.contents, item_item=item_item, top_lists=None)
    manifest = sample_servable.manifest.model_copy(update={"golden": make_golden(tied)})
    servable = build_servable(manifest, tied)
    answer = longest_query(servable).answer
    assert query.answer[0] in answer
    assert query.answer[1] in answer
    swapped = tuple({query.answer[0]: query.answer[1], query.answer[1]: query.answer[0]}.get(i, i) for i in answer)

    check_golden(with_golden(servable, answer=swapped), pause=no_pause)


def test_golden_answers_are_asked_of_a_version_that_is_loaded(spoiled: Spoiled) -> None:
    golden = spoiled.manifest["golden"]
    golden[0]["scores"] = [score + 1 for score in golden[0]["scores"]]
    spoiled.describe(golden=golden)

    with pytest.raises(VersionInvalidError, match="golden query 1"):
        spoiled.load()


def test_relabelled_items_are_refused(spoiled: Spoiled) -> None:
    """Every file agrees with the manifest, and every answer names the wrong film."""
    lines = spoiled.read("items.jsonl").splitlines(keepends=True)
    spoiled.rewrite("items.jsonl", b"".join(lines[1:] + lines[:1]))

    with pytest.raises(VersionInvalidError, match="golden query"):
        spoiled.load()


@pytest.mark.parametrize("row", [0, -1])
@pytest.mark.parametrize("name", ["top_items.npy", "top_scores.npy"])
def test_lists_made_beforehand_must_be_what_the_model_answers(spoiled: Spoiled, name: str, row: int) -> None:
    """Of whichever users they are: the asked ones are spread."""
    content = spoiled.read(name)
    array = np.load(io.BytesIO(content))
    n_lists = array.shape[0]
    asked = range(0, n_lists, n_lists // LISTS_ASKED)
    array[asked[row]] = array[asked[row], ::-1]
    buffer = io.BytesIO()
    np.save(buffer, array)
    spoiled.rewrite(name, buffer.getvalue())

    with pytest.raises(VersionInvalidError, match=rf"list {asked[row]} of top_items.npy is answered differently"):
        spoiled.load()
