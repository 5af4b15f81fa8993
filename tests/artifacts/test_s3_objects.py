"""The bucket's edge over real sockets, on two servers of the protocol."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fault_proxy import FaultProxy

from recsys.artifacts.bucket import Found, Patience, keeps_conditions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.s3_objects import S3Objects
from recsys.errors import BucketError, LostRaceError, NoCredentialsError, ObjectMissingError
from recsys.settings import S3Settings

MakeS3 = Callable[..., S3Settings]


@pytest.fixture
async def objects(bucket_server: str, make_s3: MakeS3) -> AsyncIterator[S3Objects]:
    async with open_bucket(make_s3(bucket_server)) as opened:
        yield opened


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_what_is_written_is_read_and_not_sent_again_while_it_is_the_same(objects: S3Objects) -> None:
    etag = await objects.write("a.json", b"one")

    assert Found(b"one", etag) == await objects.read("a.json", limit=10)
    assert await objects.read("a.json", limit=10, unless=etag) is None


async def test_an_object_larger_than_is_wanted_is_refused(objects: S3Objects) -> None:
    await objects.write("a.json", b"0123456789")

    with pytest.raises(BucketError, match="more than 9 bytes"):
        await objects.read("a.json", limit=9)


async def test_a_missing_object_is_said_to_be_missing(objects: S3Objects) -> None:
    with pytest.raises(ObjectMissingError):
        await objects.read("nowhere", limit=10)


async def test_one_of_many_who_claim_a_key_at_once_wins(objects: S3Objects) -> None:
    outcomes = await asyncio.gather(
        *(objects.write("claim", bytes([n]), only_new=True) for n in range(32)), return_exceptions=True
    )
    winners = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, str)]

    assert len(winners) == 1
    assert all(isinstance(outcome, str | LostRaceError) for outcome in outcomes)
    found = await objects.read("claim", limit=10)
    assert found is not None
    assert bytes(winners) == found.content


async def test_a_write_that_was_overtaken_is_refused(objects: S3Objects) -> None:
    first = await objects.write("a.json", b"one")
    await objects.write("a.json", b"two", only_if=first)

    with pytest.raises(LostRaceError):
        await objects.write("a.json", b"three", only_if=first)


async def test_a_write_over_what_is_gone_is_refused(objects: S3Objects) -> None:
    etag = await objects.write("a.json", b"one")
    await objects.remove(["a.json", "never-there"])

    with pytest.raises(LostRaceError):
        await objects.write("a.json", b"two", only_if=etag)


async def test_conditions_are_found_to_be_kept(objects: S3Objects) -> None:
    assert await keeps_conditions(objects)


async def test_without_conditions_what_stands_is_looked_at_first(objects: S3Objects) -> None:
    objects.conditional = False
    etag = await objects.write("a.json", b"one", only_new=True)

    with pytest.raises(LostRaceError):
        await objects.write("a.json", b"two", only_new=True)
    with pytest.raises(LostRaceError):
        await objects.write("a.json", b"two", only_if='"another"')
    assert await objects.write("a.json", b"two", only_if=etag) != etag


@pytest.mark.parametrize("n_bytes", [0, 1, 100_000, 20_000_000])
async def test_a_file_comes_back_as_it_was_sent_from_any_place_on(
    objects: S3Objects, tmp_path: Path, n_bytes: int
) -> None:
    """The largest goes in parts."""
    content = os.urandom(n_bytes)
    (tmp_path / "file").write_bytes(content)
    sent: list[int] = []
    await objects.send("file.npy", tmp_path / "file", _sha256(content), told=sent.append)
    for start in {0, n_bytes // 3}:
        got = bytearray()

        async def take(piece: bytes, got: bytearray = got) -> None:
            got.extend(piece)

        if n_bytes:
            await objects.fetch("file.npy", start, n_bytes, take)
        assert content[start:] == got
    assert n_bytes == sum(sent)


async def test_no_more_is_fetched_than_shows_that_it_is_too_much(objects: S3Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5_000_000))
    await objects.send("file.npy", tmp_path / "file", _sha256(bytes(5_000_000)), told=lambda n: None)
    got: list[int] = []

    async def take(piece: bytes) -> None:
        got.append(len(piece))

    await objects.fetch("file.npy", 0, 1000, take)

    assert sum(got) == 1001


async def test_a_store_that_takes_its_time_to_put_parts_together_is_waited_for(
    moto: str, make_s3: MakeS3, tmp_path: Path
) -> None:
    """It answers that call alone after more than the time limit of all others."""
    (tmp_path / "file").write_bytes(bytes(10_000_000))
    async with FaultProxy(moto, delay_s=(3.5, 3.5)) as proxy:
        proxy.at = lambda n: "delay" if proxy.asked[n].startswith(b"POST") and b"uploadId=" in proxy.asked[n] else ""
        settings = make_s3(moto, through=proxy.address, timeout_s=3)
        async with open_bucket(settings, patience=Patience(tries=1)) as objects:
            await objects.send("file.npy", tmp_path / "file", _sha256(bytes(10_000_000)), told=lambda n: None)

    assert proxy.done == ["delay"]
    assert proxy.asked[-1].startswith(b"POST")


@pytest.mark.parametrize("n_bytes", [1000, 10_000_000])
async def test_a_file_is_never_written_over_another(objects: S3Objects, tmp_path: Path, n_bytes: int) -> None:
    for name, content in (("one", bytes(n_bytes)), ("two", b"\1" * n_bytes)):
        (tmp_path / name).write_bytes(content)
    await objects.send("file.npy", tmp_path / "one", _sha256(bytes(n_bytes)), told=lambda n: None)
    await objects.send("file.npy", tmp_path / "one", _sha256(bytes(n_bytes)), told=lambda n: None)

    with pytest.raises(LostRaceError):
        await objects.send("file.npy", tmp_path / "two", _sha256(b"\1" * n_bytes), told=lambda n: None)


async def test_names_are_whole_or_folders(objects: S3Objects) -> None:
    for key in ("models/v1.0.0/a", "models/v1.0.0/b", "models/v1.0.1/a", "current.json"):
        await objects.write(key, b"")

    assert await objects.names("models/", folders=True) == ["v1.0.0", "v1.0.1"]
    assert await objects.names("models/v1.0.0/") == ["models/v1.0.0/a", "models/v1.0.0/b"]


async def test_a_bucket_that_is_not_there_is_named(moto: str, make_s3: MakeS3) -> None:
    settings = make_s3(moto).model_copy(update={"bucket": "nobodys"})
    async with open_bucket(settings) as objects:
        with pytest.raises(BucketError, match="NoSuchBucket"):
            await objects.read("a", limit=1)


async def test_a_server_that_is_not_there_is_a_passing_failure(make_s3: MakeS3, moto: str) -> None:
    settings = make_s3(moto, through="http://127.0.0.1:9")
    async with open_bucket(settings, patience=Patience(tries=2, first_s=0.001)) as objects:
        with pytest.raises(BucketError, match="cannot be reached") as caught:
            await objects.read("a", limit=1)
    assert caught.value.passing


async def test_a_server_that_says_nothing_is_given_up(make_s3: MakeS3, moto: str) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with open_bucket(make_s3(moto, through=address, timeout_s=0.2), patience=Patience(tries=1)) as objects:
        with pytest.raises(BucketError, match=r"no answer within 0\.2 s"):
            await objects.read("a", limit=1)
    server.close()


async def test_no_credentials_are_said_to_be_missing_and_where_they_come_from(
    make_s3: MakeS3, moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = make_s3(moto)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with open_bucket(settings) as objects:
        with pytest.raises(NoCredentialsError, match="AWS_ACCESS_KEY_ID"):
            await objects.read("a", limit=1)


def test_without_the_library_asking_for_a_bucket_says_what_to_install() -> None:
    code = """
import asyncio, sys
sys.modules["aiobotocore"] = None
from recsys.artifacts.s3 import open_bucket
from recsys.errors import SettingsError
from recsys.settings import S3Settings
async def main():
    async with open_bucket(S3Settings(bucket="films")):
        pass
try:
    asyncio.run(main())
except SettingsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "pip install 'recsys[s3]'" in done.stdout
