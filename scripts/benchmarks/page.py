"""From a star given on the viewer's page to the new list, in a real browser: the one that the tests drive."""

import asyncio
from pathlib import Path

from browser import Page, find_chromium, open_page, running_chromium

from benchmarks.world import Row, World, median

_MAX_MS = 150
_STARS = 10
_CARDS = "#for-you-list .card:not(.ghost)"


def run(world: World) -> list[Row]:
    executable = find_chromium()
    if executable is None:
        world.say("page: left out; it needs chromium: on Debian, apt-get install chromium")
        return []
    server = world.serve()
    profile = world.directory / "chromium"
    took_ms = asyncio.run(_rate(world, executable, profile, f"http://127.0.0.1:{server.port}/"))
    server.stop()
    middle = {name: round(median(times), 1) for name, times in took_ms.items()}
    return [
        Row("page", "a star to the new list", {"median_ms": middle.pop("all"), **middle, "n": len(took_ms["all"])},
            f"<= {_MAX_MS} ms", median(took_ms["all"]) <= _MAX_MS)
    ]  # fmt: skip


async def _rate(world: World, executable: str, profile: Path, address: str) -> dict[str, list[float]]:
    """Rate the first films of the list, as several new viewers one after the other; milliseconds, whole and by part."""
    took_ms: dict[str, list[float]] = {"all": [], "keep_ms": [], "ask_ms": [], "draw_ms": []}
    with running_chromium(executable, profile) as protocol:
        for viewer in range(2 if world.quick else 6):
            world.say(f"page: viewer {viewer + 1}")
            async with open_page(protocol) as page:
                await page.go(address)
                await page.until(f"document.querySelectorAll('{_CARDS}').length > {_STARS}")
                for place in range(1, _STARS + 1):
                    at = await _star(page, f"{_CARDS}:nth-child({place}) .stars input:nth-child(5)")
                    took_ms["all"].append(at["recommended"] - at["given"])
                    took_ms["keep_ms"].append(at["kept"] - at["given"])
                    took_ms["ask_ms"].append(at["answered"] - at["kept"])
                    took_ms["draw_ms"].append(at["recommended"] - at["answered"])
    return took_ms


async def _star(page: Page, selector: str) -> dict[str, float]:
    """Give a star; returns when it was given, kept, answered and on the page, in milliseconds of the page's clock."""
    mark_given = "() => performance.mark('given'), {once: true, capture: true}"
    await page.js(f"performance.clearMarks(); addEventListener('pointerup', {mark_given})")
    await page.click(selector)
    await page.until("performance.getEntriesByName('recommended').length")
    return dict(await page.js("performance.getEntriesByType('mark').map((one) => [one.name, one.startTime])"))
