"""Settings of the bucket, and that without one nothing changes."""

from pathlib import Path

import pytest

from recsys.errors import SettingsError
from recsys.settings import Settings, load_settings


def load(tmp_path: Path, **environ: str) -> Settings:
    (tmp_path / "config").mkdir(exist_ok=True)
    return load_settings({"RECSYS_CONFIG_DIR": str(tmp_path / "config"), **environ})


def test_both_names_of_the_bucket_are_known_and_our_own_wins(tmp_path: Path) -> None:
    assert load(tmp_path).s3.bucket is None
    assert load(tmp_path, S3_BUCKET_NAME="films").s3.bucket == "films"
    assert load(tmp_path, S3_BUCKET_NAME="films", RECSYS_S3__BUCKET="others").s3.bucket == "others"


def test_the_usual_name_of_the_region_is_known_and_our_own_wins(tmp_path: Path) -> None:
    """The library knows it by another name only."""
    assert load(tmp_path).s3.region is None
    assert load(tmp_path, AWS_REGION="eu-central-1").s3.region == "eu-central-1"
    assert load(tmp_path, AWS_REGION="eu-central-1", RECSYS_S3__REGION="us-west-2").s3.region == "us-west-2"


@pytest.mark.parametrize(
    ("role", "expected"), [("pull", (True, False, False)), ("train", (False, True, True)), ("both", (True, True, True))]
)
def test_a_role_says_who_follows_publishes_and_trains(
    tmp_path: Path, role: str, expected: tuple[bool, bool, bool]
) -> None:
    s3 = load(tmp_path, S3_BUCKET_NAME="films", RECSYS_S3__ROLE=role).s3
    alone = load(tmp_path, RECSYS_S3__ROLE=role).s3

    assert expected == (s3.follows, s3.publishes, s3.trains)
    assert (alone.follows, alone.publishes, alone.trains) == (False, False, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUCKET", "a b"),
        ("PREFIX", "a/../b"),
        ("PREFIX", "a//b"),
        ("ENDPOINT_URL", "store.example"),
        ("ENDPOINT_URL", "https://user:secret@store.example"),
        ("ROLE", "boss"),
        ("POLL_INTERVAL_S", "0"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"RECSYS_S3__{name}"):
        load(tmp_path, **{f"RECSYS_S3__{name}": value})


def test_slashes_around_a_prefix_do_no_harm(tmp_path: Path) -> None:
    assert load(tmp_path, RECSYS_S3__PREFIX="/films/recsys/").s3.prefix == "films/recsys"
