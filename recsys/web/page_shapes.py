"""The shapes of the answers that the pages live on, imports and the operator's overview: the document's, as `shapes`.

Nothing validates answers at run time. Must not import aiohttp.
"""

from typing import Any, Literal

from pydantic import Field

from recsys.web.shapes import Health, JobOut, ModelStates, Shape


class ImportedItem(Shape):
    item_id: str
    title: str
    year: int | None
    rating: float = Field(description="on the data set's own scale")
    given: str = Field(description="as it stands in the file")
    timestamp: int | None
    by: Literal["imdb", "tmdb", "title"] = Field(description="what it was found by")


class NotImported(Shape):
    title: str
    year: int | None
    given: str
    why: str


class ImportCounts(Shape):
    ratings: int
    matched: int
    unmatched: int


class ImportAnswer(Shape):
    model_version: str
    format: Literal["imdb", "letterboxd", "trakt"]
    matched: list[ImportedItem]
    unmatched: list[NotImported]
    counts: ImportCounts


class SignedIn(Shape):
    signed_in: bool


class MeasuredVersion(Shape):
    version: str
    created_at: str
    headline: str
    metrics: dict[str, Any]
    baseline: dict[str, Any] = Field(description="popularity on the same split")
    checks: list[dict[str, Any]]


class MinuteOfTraffic(Shape):
    requests: int
    errors: int


class TrafficOut(Shape):
    per_second: float
    errors_per_minute: float
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    by_minute: list[MinuteOfTraffic]


class HourOfRatings(Shape):
    hour: str
    ratings: int


class AdminAction(Shape):
    at: str
    action: str
    remote: str | None
    details: dict[str, Any]


class Overview(Shape):
    at: str
    health: Health
    models: ModelStates
    measured: list[MeasuredVersion]
    jobs: list[JobOut]
    traffic: TrafficOut
    ratings_per_hour: list[HourOfRatings]
    memory_mb: float
    loop_lag_ms: float
    actions: list[AdminAction]
