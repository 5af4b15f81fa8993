from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.artifacts.version import FIRST_VERSION, Version
from recsys.errors import InvalidInputError

numbers = st.integers(0, 999_999_999)
versions = st.builds(Version, numbers, numbers, numbers)


@given(versions)
def test_a_version_is_the_one_its_name_names(version: Version) -> None:
    assert version == Version.parse(str(version))


@given(st.text(alphabet="v0123456789. -+\n१٣abc", max_size=14))
def test_a_name_stands_for_a_version_only_if_the_version_is_written_just_so(text: str) -> None:
    """Else two directories would be one version, and its path would lead to neither."""
    found = Version.find(text)

    assert found is None or text == str(found)


@pytest.mark.parametrize(
    "text",
    [
        "", "v", "v1", "v1.0", "1.0.0", "V1.0.0", "v1.0.0.0", "v01.0.0", "v1.00.0", "v-1.0.0", "v1.0.0-rc1", "v1.0.0+x",
        " v1.0.0", "v1.0.0 ", "v1.0.0\n", "v1..0", "v1.0.x", "v1.0.1234567890", "v1.0.0/", "../v1.0.0", "v1٣.0.0",
        "v१.0.0",
    ],
)  # fmt: skip
def test_what_is_no_version_is_refused_with_an_example(text: str) -> None:
    assert Version.find(text) is None
    with pytest.raises(InvalidInputError, match=r"not a version.*v1\.0\.3"):
        Version.parse(text)


def test_versions_order_by_number_not_by_letter() -> None:
    names = ["v0.0.1", "v0.9.0", "v1.0.0", "v1.0.2", "v1.0.10", "v1.2.0", "v1.10.0", "v2.0.0", "v10.0.0"]

    assert names == [str(version) for version in sorted(map(Version.parse, reversed(names)))]


@given(st.lists(versions, min_size=2, max_size=8))
def test_order_is_total_and_agrees_with_the_numbers(some: list[Version]) -> None:
    for low, high in pairwise(sorted(some)):
        assert low <= high
        assert (low.major, low.minor, low.patch) <= (high.major, high.minor, high.patch)
        assert (low == high) == (str(low) == str(high))


@given(versions)
def test_the_next_patch_is_higher_and_nothing_else_changes(version: Version) -> None:
    assert version < version.next_patch
    assert (version.major, version.minor) == (version.next_patch.major, version.next_patch.minor)


def test_the_first_version_is_as_the_contract_says() -> None:
    assert str(FIRST_VERSION) == "v1.0.0"
