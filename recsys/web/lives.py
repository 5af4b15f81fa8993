"""How long each resource of the app lives: begun when the app starts, ended in reverse order when it stops.

Each is a `cleanup_ctx` of aiohttp. What they are made of, and in which order, is in `app`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web

from recsys.artifacts.files import remove_temporaries
from recsys.artifacts.marks import Marks
from recsys.artifacts.store import ModelStore
from recsys.errors import StoreError
from recsys.feedback.live import LiveFeedback
from recsys.jobs.events import EventHub
from recsys.jobs.ledger import Ledger
from recsys.jobs.retrain import Retrainer
from recsys.jobs.schedule import Schedule
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher
from recsys.training.plan import TrainingPlan
from recsys.web.bucket import BucketParts
from recsys.web.telemetry import Telemetry

_log = structlog.get_logger(__name__)
Context = Callable[[web.Application], AsyncIterator[None]]


def directories(store: ModelStore, marks: Marks, ledger: Ledger, events: EventHub) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        store.ensure()
        events.attach()
        removed = await asyncio.to_thread(store.clean_up)
        try:
            removed += await asyncio.to_thread(marks.clean_up)
            removed += await asyncio.to_thread(remove_temporaries, ledger.path)
        except (StoreError, OSError) as error:  # nothing that is served needs it
            _log.warning("the state directory cannot be written", reason=str(error))
        if removed:
            _log.info("removed what an interrupted run left behind", items=removed)
        yield

    return run


def feedback(feedback: LiveFeedback, store: ModelStore, within_s: float) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        await feedback.start(store.highest_cutoff)
        yield
        await feedback.close(within_s)

    return run


def workers(workers: ThreadPoolExecutor) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(workers.shutdown)

    return run


def loop_lag(telemetry: Telemetry) -> Context:
    return background("loop-lag", telemetry.loop_lag.run)


def training(retrainer: Retrainer, telemetry: Telemetry) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        await retrainer.open()
        telemetry.recall(retrainer.jobs)
        yield
        await retrainer.close()

    return run


def recalling(bucket: BucketParts) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        await bucket.sync.start()
        yield
        await bucket.tie.close()

    return run


def watching(
    watcher: Watcher,
    retrainer: Retrainer,
    slot: Slot,
    plan: TrainingPlan,
    bucket: BucketParts | None,
    *,
    trains: bool,
) -> Context:
    async def life() -> None:
        await watcher.start()
        if slot.current is None and bucket is not None and bucket.follows:
            # the bucket may have one: nothing is trained before it was asked
            await bucket.sync.round()
            await watcher.rescan()
        model = slot.current
        if model is None and trains:
            retrainer.ask("there is no model yet", patient=True)
        elif (
            model is not None
            and trains
            and watcher.state.pin is None
            and model.servable.manifest.data.source != plan.source
        ):
            retrainer.ask(f"the data is now {plan.source}, the model was trained on another")
        await watcher.run()

    return background("watcher", life)


def scheduling(schedule: Schedule, retrainer: Retrainer, *, make_up: bool) -> Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        schedule.start()
        if make_up:
            schedule.make_up(retrainer.last.created_at if retrainer.last else None)
        yield
        schedule.stop()

    return run


def background(name: str, run: Callable[[], Awaitable[None]]) -> Context:
    """A task that lives as long as the app. If it should ever end by itself, that is logged, not lost."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        async def guarded() -> None:
            try:
                await run()
            except Exception:
                _log.exception("a background task died", task=name)
                raise

        task = asyncio.create_task(guarded(), name=name)
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task

    return context
