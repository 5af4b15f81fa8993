"""The shapes of requests, as pydantic models: they validate, and the OpenAPI document is made of them and of `shapes`.

Must not import aiohttp.
"""

import dataclasses
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

MAX_N = 500
MAX_RATINGS = 1000
MAX_USERS = 1000
MAX_EXCLUDED = 10_000

_DIGITS = "^-?[0-9]{1,9}$"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LATEST_S = 2**40


@dataclasses.dataclass(frozen=True)
class WholeNumber:
    """A query's whole number from `low` to `high`, written in digits alone. All of it happens in the parser: Python
    would take as long for one number as the parser for a query.
    """

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.custom_error_schema(
            core_schema.chain_schema([core_schema.str_schema(pattern=_DIGITS), core_schema.int_schema()]),
            custom_error_type="whole_number",
            custom_error_message="must be a whole number",
        )
        return core_schema.chain_schema([number, core_schema.int_schema(ge=self.low, le=self.high)])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


def _comma_separated(value: Any) -> Any:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


def _unix_seconds(text: str) -> int:
    if not _RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    seconds = int(datetime.fromisoformat(text.upper()).timestamp())
    if not 0 <= seconds <= _LATEST_S:
        raise ValueError("out of range")
    return seconds


QueryBool = Annotated[
    bool,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.chain_schema(
            [
                core_schema.custom_error_schema(
                    core_schema.literal_schema(["true", "false"]),
                    custom_error_type="boolean",
                    custom_error_message="must be true or false",
                ),
                core_schema.bool_schema(),
            ]
        )
    ),
    WithJsonSchema({"type": "boolean"}),
]
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
QueryYear = Annotated[int, WholeNumber(0, 9999)]
Genres = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=50)]
N = Annotated[int, Field(ge=1, le=MAX_N, description="how many items")]
QueryN = Annotated[int, WholeNumber(1, MAX_N), Field(description="how many items")]


#: Strict about names and types: a typo is never silently ignored.
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Input(BaseModel):
    model_config = _STRICT


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

    @property
    def is_filtered(self) -> bool:
        return bool(self.genre or self.exclude) or self.year_from is not None or self.year_to is not None


@dataclass(config=_STRICT, slots=True, kw_only=True)
class RatingIn:
    """No model, for a body may hold a thousand of them, and a model takes half as long again."""

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
    offset: Annotated[int, WholeNumber(0, 10_000_000)] = 0


class SimilarQuery(Input):
    n: QueryN = 10


class PopularQuery(YearRange):
    n: QueryN = 10
    genre: Genres = Field((), description="any of these genres")
    year_from: QueryYear | None = Field(None, description="from this year on")
    year_to: QueryYear | None = Field(None, description="up to this year")


class TrendingQuery(PopularQuery):
    days: Annotated[int, WholeNumber(1, 90), Field(description="look back so many days")] = 7


@dataclass(config=_STRICT, slots=True, kw_only=True)
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
