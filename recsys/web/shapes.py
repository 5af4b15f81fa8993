"""The shapes of answers, as pydantic models: the OpenAPI document is made of them, and tests hold the answers to it.

Nothing validates answers at run time. Must not import aiohttp.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Strategy = Literal["personalized", "blended", "popular"]


class Shape(BaseModel):
    """Built when it is first asked about, which is when the document is: a start has no use for it."""

    model_config = ConfigDict(defer_build=True)


class Contribution(Shape):
    item_id: str
    title: str
    contribution: float


class ItemOut(Shape):
    item_id: str
    title: str
    year: int | None
    genres: list[str]


class RecommendedItem(ItemOut):
    score: float
    because: list[Contribution] = Field(
        default=[], description="with explain: sums to the personalised part of the score; may be empty"
    )
    popularity: float = Field(default=0.0, description="with explain, in a blended answer: the rest of the score")


class StatelessAnswer(Shape):
    model_version: str
    strategy: Strategy
    items: list[RecommendedItem]
    recommendation_id: str = Field(default="", description="for POST /api/v1/events, if switched on")
    ignored: list[str] = Field(description="items that the model does not know")


class UserAnswer(Shape):
    user_id: str
    model_version: str
    strategy: Strategy
    items: list[RecommendedItem]
    recommendation_id: str = Field(default="", description="for POST /api/v1/events, if switched on")


class BatchResult(Shape):
    user_id: str
    strategy: Strategy
    items: list[RecommendedItem]


class BatchAnswer(Shape):
    model_version: str
    results: list[BatchResult]


class ItemDetail(ItemOut):
    imdb_id: str | None
    tmdb_id: str | None
    n_ratings: int
    liked_share: float = Field(description="share of all users who rated it with at least four stars of five")


class ItemList(Shape):
    items: list[ItemOut]
    total: int


class Accepted(Shape):
    accepted: int
    duplicates: int = Field(description="resends of an event_id, or of what was counted already")


class UserRating(Shape):
    item_id: str
    rating: float
    timestamp: str | None = Field(description="null for a rating of a file without times")
    source: Literal["file", "api"]


class UserRatingList(Shape):
    ratings: list[UserRating]


class RatingDeleted(Shape):
    user_id: str
    item_id: str
    deleted: Literal[True]


class UserForgotten(Shape):
    forgotten: Literal[True]


class ItemWithdrawn(Shape):
    item_id: str
    withdrawn: Literal[True]


class Share(Shape):
    value: float | None = Field(description="null without an impression")
    low: float
    high: float


class QualityRow(Shape):
    model_version: str
    strategy: Strategy
    impressions: int
    clicks: int
    watches: int
    click_through: Share = Field(description="clicks of impressions, with a 95 % interval")


class Quality(Shape):
    items: list[QualityRow]
    total: int
    enabled: bool = Field(description="whether answers carry a recommendation_id")


class Scale(Shape):
    low: float
    high: float
    step: float


class GenreList(Shape):
    items: list[str]
    total: int
    scale: Scale = Field(description="of the data set's ratings")
    years: list[int] = Field(description="the first and the last of its films; empty if none is known")


class ScoredItem(ItemOut):
    score: float


class ScoredItemList(Shape):
    items: list[ScoredItem]
    total: int


class FieldProblem(Shape):
    where: str
    problem: str


class ProblemOut(Shape):
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []
    hint: str = ""


JobStatus = Literal["queued", "running", "accepted", "rejected", "failed", "timed_out", "cancelled"]


class JobSummary(Shape):
    job_id: str
    asked_because: str
    status: JobStatus
    stage: str
    progress: float = Field(ge=0, le=1)
    reason: str | None = Field(description="why it ended as it did")
    model_version: str | None
    created_at: str
    ended_at: str | None


class JobOut(JobSummary):
    metrics: dict[str, Any]
    checks: list[dict[str, Any]] = Field(description="what the gate looked at")


class JobStarted(Shape):
    job_id: str
    status: JobStatus


class JobList(Shape):
    items: list[JobOut]
    total: int


class ModelState(Shape):
    model_config = ConfigDict(extra="allow")

    version: str
    status: Literal["accepted", "rejected", "quarantined", "invalid"]
    reason: str | None
    served: bool


class ModelStates(Shape):
    items: list[ModelState]
    total: int
    served: str | None
    because: str
    pinned: str | None
    pinned_by: Literal["operator", "setting"] | None
    degraded: str | None
    strangers: list[str] = Field(description="names in the models directory that the store did not make")


class RetrainingHealth(Shape):
    enabled: bool
    running: JobSummary | None
    last: JobSummary | None
    next_run: str | None


class FeedbackHealth(Shape):
    enabled: bool
    ratings: int = Field(description="that came in over HTTP or by import, taken back or not")
    waiting: int = Field(description="rows that wait to be written")
    problem: str | None = Field(description="why ratings cannot be kept now")


class VersionProblem(Shape):
    version: str
    reason: str
    since: str


class PointerOut(Shape):
    version: str
    generation: int
    who: str
    when: str


class SyncHealth(Shape):
    bucket: str
    role: Literal["pull", "train", "both"]
    reachable: bool | None = Field(description="null until it was asked for the first time")
    problem: str | None = Field(description="why this service is not in step with the bucket")
    pointer: PointerOut | None = Field(description="the last one that was accepted")
    checked_at: str | None = Field(description="when the bucket last answered")
    doing: str | None
    progress: float = Field(ge=0, le=1)
    waiting: list[str] = Field(description="versions trained here that are yet to be published")
    single_writer: bool = Field(description="the store ignores conditional writes: only one service may train")


class Health(Shape):
    status: Literal["ok", "degraded", "starting"]
    detail: str | None
    version: str
    environment: str
    model_version: str | None
    model_loaded_at: str | None
    model_because: str = Field(description="why this version: pin, pointer, highest accepted, kept")
    pin: str | None
    quarantined: list[VersionProblem]
    uptime_s: float
    retraining: RetrainingHealth
    feedback: FeedbackHealth
    sync: SyncHealth | None = Field(description="null without a bucket")


class Liveness(Shape):
    status: Literal["live"]


class Readiness(Shape):
    status: Literal["ready", "starting", "stopping"]
    model_version: str | None
    stage: str | None = Field(description="what the first model is waiting for")
    progress: float | None
