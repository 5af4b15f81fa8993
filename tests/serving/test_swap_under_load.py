"""Swaps under constant load on a real server: no request fails, and every answer is of one piece."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from arrivals import prepare, retitle

_CONNECTIONS = 6
_PAUSE_S = 0.002
_ITEMS = ["1", "2", "3"]


@dataclass
class Load:
    """Keep-alive connections that ask in turn, and hold every answer against the version in its header."""

    address: str
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    stop: bool = False

    async def run(self, number: int) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(self.address, connector=connector) as session:
            step = number
            while not self.stop:
                step += 1
                try:
                    await self._ask(session, step)
                except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_S)

    async def _ask(self, session: aiohttp.ClientSession, step: int) -> None:
        method, path, body = self._question(step)
        async with session.request(method, path, json=body, timeout=aiohttp.ClientTimeout(10)) as answer:
            content = await answer.json()
            self.requests += 1
            assert answer.status == 200, f"{answer.status} {content}"
            version = answer.headers["X-Model-Version"]
            self.versions[version] += 1
            assert content.get("model_version", version) == version, f"{version} answered {content}"
            items = content.get("items") or [item for result in content["results"] for item in result["items"]]
            assert items
            strange = [item["title"] for item in items if not item["title"].startswith(f"{version} ")]
            assert not strange, f"{version} answered with {strange}"

    def _question(self, step: int) -> tuple[str, str, Any]:
        """Answers kept and not kept, computed on the loop and off it."""
        match step % 6:
            case 0:
                return "GET", f"/api/v1/users/{step % 7 + 1}/recommendations", None
            case 1:
                return "GET", f"/api/v1/users/{step % 500 + 1}/recommendations?n=50&year_from={1950 + step % 20}", None
            case 2:
                return "POST", "/api/v1/recommendations", {"ratings": [{"item_id": "1", "rating": 5}]}
            case 3:
                users = [str(user) for user in range(1, 61)]
                return "POST", "/api/v1/recommendations/batch", {"user_ids": users, "n": 5}
            case 4:
                return "GET", "/api/v1/items/popular?n=20", None
            case _:
                return "GET", "/api/v1/items?query=the&limit=30", None


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(600)
async def test_no_request_fails_and_no_answer_mixes_versions_over_many_swaps(
    serve: Callable[..., Any], trained_sample: Path, tmp_path: Path, full: bool
) -> None:
    n_swaps = 200 if full else 25
    models, aside = tmp_path / "models", tmp_path / "aside"
    models.mkdir()
    aside.mkdir()

    def make(version: str) -> Path:
        prepared = prepare(trained_sample / "v1.0.0", aside / version)
        retitle(prepared, version)
        return prepared

    make("v1.0.0").rename(models / "v1.0.0")
    server = await asyncio.to_thread(serve)
    load = Load(server.address)
    connections = [asyncio.create_task(load.run(number)) for number in range(_CONNECTIONS)]
    took_s: dict[str, float] = {}
    async with aiohttp.ClientSession(server.address) as session:

        async def serving() -> str:
            async with session.get("/health") as answer:
                version: str = (await answer.json())["model_version"]
                return version

        for number in range(1, n_swaps + 1):
            version = f"v1.0.{number}"
            prepared = await asyncio.to_thread(make, version)
            complete = time.monotonic()
            prepared.rename(models / version)
            while await serving() != version:
                assert time.monotonic() < complete + 10, f"{version} is not served; it has {await serving()}"
                await asyncio.sleep(0.01)
            took_s[version] = time.monotonic() - complete
            while load.versions[version] == 0 and not load.failures:
                assert time.monotonic() < complete + 20, f"no answer is of {version}"
                await asyncio.sleep(0.01)
            if number > 3:
                shutil.rmtree(models / f"v1.0.{number - 3}")
    load.stop = True
    await asyncio.gather(*connections)

    assert load.failures == []
    assert set(load.versions) == {f"v1.0.{number}" for number in range(n_swaps + 1)}
    assert load.requests > 20 * n_swaps
    assert {version: took for version, took in took_s.items() if took >= 1.0} == {}
    assert await asyncio.to_thread(server.stop) == 0
