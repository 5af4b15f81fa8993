"""What an operator does on `/admin`, in a real browser: sign in, retrain, watch, roll back, pin; through a restart."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import Page, open_page
from buckets import CREDENTIALS
from service import ServerProcess, copy_version

from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.settings import S3Settings

pytest_plugins = ["http_server", "web_browser"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"
ENVIRON = {"RECSYS_ADMIN__TOKEN": TOKEN, "RECSYS_RETRAINING__ENABLED": "true"}
REJECTED = {
    "verdict": "rejected",
    "checks": [
        {"name": "beats_popularity", "passed": False, "value": 0.09, "threshold": 0.1, "at_most": False, "detail": ""}
    ],
}


async def sign_in(page: Page, token: str = TOKEN) -> None:
    await page.until("!document.querySelector('#sign-in').hidden")
    await page.click("#token")
    await page.write(token)
    await page.press("Enter")


async def signed_in(page: Page, server: ServerProcess) -> None:
    await page.go(server.address + "/admin")
    await sign_in(page)
    await page.until("document.querySelector('#link').innerText.includes('live')")


def served_is(version: str) -> str:
    return f"document.querySelector('#served').innerText === '{version}'"


@pytest.fixture
def store(store_with: Callable[..., ModelStore], trained_sample: Path, tmp_path: Path) -> ModelStore:
    """Three versions that can be served, one that the gate refused, and one that is damaged."""
    store = store_with("v1.0.0")
    for version, factor in (("v1.0.1", 0.96), ("v1.0.2", 1.03)):
        copy_version(
            trained_sample / "v1.0.0", store.path(Version.parse(version)), metrics=measured(trained_sample, factor)
        )
    bad = measured(trained_sample, 0.38)
    copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.3", gate=REJECTED, metrics=bad)
    copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.4")
    popularity = tmp_path / "models" / "v1.0.4" / "popularity.npy"
    popularity.write_bytes(popularity.read_bytes()[:-1] + b"\xff")
    return store


def measured(trained_sample: Path, factor: float) -> dict[str, Any]:
    """The metrics of the sample's model, as if it had been so much better."""
    metrics: dict[str, Any] = json.loads((trained_sample / "v1.0.0" / "manifest.json").read_text())["metrics"]
    own = next(name for name in metrics["models"] if name != "popularity")
    for value in metrics["models"][own].values():
        value.update({name: number * factor for name, number in value.items()})
    return metrics


def visit(server: ServerProcess) -> None:
    """Some traffic and some ratings, for the page to show."""
    for number in range(80):
        server.request(f"/api/v1/users/{number}/recommendations")
    ratings = [{"user_id": f"visitor{n % 7}", "item_id": str(n + 1), "rating": 4} for n in range(48)]
    hour = 3600
    for start, back in ((0, 0), (12, 1), (24, 4), (36, 9)):
        at = int(time.time()) - back * hour
        body = {"ratings": [{**one, "timestamp": at} for one in ratings[start : start + 12 - back]]}
        assert server.request("/api/v1/ratings", method="POST", body=body).status == 200


