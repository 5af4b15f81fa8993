"""The shapes of requests and answers, as pydantic models: they validate, and the OpenAPI document is made of them.

Must not import aiohttp.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

MAX_N = 500
MAX_RATINGS = 1000
MAX_USERS = 1000
MAX_EXCLUDED = 10_000

_INTEGER = re.compile(r"-?\d{1,9}")


def _integer(value: Any) -> Any:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("must be true or false")
        return value == "true"
    return value


def _comma_separated(value: Any) -> Any:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


def _unix_seconds(value: int | datetime) -> int:
    return int(value.timestamp()) if isinstance(value, datetime) else value


QueryInt = Annotated[int, BeforeValidator(_integer)]
QueryBool = Annotated[bool, BeforeValidator(_boolean)]
CommaSeparated = Annotated[
    tuple[str, ...],
    BeforeValidator(_comma_separated),
    WithJsonSchema({"type": "string", "description": "item ids, comma-separated; unknown ones do no harm"}),
]
Timestamp = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=2**40)] | Annotated[AwareDatetime, Field(strict=True)],
    AfterValidator(_unix_seconds),
]
Id = Annotated[str, Field(min_length=1, max_length=256)]
Year = Annotated[int, Field(ge=0, le=9999)]
QueryYear = Annotated[QueryInt, Field(ge=0, le=9999)]
Genres = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=50)]
N = Annotated[int, Field(ge=1, le=MAX_N, description="how many items")]
QueryN = Annotated[QueryInt, Field(ge=1, le=MAX_N, description="how many items")]


class Input(BaseModel):
    """Strict about names and types: a typo is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class YearRange(Input):
    year_from: Any
    year_to: Any

    @model_validator(mode="after")
    def _in_order(self) -> "YearRange":
        if self.year_from is not None and self.year_to is not None and self.year_from > self.year_to:
            raise ValueError("year_from is after year_to")
        return self


class NoQuery(Input):
    """A route without query parameters."""


class RecommendationQuery(YearRange):
    n: QueryN = 10
    genre: Genres = Field((), description="any of these genres")
    year_from: QueryYear | None = Field(None, description="from this year on")
    year_to: QueryYear | None = Field(None, description="up to this year")
    exclude: CommaSeparated = Field((), max_length=MAX_EXCLUDED)
    include_seen: QueryBool = Field(False, description="also what the user has rated")
    explain: QueryBool = Field(False, description="say which rated items made each score, and how much")


class RatingIn(Input):
    item_id: Id
    rating: float = Field(strict=True, ge=0, le=1000, description="on the data set's own scale")
    timestamp: Timestamp | None = Field(None, description="RFC 3339, or unix seconds")


class Filters(YearRange):
    n: N = Field(10, strict=True)
    genres: Genres = Field((), description="any of these genres")
    year_from: Year | None = Field(None, strict=True)
    year_to: Year | None = Field(None, strict=True)
    exclude: tuple[Annotated[str, Field(max_length=256)], ...] = Field((), max_length=MAX_EXCLUDED)


class StatelessRequest(Filters):
    ratings: tuple[RatingIn, ...] = Field(max_length=MAX_RATINGS, description="what somebody rated; nothing is stored")
    explain: bool = Field(False, strict=True)


class BatchRequest(Filters):
    user_ids: tuple[Annotated[str, Field(max_length=256)], ...] = Field(min_length=1, max_length=MAX_USERS)
    include_seen: bool = Field(False, strict=True)


class SearchQuery(Input):
    query: str = Field("", max_length=200, description="words of the title; all items if empty")
    genre: Genres = Field((), description="any of these genres")
    limit: QueryN = 20
    offset: QueryInt = Field(0, ge=0, le=10_000_000)


class SimilarQuery(Input):
    n: QueryN = 10


class PopularQuery(Input):
    n: QueryN = 10
    genre: Genres = Field((), description="any of these genres")


Strategy = Literal["personalized", "blended", "popular"]


class Contribution(BaseModel):
    item_id: str
    title: str
    contribution: float


class ItemOut(BaseModel):
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


class StatelessAnswer(BaseModel):
    model_version: str
    strategy: Strategy
    items: list[RecommendedItem]
    ignored: list[str] = Field(description="items that the model does not know")


class UserAnswer(BaseModel):
    user_id: str
    model_version: str
    strategy: Strategy
    items: list[RecommendedItem]


class BatchResult(BaseModel):
    user_id: str
    strategy: Strategy
    items: list[RecommendedItem]


class BatchAnswer(BaseModel):
    model_version: str
    results: list[BatchResult]


class ItemDetail(ItemOut):
    imdb_id: str | None
    tmdb_id: str | None
    n_ratings: int
    liked_share: float = Field(description="share of all users who rated it with at least four stars of five")


class ItemList(BaseModel):
    items: list[ItemOut]
    total: int


class GenreList(BaseModel):
    items: list[str]
    total: int


class ScoredItem(ItemOut):
    score: float


class ScoredItemList(BaseModel):
    items: list[ScoredItem]
    total: int


class FieldProblem(BaseModel):
    where: str
    problem: str


class ProblemOut(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []
    hint: str = ""


JobStatus = Literal["queued", "running", "accepted", "rejected", "failed", "timed_out", "cancelled"]


class JobSummary(BaseModel):
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


class JobStarted(BaseModel):
    job_id: str
    status: JobStatus


class JobList(BaseModel):
    items: list[JobOut]
    total: int


class PinRequest(Input):
    version: str = Field(max_length=64, description="one that is there, as v1.0.3")


class ModelState(BaseModel):
    model_config = ConfigDict(extra="allow")

    version: str
    status: Literal["accepted", "rejected", "quarantined", "invalid"]
    reason: str | None
    served: bool


class ModelStates(BaseModel):
    items: list[ModelState]
    total: int
    served: str | None
    because: str
    pinned: str | None
    pinned_by: Literal["operator", "setting"] | None
    degraded: str | None
    strangers: list[str] = Field(description="names in the models directory that the store did not make")


class RetrainingHealth(BaseModel):
    enabled: bool
    running: JobSummary | None
    last: JobSummary | None
    next_run: str | None


class VersionProblem(BaseModel):
    version: str
    reason: str
    since: str


class Health(BaseModel):
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
    sync: None = Field(description="there is no bucket")


class Liveness(BaseModel):
    status: Literal["live"]


class Readiness(BaseModel):
    status: Literal["ready", "starting", "stopping"]
    model_version: str | None
    stage: str | None = Field(description="what the first model is waiting for")
    progress: float | None
