"""A real browser for tests: Debian's chromium, driven over the DevTools protocol with what the project has anyway."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

#: Where pictures go, if anywhere: the output of a CI run.
SCREENSHOTS = "RECSYS_TEST_SCREENSHOTS"
_KEYS = {
    "Tab": (9, None), "Enter": (13, "\r"), "Escape": (27, None), "Backspace": (8, None), "Delete": (46, None),
    "ArrowRight": (39, None), "ArrowLeft": (37, None), "ArrowDown": (40, None), "Space": (32, " "),
}  # fmt: skip
_WAIT_S = 15.0


def find_chromium() -> str | None:
    return next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)


@contextlib.contextmanager
def running_chromium(executable: str, profile: Path) -> Iterator[str]:
    """Start a browser that can reach nothing but this machine; give the address of its protocol."""
    process = subprocess.Popen(
        [
            executable, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio",
            "--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
            "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        told = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (told.exists() and len(told.read_text().splitlines()) == 2):
            assert process.poll() is None, "chromium ended at once"
            assert time.monotonic() < deadline, "chromium does not listen"
            time.sleep(0.05)
        port, path = told.read_text().splitlines()
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        process.kill()
        process.wait(20)


@contextlib.asynccontextmanager
async def open_page(
    protocol: str, *, width: int = 1280, height: int = 900, dark: bool = False, touch: bool = False
) -> AsyncIterator["Page"]:
    """Open a page in a profile of its own, and close it."""
    async with aiohttp.ClientSession() as client, client.ws_connect(protocol, max_msg_size=0) as socket:
        page = Page(socket)
        reader = asyncio.create_task(page.read())
        try:
            context = (await page.tell("Target.createBrowserContext"))["browserContextId"]
            target = await page.tell("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await page.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
                await page.tell(f"{domain}.enable")
            await page.tell(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
            )
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            await page.tell("Emulation.setEmulatedMedia", features=scheme)
            yield page
            page.session = None
            await page.tell("Target.disposeBrowserContext", browserContextId=context)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader


class Page:
    """One tab: what it asked for, what went wrong in it, and what a person would do with it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.session: str | None = None
        self.requests: list[str] = []
        self.bytes = 0
        self.problems: list[str] = []
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                future = self._waiting.pop(told["id"], None)
                if future is not None and not future.done():
                    future.set_result(told)
                continue
            self._hear(told["method"], told.get("params", {}))

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Network.loadingFinished":
            self.bytes += int(told["encodedDataLength"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(str(details.get("exception", {}).get("description", details["text"])))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self._dialog = asyncio.ensure_future(self.tell("Page.handleJavaScriptDialog", accept=True))
            self.problems += ["a script ran: alert"] if told["type"] == "alert" else []

    async def tell(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        future = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        answer = await asyncio.wait_for(future, 90)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    async def go(self, address: str) -> None:
        await self.tell("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def js(self, expression: str) -> Any:
        """What an expression (or a promise of it) comes to."""
        answer = await self.tell("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = _WAIT_S) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(AssertionError):  # also while a page is on its way
                if await self.js(f"Boolean({expression})"):
                    return
            if time.monotonic() > deadline:
                await self.picture("failed")
                text = await self.js("document.body.innerText")
                raise AssertionError(f"never true: {expression}\nproblems: {self.problems}\n{text[:1500]}")
            await asyncio.sleep(0.02)

    async def width_needed(self) -> int:
        """How wide the page would have to be to show everything without being pushed sideways."""
        sizes = "const e = document.documentElement, bar = innerWidth - e.clientWidth"
        return int(await self.js(f"(() => {{ {sizes}; return Math.max(innerWidth, e.scrollWidth + bar); }})()"))

    async def text(self, selector: str) -> str:
        return str(await self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def click(self, selector: str) -> None:
        """Click in the middle of the first element that `selector` finds, as a mouse does."""
        chosen = json.dumps(selector)
        await self.until(f"document.querySelector({chosen})?.checkVisibility()")
        x, y = await self.js(
            f"(() => {{ const e = document.querySelector({chosen}); e.scrollIntoView({{block: 'center', behavior: "
            "'instant'}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        await self.tell("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        await self.tell("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self.tell("Input.dispatchMouseEvent", type="mouseReleased", **at)

    async def press(self, *keys: str) -> None:
        for key in keys:
            code, text = _KEYS[key]
            named = {"key": text if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
            down = {"type": "keyDown", **({"text": text} if text else {})}
            await self.tell("Input.dispatchKeyEvent", **down, **named)
            await self.tell("Input.dispatchKeyEvent", type="keyUp", **named)

    async def write(self, text: str) -> None:
        await self.tell("Input.insertText", text=text)

    async def choose_file(self, selector: str, path: Path) -> None:
        root = (await self.tell("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.tell("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.tell("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    async def picture(self, name: str, *, whole: bool = False, scale: float = 1.0) -> None:
        """Keep a picture for whoever looks at the run, if anybody wants one. One for the README is made smaller."""
        directory = os.environ.get(SCREENSHOTS)
        if directory is None:
            return
        if whole:  # else what sticks to the top would be in the middle
            await self.js("scrollTo(0, 0)")
        more: dict[str, Any] = {"captureBeyondViewport": whole}
        if scale != 1.0:
            width, height = await self.js("[innerWidth, innerHeight]")
            more = {"clip": {"x": 0, "y": await self.js("scrollY"), "width": width, "height": height, "scale": scale}}
        taken = await self.tell("Page.captureScreenshot", format="png", **more)
        await asyncio.to_thread(_write, Path(directory) / f"{name}.png", base64.b64decode(taken["data"]))

    async def violations(self, axe: str) -> list[str]:
        """What axe finds against WCAG A and AA. It runs from the protocol: the page's policy lets no script in."""
        await self.js(f"{axe}; true")
        tags = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
        found = await self.js(f"axe.run({{runOnly: {tags}}}).then(r => r.violations)")
        return [
            f"{one['id']}: {one['help']}: {node['target']} {node.get('failureSummary', '')}"
            for one in found
            for node in one["nodes"][:3]
        ]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