async def test_an_operators_story(
    browser: str, serve: Serve, store: ModelStore, trained_sample: Path, tmp_path: Path
) -> None:
    server = serve(environ=ENVIRON)
    port = str(urlsplit(server.address).port)
    server.wait_version("v1.0.2")
    async with open_page(browser) as page:
        # signs in, at the second try
        await page.go(server.address + "/admin")
        await sign_in(page, "not-the-token")
        await page.until("document.querySelector('#sign-in-problem').innerText.includes('not the right one')")
        await page.js("document.querySelector('#token').value = ''")
        await sign_in(page)
        await page.until("document.querySelector('#link').innerText.includes('live')")
        assert await page.js("document.cookie") == ""  # no script can read it
        assert await page.js("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0

        visit(server)

        # sees at a glance what is wrong, and why
        assert "v1.0.4" in await page.text("#alerts")
        assert "SHA-256" in await page.text("#alerts")
        assert "quarantined" in await page.text("#versions")
        assert "the gate refused it: beats_popularity" in await page.text("#versions")
        assert "Sun" in await page.text("#training-facts")

        # retrains, and watches it come into service without a reload
        await page.click("#retrain")
        await page.until(
            "!document.querySelector('#cancel').hidden && document.querySelector('#training').innerText.includes('%')"
        )
        await page.picture("operator-training")
        await page.until(served_is("v1.0.5"), within_s=90)
        await page.until("document.querySelector('#training').innerText.includes('accepted')")
        assert "v1.0.5" in await page.text("#runs")
        assert await page.js("document.querySelectorAll('#plot .point').length") >= 4
        assert "finite" in await page.text("#gate")

        # looks at the checks of another version
        await page.js(
            "const chosen = document.querySelector('#gate-version'); chosen.value = 'v1.0.3';"
            " chosen.dispatchEvent(new Event('change'))"
        )
        await page.until("document.querySelector('#gate').innerText.includes('failed')")

        # rolls back, after a second thought
        await page.click("#rollback")
        await page.picture("operator-confirm")
        await page.click("#confirm button[value='no']")
        assert await page.js(served_is("v1.0.5"))
        await page.click("#rollback")
        await page.click("#confirm-yes")
        await page.until(served_is("v1.0.2"))
        assert "pinned" in await page.text("#served-why")

        # pins another
        await page.click("#versions [data-pin='v1.0.0']")
        await page.click("#confirm-yes")
        await page.until(served_is("v1.0.0"))
        await page.until("document.querySelector('#actions').innerText.includes('rollback')")
        await page.picture("operator", whole=True)
        await page.picture("readme-operator", scale=0.7)

        # the service restarts in the middle: the page says so, and asks for the token again when it is back
        server.stop()
        await page.until("document.querySelector('#link').innerText.includes('lost')")
        server = serve("--port", port, environ=ENVIRON)
        await page.until("document.querySelector('#sign-in-problem').innerText.includes('has ended')")
        await sign_in(page)
        await page.until(served_is("v1.0.0"))

        # lifts the pin; then somebody else puts a version there
        await page.click("#unpin")
        await page.click("#confirm-yes")
        await page.until(served_is("v1.0.5"))
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.6")
        await page.until(served_is("v1.0.6"))

        # cancels a run, and leaves
        await page.click("#retrain")
        await page.click("#cancel")
        await page.until("document.querySelector('#training').innerText.includes('cancelled')")
        await page.click("#sign-out")
        await page.until("!document.querySelector('#sign-in').hidden")
        await page.go(server.address + "/admin")
        await page.until("!document.querySelector('#sign-in').hidden")
        unexpected = [one for one in page.problems if not any(word in one for word in ("401", "403", "ERR_"))]
        assert unexpected == []


async def test_what_happened_while_the_line_was_cut_is_there_when_it_is_back(
    browser: str, serve: Serve, store: ModelStore, trained_sample: Path, tmp_path: Path
) -> None:
    server = serve(environ=ENVIRON)
    server.wait_version("v1.0.2")
    async with open_page(browser) as page:
        await signed_in(page, server)
        cut = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await page.tell("Network.emulateNetworkConditions", offline=True, **cut)
        await page.until("document.querySelector('#link').innerText.includes('lost')")
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.7")
        server.wait_version("v1.0.7")
        await page.tell("Network.emulateNetworkConditions", offline=False, **cut)

        await page.until(served_is("v1.0.7"))
        await page.until("document.querySelector('#link').innerText.includes('live')")


async def test_keys_are_enough(browser: str, serve: Serve, store: ModelStore) -> None:
    server = serve(environ=ENVIRON)
    server.wait_version("v1.0.2")
    async with open_page(browser) as page:
        await page.go(server.address + "/admin")
        await page.until("document.activeElement.id === 'token'")
        await page.write(TOKEN)
        await page.press("Enter")
        await page.until("document.querySelector('#link').innerText.includes('live')")
        for _ in range(60):
            if await page.js("document.activeElement.id === 'rollback'"):
                break
            await page.press("Tab")
        await page.press("Enter")
        await page.until("document.querySelector('#confirm').open && document.activeElement.value === 'no'")
        await page.press("Escape")
        await page.until("document.activeElement.id === 'rollback'")
        await page.press("Enter")
        await page.until("document.querySelector('#confirm').open")
        await page.js("document.querySelector('#confirm-yes').focus()")
        await page.press("Enter")
        await page.until(served_is("v1.0.1"))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_asked_again_at_once_acts_once_and_as_answered_last(
    browser: str, serve: Serve, store: ModelStore, moment: str
) -> None:
    """A dialog tells that it was closed a moment later: the next one can be open, or be answered, by then."""
    server = serve(environ=ENVIRON)
    server.wait_version("v1.0.2")
    async with open_page(browser) as page:
        await signed_in(page, server)
        wait = "await new Promise((done) => setTimeout(done, 50));" if moment == "before" else ""
        await page.js(
            f"""(async () => {{
                const ask = document.querySelector('#rollback'), asked = document.querySelector('#confirm');
                ask.click(); asked.close('no');
                ask.click(); {wait} document.querySelector('#confirm-yes').click();
            }})()"""
        )
        await page.until(served_is("v1.0.1"))
        await page.until("!document.querySelector('#rollback').disabled")
        actions = await page.js("fetch('/admin/overview').then((answer) => answer.json()).then((seen) => seen.actions)")
        assert [one["details"]["version"] for one in actions if one["action"] == "rollback"] == ["v1.0.1"]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, True)])
