"""The composition root: every resource in order, each with its end, and the routes over them.

Read `build_app` from top to bottom to know what runs in the process. `serve` is the process's life: open the port, wait
for a signal, stop in order.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from aiohttp import web

from recsys.artifacts.marks import Marks
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import SettingsError
from recsys.jobs.events import EventHub
from recsys.jobs.ledger import Job, Ledger
from recsys.jobs.retention import Retention
from recsys.jobs.retrain import Retrainer, RunLimits
from recsys.jobs.schedule import Schedule
from recsys.serving.control import Control
from recsys.serving.guard import GuardLimits, SwapGuard
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher
from recsys.settings import Settings
from recsys.training.plan import TrainingPlan, plan_from
from recsys.web.admin import AdminRoutes
from recsys.web.auth import AdminAuth, read_token, token_place
from recsys.web.headers import COMMON_HEADERS, CommonHeaders
from recsys.web.health import HealthRoutes
from recsys.web.inputs import BODY_TIMEOUT, parse_query
from recsys.web.middleware import make_edge
from recsys.web.openapi import build_openapi
from recsys.web.pages import add_pages
from recsys.web.public import PublicRoutes
from recsys.web.routes import Endpoint, Handler, endpoints
from recsys.web.schemas import NoQuery
from recsys.web.telemetry import Telemetry

SLOT = web.AppKey("slot", Slot)
WATCHER = web.AppKey("watcher", Watcher)
RETRAINER = web.AppKey("retrainer", Retrainer)
TELEMETRY = web.AppKey("telemetry", Telemetry)
HEALTH = web.AppKey("health", HealthRoutes)

_WORKERS = 2
_MB = 2**20
_MAX_LINE_BYTES = 32 * 1024
#: A thread that holds the GIL gives it to the event loop after this long; Python's own 5 ms would be felt at p99.
_SWITCH_INTERVAL_S = 0.0005
_log = structlog.get_logger(__name__)
_Context = Callable[[web.Application], AsyncIterator[None]]


def build_app(settings: Settings) -> web.Application:
    """Put the service together. Nothing runs and nothing is read from disk until the app starts, but the admin
    token.
    """
    telemetry, events, slot = Telemetry(), EventHub(), Slot()
    store, marks = ModelStore(settings.paths.models), Marks(settings.paths.state)
    setting_pin = Version.parse(settings.model.version) if settings.model.version else None
    guard = SwapGuard(_guard_limits(settings), time.monotonic)

    def swapped(model: ServedModel) -> None:
        before = slot.previous
        telemetry.model_swapped(model)
        events.publish("swap", {"version": model.version, "before": before})
        if before is not None:
            guard.begin(model.version)

    watcher = Watcher(
        store,
        marks,
        slot,
        rescan_s=settings.serving.rescan_s,
        setting_pin=setting_pin,
        build=partial(
            ServedModel,
            score_cache_bytes=settings.serving.score_cache_mb * _MB,
            answer_cache_bytes=settings.serving.answer_cache_mb * _MB,
        ),
        on_swap=swapped,
        on_quarantine=lambda version, reason: events.publish_from_thread(
            "quarantine", {"version": version, "reason": reason}
        ),
    )
    plan = plan_from(settings)
    retention = Retention(store, slot, watcher, keep=settings.retraining.keep_versions)

    def job_changed(job: Job) -> None:
        events.publish("job", {"job_id": job.id, "status": job.status, "stage": job.stage, "progress": job.progress})
        if job.ended:
            telemetry.job_ended(job)
            watcher.kick()
            retention.soon()

    retrainer = Retrainer(
        lambda: plan,
        Ledger(settings.paths.state),
        RunLimits(settings.retraining.timeout_s, settings.retraining.memory_limit_mb, settings.training.blas_threads),
        on_change=job_changed,
    )
    schedule = Schedule(retrainer.ask, expression=settings.retraining.cron, timezone=settings.retraining.timezone)
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="answer")
    health = HealthRoutes(slot, watcher, retrainer, schedule, telemetry, environment=settings.environment)
    control = Control(store, marks, setting_pin)
    admin = AdminRoutes(store, slot, watcher, retrainer, control, events)
    auth = AdminAuth(read_token(settings))

    common_headers = CommonHeaders(settings.cors.origins)
    edge = make_edge(
        telemetry,
        common_headers,
        log_access=settings.log.access,
        guard=guard,
        on_trip=watcher.condemn,
    )
    app = web.Application(middlewares=[edge], client_max_size=settings.server.max_body_bytes)
    app[SLOT], app[WATCHER], app[RETRAINER], app[TELEMETRY], app[HEALTH] = slot, watcher, retrainer, telemetry, health
    app[COMMON_HEADERS] = common_headers
    app[BODY_TIMEOUT] = settings.server.body_timeout_s
    table = endpoints(PublicRoutes(slot, workers), health, admin)
    for endpoint in table:
        app.router.add_route(endpoint.method, endpoint.path, _guarded(endpoint, auth))
        if endpoint.method == "GET" and not endpoint.streams:
            app.router.add_route("HEAD", endpoint.path, _guarded(endpoint, auth))
    add_pages(app, build_openapi(table))

    app.cleanup_ctx.append(_directories(store, marks, events))
    app.cleanup_ctx.append(_workers(workers))
    app.cleanup_ctx.append(_loop_lag(telemetry))
    app.cleanup_ctx.append(_task("retention", retention.run))
    app.cleanup_ctx.append(_training(retrainer))
    app.cleanup_ctx.append(_watching(watcher, retrainer, slot, plan))
    if settings.retraining_enabled:
        app.cleanup_ctx.append(_scheduling(schedule, retrainer, make_up=settings.retraining.make_up_missed))
    app.on_shutdown.append(_end_listeners(events))
    _log.info("the admin token is in", place=token_place(settings))
    return app


def _guard_limits(settings: Settings) -> GuardLimits:
    serving = settings.serving
    return GuardLimits(
        watch_s=serving.watch_s,
        max_errors=serving.watch_max_errors,
        slow_s=serving.watch_slow_ms / 1000,
        max_slow=serving.watch_max_slow,
    )


def _guarded(endpoint: Endpoint, auth: AdminAuth) -> Handler:
    """Ask for the token where it is needed, and refuse a query string where none is taken."""
    handler, admin = endpoint.handler, endpoint.admin
    if endpoint.query is not NoQuery:
        return handler

    async def guarded(request: web.Request) -> web.StreamResponse:
        if admin:
            auth.check(request)
        if request.query_string:
            parse_query(NoQuery, request)
        return await handler(request)

    return guarded


def _directories(store: ModelStore, marks: Marks, events: EventHub) -> _Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        store.ensure()
        marks.ensure()
        events.attach()
        if removed := await asyncio.to_thread(store.clean_up):
            _log.info("removed what an interrupted run left behind", directories=removed)
        yield

    return run


def _workers(workers: ThreadPoolExecutor) -> _Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(workers.shutdown)

    return run


def _loop_lag(telemetry: Telemetry) -> _Context:
    return _task("loop-lag", telemetry.loop_lag.run)


def _training(retrainer: Retrainer) -> _Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        await retrainer.open()
        yield
        await retrainer.close()

    return run


def _watching(watcher: Watcher, retrainer: Retrainer, slot: Slot, plan: TrainingPlan) -> _Context:
    async def life() -> None:
        await watcher.start()
        model = slot.current
        if model is None:
            retrainer.ask("there is no model yet")
        elif watcher.state.pin is None and model.servable.manifest.data.source != plan.source:
            retrainer.ask(f"the data is now {plan.source}, the model was trained on another")
        await watcher.run()

    return _task("watcher", life)


def _scheduling(schedule: Schedule, retrainer: Retrainer, *, make_up: bool) -> _Context:
    async def run(app: web.Application) -> AsyncIterator[None]:
        schedule.start()
        if make_up:
            schedule.make_up(retrainer.last.created_at if retrainer.last else None)
        yield
        schedule.stop()

    return run


def _end_listeners(events: EventHub) -> Callable[[web.Application], Awaitable[None]]:
    async def end(app: web.Application) -> None:
        events.close()

    return end


def _task(name: str, run: Callable[[], Awaitable[None]]) -> _Context:
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


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT: open the port at once, load or train behind it, and at the end stop in
    order: not ready → no new connections → answer what is in flight → end training → return.

    Errors: SettingsError when the address cannot be listened on.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    app = build_app(settings)
    server = settings.server
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=server.keepalive_s,
        shutdown_timeout=server.shutdown_s / 2,  # aiohttp waits for it twice
        max_line_size=_MAX_LINE_BYTES,
        max_field_size=_MAX_LINE_BYTES,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await runner.setup()
        site = web.TCPSite(runner, server.host, server.port, backlog=server.max_connections)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {server.host}:{server.port}: {error.strerror or error}",
                hint="RECSYS_SERVER__PORT or --port chooses another; 0 takes a free one",
            ) from error
        _log.info("listening", address=f"http://{_shown(server.host)}:{runner.addresses[0][1]}")
        await stop.wait()
        _log.info("stopping")
        app[HEALTH].stopping = True
    finally:
        await runner.cleanup()
    _log.info("stopped")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
