"""The composition root: every resource in order, each with its end, and the routes over them.

Read `build_app` from top to bottom to know what runs in the process. How it is served, and its end, is in `server`.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web

from recsys.artifacts.marks import Marks
from recsys.artifacts.servable import Servable
from recsys.artifacts.store import ModelStore
from recsys.artifacts.turns import yield_to_loop
from recsys.artifacts.version import Version
from recsys.feedback.live import LiveFeedback
from recsys.feedback.turnstile import Turnstile
from recsys.jobs.events import EventHub
from recsys.jobs.ledger import Job, Ledger
from recsys.jobs.retention import Retention
from recsys.jobs.retrain import Retrainer, RunLimits
from recsys.jobs.schedule import Schedule
from recsys.jobs.turns import alone
from recsys.serving.amended import Amendments
from recsys.serving.control import Control
from recsys.serving.guard import GuardLimits, SwapGuard
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.serving.viewers import Viewers
from recsys.serving.watcher import Watcher
from recsys.settings import Settings
from recsys.training.plan import plan_from
from recsys.web import lives
from recsys.web.admin import AdminRoutes
from recsys.web.arrivals import Arrivals
from recsys.web.auth import AdminAuth, read_keys, read_token, token_place
from recsys.web.bucket import bucket_parts
from recsys.web.catalogue import CatalogueRoutes
from recsys.web.edge import Edge
from recsys.web.headers import COMMON_HEADERS, CommonHeaders
from recsys.web.health import HealthRoutes
from recsys.web.imports import ImportRoutes
from recsys.web.inputs import BODY_TIMEOUT
from recsys.web.items import ItemRoutes
from recsys.web.kept import remaking
from recsys.web.openapi import build_openapi
from recsys.web.overview import OverviewRoutes
from recsys.web.pages import pages, posters
from recsys.web.public import PublicRoutes
from recsys.web.ratings import RatingRoutes
from recsys.web.routes import endpoints, guarded
from recsys.web.sessions import Sessions
from recsys.web.shown import RecommendationIds, ShownRoutes
from recsys.web.telemetry import Telemetry

SLOT = web.AppKey("slot", Slot)
WATCHER = web.AppKey("watcher", Watcher)
RETRAINER = web.AppKey("retrainer", Retrainer)
TELEMETRY = web.AppKey("telemetry", Telemetry)
HEALTH = web.AppKey("health", HealthRoutes)
EVENTS = web.AppKey("events", EventHub)
ARRIVALS = web.AppKey("arrivals", Arrivals)
TURNS = web.AppKey("turns", Turnstile)

_WORKERS = 1
_MB = 2**20
_log = structlog.get_logger(__name__)


def build_app(settings: Settings) -> web.Application:
    """Put the service together. Nothing runs and nothing is read from disk until the app starts, but the admin
    token.
    """
    telemetry, events, slot = Telemetry(settings.paths.state), EventHub(), Slot()
    store, marks = ModelStore(settings.paths.models), Marks(settings.paths.state)
    setting_pin = Version.parse(settings.model.version) if settings.model.version else None
    guard = SwapGuard(_guard_limits(settings), time.monotonic)

    def swapped(model: ServedModel) -> None:
        before = slot.previous
        telemetry.model_swapped(model)
        events.publish("swap", {"version": model.version, "before": before})
        # one that was gone back to is not watched: should the machine be slow, every version would be marked in turn
        if before is not None and Version.parse(before) < Version.parse(model.version):
            guard.begin(model.version)
        else:
            guard.end()

    arrivals = Arrivals()
    turns = Turnstile(arrivals.is_any)
    feedback = LiveFeedback(
        settings.paths.state,
        enabled=settings.feedback.enabled,
        max_waiting=settings.feedback.max_waiting,
        wait_s=settings.feedback.wait_s,
        on_items=lambda: watcher.kick(),  # noqa: PLW0108  there is no watcher yet
        on_shown=telemetry.shown,
        turns=turns,
    )
    viewers = Viewers(feedback)
    plan = plan_from(settings)
    bucket = bucket_parts(
        settings,
        store,
        lambda: plan,
        on_pulled=lambda: watcher.kick(),  # noqa: PLW0108  there is no watcher yet
        on_change=lambda state: events.publish("sync", state.as_dict()),
    )
    sync = bucket.sync if bucket else None

    def build(servable: Servable, *, fingerprint: str, pause: Callable[[], None] = yield_to_loop) -> ServedModel:
        sequence = feedback.items_sequence  # first: what is said meanwhile is then amended, not missed
        return ServedModel(
            servable,
            fingerprint=fingerprint,
            pause=pause,
            store_id=feedback.overlay.store_id,
            amendments=Amendments(tuple(feedback.items.values()), sequence),
            score_cache_bytes=settings.serving.score_cache_mb * _MB,
            answer_cache_bytes=settings.serving.answer_cache_mb * _MB,
        )

    watcher = Watcher(
        store,
        marks,
        slot,
        rescan_s=settings.serving.rescan_s,
        setting_pin=setting_pin,
        pointer=bucket.pointer if bucket else lambda: None,
        build=build,
        remake=remaking(viewers),
        outdated=lambda model: model.amended_to < feedback.items_sequence,
        on_swap=swapped,
        on_quarantine=lambda version, reason: events.publish_from_thread(
            "quarantine", {"version": version, "reason": reason}
        ),
    )
    retention = Retention(
        store,
        slot,
        watcher,
        keep=settings.retraining.keep_versions,
        needed=bucket.needed if bucket else tuple,
    )

    def job_changed(job: Job) -> None:
        events.publish("job", {"job_id": job.id, "status": job.status, "stage": job.stage, "progress": job.progress})
        if job.ended:
            telemetry.job_ended(job)
            watcher.kick()
            retention.soon()

    ledger = Ledger(settings.paths.state)
    retrainer = Retrainer(
        bucket.turns if bucket and bucket.turns else alone(lambda: plan),
        ledger,
        RunLimits(settings.retraining.timeout_s, settings.retraining.memory_limit_mb, settings.training.blas_threads),
        on_change=job_changed,
    )
    schedule = Schedule(retrainer.ask, expression=settings.retraining.cron, timezone=settings.retraining.timezone)
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="answer")
    health = HealthRoutes(
        slot, watcher, retrainer, schedule, telemetry, feedback, sync, environment=settings.environment
    )
    ids = RecommendationIds.start(feedback, enabled=settings.feedback.recommendation_ids)
    control = Control(store, marks, setting_pin, bucket.pointer if bucket else lambda: None)
    sessions = Sessions()
    admin = AdminRoutes(store, slot, watcher, retrainer, control, events, sessions, sync, trains=settings.s3.trains)
    overview = OverviewRoutes(admin, health, store, retrainer, telemetry, feedback)
    auth, keys = AdminAuth(read_token(settings), sessions), read_keys(settings)

    common_headers = CommonHeaders(settings.cors.origins)
    edge = Edge(
        telemetry, common_headers, arrivals, log_access=settings.log.access, guard=guard, on_trip=watcher.condemn
    )
    app = web.Application(client_max_size=settings.server.max_body_bytes)
    app[SLOT], app[WATCHER], app[RETRAINER], app[TELEMETRY], app[HEALTH] = slot, watcher, retrainer, telemetry, health
    app[COMMON_HEADERS], app[EVENTS], app[ARRIVALS], app[TURNS] = common_headers, events, arrivals, turns
    app[BODY_TIMEOUT] = settings.server.body_timeout_s
    table = endpoints(
        PublicRoutes(slot, viewers, ids, workers),
        ItemRoutes(slot, feedback, workers),
        RatingRoutes(slot, viewers, feedback, telemetry),
        CatalogueRoutes(slot, feedback, watcher.rescan),
        ShownRoutes(feedback, ids),
        ImportRoutes(slot),
        health,
        admin,
        overview,
    )
    for endpoint in table:
        edge.add_route(app, endpoint.method, endpoint.path, guarded(endpoint, auth, keys))
        if endpoint.method == "GET" and not endpoint.streams:
            edge.add_route(app, "HEAD", endpoint.path, guarded(endpoint, auth, keys))
    template = settings.pages.poster_template
    shown = pages(lambda: build_openapi(table), poster_template=template) | posters(slot, template)
    for path, handler in shown.items():
        edge.add_route(app, "GET", path, handler)
        edge.add_route(app, "HEAD", path, handler)
    edge.add_unmatched(app)

    app.cleanup_ctx.append(lives.directories(store, marks, ledger, events))
    app.cleanup_ctx.append(lives.workers(workers))
    app.cleanup_ctx.append(lives.feedback(feedback, store, settings.server.shutdown_s / 4))
    app.cleanup_ctx.append(lives.loop_lag(telemetry))
    app.cleanup_ctx.append(lives.background("traffic", overview.run))
    app.cleanup_ctx.append(lives.background("retention", retention.run))
    app.cleanup_ctx.append(lives.training(retrainer, telemetry))
    if bucket is not None:
        app.cleanup_ctx.append(lives.recalling(bucket))
    app.cleanup_ctx.append(lives.watching(watcher, retrainer, slot, plan, bucket, trains=settings.s3.trains))
    if bucket is not None:
        app.cleanup_ctx.append(lives.background("sync", bucket.sync.run))
    if settings.retraining_enabled:
        app.cleanup_ctx.append(lives.scheduling(schedule, retrainer, make_up=settings.retraining.make_up_missed))
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