async def test_has_no_barrier_that_axe_knows(
    browser: str, axe: str, serve: Serve, store: ModelStore, width: int, dark: bool, full: bool
) -> None:
    """Two of the three have each width and each palette."""
    if not full and dark != (width < 500):
        pytest.skip("the third: --full")
    server = serve(environ=ENVIRON)
    server.wait_version("v1.0.2")
    async with open_page(browser, width=width, height=844, dark=dark, touch=width < 500) as page:
        await page.go(server.address + "/admin")
        await page.until("!document.querySelector('#sign-in').hidden")
        await page.picture(f"operator-sign-in-{'dark' if dark else 'light'}")
        assert await page.violations(axe) == []
        await sign_in(page)
        await page.until("document.querySelector('#link').innerText.includes('live')")
        assert await page.violations(axe) == []
        assert width == await page.width_needed()
        await page.picture(f"operator-{width}-{'dark' if dark else 'light'}", whole=True)
        await page.click("#rollback")
        assert await page.violations(axe) == []


async def test_shows_how_the_service_stands_with_its_bucket(
    browser: str, serve: Serve, store: ModelStore, moto: str, make_s3: Callable[..., S3Settings]
) -> None:
    bucket = {"S3_BUCKET_NAME": make_s3(moto).bucket or "", "RECSYS_S3__ENDPOINT_URL": moto}
    server = serve(environ={**ENVIRON, **CREDENTIALS, **bucket, "RECSYS_S3__POLL_INTERVAL_S": "3600"})
    async with open_page(browser) as page:
        await signed_in(page, server)
        await page.until("document.querySelector('#sync').innerText.includes('reachable')")
        shown = await page.text("#sync")
        await page.picture("operator-sync", whole=True)
        before = server.request("/health").json["sync"]["checked_at"]

        await page.click("#sync-now")
        server.wait_for(lambda: server.request("/health").json["sync"]["checked_at"] != before, "another look", 10)

        assert f"s3://{bucket['S3_BUCKET_NAME']}" in shown
        assert "follows, trains and publishes" in shown
        assert "nothing published yet" in shown
