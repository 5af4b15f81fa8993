"""The shapes of requests, as pydantic models: they validate, and the OpenAPI document is made of them and of `shapes`.

Must not import aiohttp.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

MAX_N = 500
MAX_RATINGS = 1000
MAX_USERS = 1000
MAX_EXCLUDED = 10_000

_INTEGER = re.compile(r"-?[0-9]{1,9}")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LATEST_S = 2**40


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


def _unix_seconds(text: str) -> int:
    if not _RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    seconds = int(datetime.fromisoformat(text.upper()).timestamp())
    if not 0 <= seconds <= _LATEST_S:
        raise ValueError("out of range")
    return seconds


QueryInt = Annotated[int, BeforeValidator(_integer)]
QueryBool = Annotated[bool, BeforeValidator(_boolean)]
CommaSeparated = Annotated[
    tuple[str, ...],
    BeforeValidator(_comma_separated),
    WithJsonSchema({"type": "string", "description": "item ids, comma-separated; unknown ones do no harm"}),
]
Timestamp = Annotated[
    int,
    # numbers never leave the parser: a body may hold a thousand
    GetPydanticSchema(
        lambda _source, _handler: core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=0, le=_LATEST_S),
                core_schema.no_info_after_validator_function(_unix_seconds, core_schema.str_schema(strict=True)),
            ],
            mode="left_to_right",
            custom_error_type="timestamp",
            custom_error_message="must be RFC 3339 with an offset, or unix seconds, from 1970 on",
        )
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _LATEST_S},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]
Id = Annotated[str, Field(min_length=1, max_length=256)]
Year = Annotated[int, Field(ge=0, le=9999)]
QueryYear = Annotated[int, Field(ge=0, le=9999), BeforeValidator(_integer)]
Genres = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=50)]
N = Annotated[int, Field(ge=1, le=MAX_N, description="how many items")]
QueryN = Annotated[int, Field(ge=1, le=MAX_N, description="how many items"), BeforeValidator(_integer)]


class Input(BaseModel):
    """Strict about names and types: a typo is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class YearRange(Input):
    year_from: Any
    year_to: Any

    @field_validator("year_to", check_fields=False)
    @classmethod
    def _in_order(cls, value: Any, info: ValidationInfo) -> Any:
        year_from = info.data.get("year_from")
        if value is not None and year_from is not None and year_from > value:
            raise ValueError("is before year_from")
        return value


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


class SearchQuery(YearRange):
    query: str = Field("", max_length=200, description="words of the title; all items if empty")
    item_id: tuple[Annotated[str, Field(max_length=256)], ...] = Field(
        (), max_length=MAX_N, description="these items alone, in this order; unknown ones are left out"
    )
    genre: Genres = Field((), description="any of these genres")
    year_from: QueryYear | None = Field(None, description="from this year on")
    year_to: QueryYear | None = Field(None, description="up to this year")
    limit: QueryN = 20
    offset: QueryInt = Field(0, ge=0, le=10_000_000)


class SimilarQuery(Input):
    n: QueryN = 10


class PopularQuery(YearRange):
    n: QueryN = 10
    genre: Genres = Field((), description="any of these genres")
    year_from: QueryYear | None = Field(None, description="from this year on")
    year_to: QueryYear | None = Field(None, description="up to this year")


class TrendingQuery(PopularQuery):
    days: QueryInt = Field(7, ge=1, le=90, description="look back so many days")


class NewRating(RatingIn):
    user_id: Id
    event_id: str | None = Field(None, min_length=1, max_length=128, description="makes a resend harmless")


class RatingsRequest(Input):
    ratings: tuple[NewRating, ...] = Field(min_length=1, max_length=MAX_RATINGS, description="all are kept, or none")


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank")
    return value


Title = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_not_blank)]
Genre = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_not_blank)]
LinkId = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,20}$")]


class ItemIn(Input):
    title: Title
    year: int | None = Field(None, strict=True, ge=1, le=9999)
    genres: tuple[Genre, ...] = Field((), max_length=50)
    imdb_id: LinkId | None = None
    tmdb_id: LinkId | None = None


class ItemPatch(Input):
    """What is given replaces what was known; null takes it away."""

    title: Title = Field("-", json_schema_extra={"default": None})
    year: int | None = Field(None, strict=True, ge=1, le=9999)
    genres: tuple[Genre, ...] = Field((), max_length=50)
    imdb_id: LinkId | None = None
    tmdb_id: LinkId | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "ItemPatch":
        if not self.model_fields_set:
            raise ValueError("nothing is to be changed")
        return self


class ShownIn(Input):
    recommendation_id: str = Field(min_length=1, max_length=200, description="of the answer that held the item")
    type: Literal["impression", "click", "watch"]
    item_id: Id


class ShownRequest(Input):
    events: tuple[ShownIn, ...] = Field(min_length=1, max_length=MAX_RATINGS, description="what became of items")


class PinRequest(Input):
    version: str = Field(max_length=64, description="one that is there, as v1.0.3")
