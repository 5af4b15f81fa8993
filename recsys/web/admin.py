"""The routes for operators: retrain, look at runs and versions, pin, roll back, and follow what happens.

Every action leaves an audit line. They only ask: runs are `jobs.retrain`'s, what is served is the watcher's.
"""

import asyncio
import contextlib
from collections import deque
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web

from recsys.artifacts.manifest import format_time
from recsys.artifacts.store import Entry, ModelStore
from recsys.artifacts.version import Version
from recsys.errors import InvalidInputError, NoBucketError, PullOnlyError, UnknownVersionError
from recsys.jobs.events import Event, EventHub
from recsys.jobs.retrain import Retrainer
from recsys.jobs.sync import Sync
from recsys.serving.control import Control
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher
from recsys.web.answers import json_response
from recsys.web.headers import COMMON_HEADERS
from recsys.web.inputs import parse_body
from recsys.web.schemas import PinRequest
from recsys.web.sessions import Sessions

_HEARTBEAT_S = 15.0
_FOLLOW_S = 10.0
_MAX_ID_DIGITS = 20
_KEPT_ACTIONS = 200
_audit = structlog.get_logger("recsys.audit")


class AdminRoutes:
    """Handlers behind the token."""

    def __init__(
        self,
        store: ModelStore,
        slot: Slot,
        watcher: Watcher,
        retrainer: Retrainer,
        control: Control,
        events: EventHub,
        sessions: Sessions,
        sync: Sync | None,
        *,
        trains: bool,
    ) -> None:
        self._store = store
        self._slot = slot
        self._watcher = watcher
        self._retrainer = retrainer
        self._control = control
        self._events = events
        self._sessions = sessions
        self._sync = sync
        self._trains = trains
        #: What operators did since the start, the latest first.
        self.actions: deque[dict[str, Any]] = deque(maxlen=_KEPT_ACTIONS)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Begin a session for a browser: its cookie does from now on what the token does."""
        response = json_response({"signed_in": True})
        self._sessions.begin(request, response)
        self._log_action(request, "sign in")
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """End this browser's session."""
        response = json_response({"signed_in": False})
        self._sessions.end(request, response)
        self._log_action(request, "sign out")
        return response

    async def retrain(self, request: web.Request) -> web.Response:
        """Train a new version now. 202 with a new job, 200 with the one that is running already."""
        if not self._trains:
            raise PullOnlyError("this service only follows the bucket", hint="RECSYS_S3__ROLE is pull; ask a trainer")
        job, is_new = self._retrainer.ask("an operator asked")
        self._log_action(request, "retrain", job_id=job.id, new=is_new)
        response = json_response({"job_id": job.id, "status": job.status}, status=202 if is_new else 200)
        response.headers[hdrs.LOCATION] = f"/admin/jobs/{job.id}"
        return response

    async def jobs(self, request: web.Request) -> web.Response:
        """List the runs, the newest first."""
        jobs = [job.as_dict() for job in reversed(self._retrainer.jobs)]
        return json_response({"items": jobs, "total": len(jobs)})

    async def job(self, request: web.Request) -> web.Response:
        """Say how far a run is, or how it ended."""
        return json_response(self._retrainer.find(request.match_info["job_id"]).as_dict())

    async def cancel_job(self, request: web.Request) -> web.Response:
        """End a running job."""
        job_id = request.match_info["job_id"]
        job = await self._retrainer.cancel(job_id, "an operator cancelled it")
        self._log_action(request, "cancel", job_id=job_id)
        return json_response(job.as_dict())

    async def models(self, request: web.Request) -> web.Response:
        """List the versions: what is served, pinned, rejected, quarantined, and why."""
        return json_response(await self.describe_models())

    async def describe_models(self) -> dict[str, Any]:
        seen = self._watcher.state
        listing = await asyncio.to_thread(self._store.scan)
        model = self._slot.current
        return {
            "items": [self._describe(entry) for entry in reversed(listing.entries)],
            "total": len(listing.entries),
            "served": model.version if model else None,
            "because": seen.decision.because,
            "pinned": str(seen.pin) if seen.pin else None,
            "pinned_by": None if seen.pin is None else "setting" if seen.pin_is_setting else "operator",
            "degraded": seen.degraded,
            "strangers": list(listing.strangers),
        }

    def _describe(self, entry: Entry) -> dict[str, Any]:
        model, mark = self._slot.current, self._watcher.state.failed.get(str(entry.version))
        name = str(entry.version)
        served = model is not None and model.version == name
        manifest = entry.manifest
        reason: str | None
        if mark is not None and mark.fingerprint == entry.fingerprint:
            status, reason = "quarantined", mark.reason
        elif manifest is None:
            status, reason = "invalid", entry.problem or ""
        elif manifest.accepted:
            status, reason = "accepted", None
        else:
            failed = ", ".join(check.name for check in manifest.gate.checks if not check.passed)
            status, reason = "rejected", f"the gate refused it: {failed}"
        described: dict[str, Any] = {"version": name, "status": status, "reason": reason, "served": served}
        return described | (manifest.headline() if manifest is not None else {})

    async def model(self, request: web.Request) -> web.Response:
        """Give a version's manifest and state."""
        entry = await asyncio.to_thread(self._store.get, _version(request.match_info["version"]))
        content = self._describe(entry)
        if entry.manifest is not None:
            content["manifest"] = entry.manifest.model_dump(mode="json", exclude={"golden"})
        return json_response(content)

    async def pin(self, request: web.Request) -> web.Response:
        """Serve exactly this version until the pin is lifted."""
        version = _version((await parse_body(PinRequest, request)).version)
        await asyncio.to_thread(self._control.pin, version)
        self._log_action(request, "pin", version=str(version))
        return await self._followed(version)

    async def unpin(self, request: web.Request) -> web.Response:
        """Lift the pin; nothing happens if there is none."""
        was_pinned = await asyncio.to_thread(self._control.unpin)
        self._log_action(request, "unpin", was_pinned=was_pinned)
        return await self._followed(None)

    async def rollback(self, request: web.Request) -> web.Response:
        """Pin the highest accepted version below the one that is served."""
        model = self._slot.current
        serving = Version.find(model.version) if model else None
        target = await asyncio.to_thread(self._control.rollback, serving)
        self._log_action(request, "rollback", version=str(target), before=str(serving))
        return await self._followed(target)

    async def sync(self, request: web.Request) -> web.Response:
        """Look at the bucket now, also again at what was refused, and say how this service stands with it."""
        if self._sync is None:
            raise NoBucketError("this service has no bucket", hint="RECSYS_S3__BUCKET names one")
        self._log_action(request, "sync")
        round_now = asyncio.ensure_future(self._sync.round(again=True))
        with contextlib.suppress(TimeoutError):
            # it goes on behind the answer, which then says what is being done
            async with asyncio.timeout(_FOLLOW_S):
                await asyncio.shield(round_now)
                await asyncio.shield(asyncio.ensure_future(self._watcher.rescan()))
        return json_response(self._sync.state.as_dict())

    async def _followed(self, version: Version | None) -> web.Response:
        """Answer once the watcher has acted on what was asked, so that the answer is already true."""
        async with asyncio.timeout(_FOLLOW_S):
            await asyncio.shield(asyncio.ensure_future(self._watcher.rescan()))
        self._events.publish("pin", {"pinned": str(version) if version else None})
        return json_response(await self.describe_models())

    def _log_action(self, request: web.Request, action: str, **details: Any) -> None:
        _audit.info("admin action", action=action, request_id=request["request_id"], remote=request.remote, **details)
        at = format_time(datetime.now(UTC))
        self.actions.appendleft({"at": at, "action": action, "remote": request.remote, "details": details})
        self._events.publish("action", {"action": action})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow job progress, swaps and quarantines as server-sent events; Last-Event-ID goes on after a break."""
        last = request.headers.get("Last-Event-ID", "")
        if last and not (last.isdecimal() and len(last) <= _MAX_ID_DIGITS):
            raise InvalidInputError("Last-Event-ID is not a number")
        stream = self._events.listen(int(last) if last else None, _HEARTBEAT_S)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        # a listener that goes away is how a stream ends, no failure
        async with contextlib.aclosing(stream):
            with contextlib.suppress(ConnectionResetError):
                async for event in stream:
                    if not response.prepared:
                        request.app[COMMON_HEADERS].add(request, response)
                        await response.prepare(request)
                    await response.write(b": still here\n\n" if event is None else _encode(event))
        return response


def _encode(event: Event) -> bytes:
    data = orjson.dumps({"at": format_time(event.at), **event.data})
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), data)


def _version(text: str) -> Version:
    found = Version.find(text)
    if found is None:
        raise UnknownVersionError(f"{text!r} is not a version", hint="one looks like v1.0.3")
    return found
