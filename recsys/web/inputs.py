"""Requests on their way in: query and body become validated models, or a 400 that names the field."""

import asyncio
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, get_origin
from urllib.parse import unquote

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError
from yarl import URL

from recsys.errors import InvalidInputError, Problem
from recsys.web.problems import HttpError, from_validation

Model = TypeVar("Model", bound=BaseModel)

BODY_TIMEOUT = web.AppKey("body_timeout", float)


def parse_query(model: type[Model], url: URL) -> Model:
    """Validate the query string. A parameter given twice is an error unless it takes a list.

    Errors: InvalidInputError.
    """
    lists = _lists_of(model)
    values: dict[str, Any] = {}
    for name, value in pairs_of(url):
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            problem = Problem(f"query.{name}", f"is given {len(url.query.getall(name))} times")
            raise InvalidInputError(f"{problem.where}: {problem.problem}", problems=(problem,))
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise from_validation(error, "query") from error


def pairs_of(url: URL) -> Iterable[tuple[str, str]]:
    """Return the parameters of a query string as `url.query` has them. Where nothing is escaped, as in most, they are
    what stands there, for a third of the time. Errors: InvalidInputError for what is no text.
    """
    raw = url.raw_query_string
    if "%" in raw or "+" in raw:
        _refuse_what_is_no_text(raw, "query")
        return url.query.items()
    return [(name, value) for name, _, value in [part.partition("=") for part in raw.split("&") if part]]


@cache
def _lists_of(model: type[BaseModel]) -> frozenset[str]:
    """The parameters that may be given more than once."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) is tuple and name != "exclude")


async def parse_body(model: type[Model], request: web.Request) -> Model:
    """Read and validate a JSON body within the limits of size and time.

    Errors: InvalidInputError, HttpError 408, 413, 415.
    """
    said = request.headers.get(hdrs.CONTENT_TYPE)
    if said != "application/json" and request.content_type != "application/json":
        raise HttpError(
            415, f"the body is {request.content_type}, not application/json", hint="send Content-Type: application/json"
        )
    limit = request.client_max_size
    if request.content_length is not None and request.content_length > limit:
        raise HttpError(413, f"the body has more than {limit} bytes", hint="RECSYS_SERVER__MAX_BODY_BYTES")
    try:
        if request.content.is_eof():  # most bodies come with their head
            content = await request.read()
        else:
            async with asyncio.timeout(request.app[BODY_TIMEOUT]):
                content = await request.read()
    except TimeoutError as error:
        raise HttpError(408, f"the body did not arrive within {request.app[BODY_TIMEOUT]:g} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise HttpError(413, f"the body has more than {limit} bytes", hint="RECSYS_SERVER__MAX_BODY_BYTES") from error
    except web.RequestPayloadError as error:
        problem = Problem("body", "cannot be unpacked as Content-Encoding says")
        raise InvalidInputError(f"{problem.where}: {problem.problem}", problems=(problem,)) from error
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise from_validation(error, "body") from error


def id_from_path(request: web.Request, name: str) -> str:
    """Return an id of the path. Errors: InvalidInputError for one that cannot be an id."""
    return sound_id(request.match_info[name], request.rel_url, name)


def sound_id(value: str, url: URL, name: str) -> str:
    """Return `value` of the path of `url`. Errors: InvalidInputError for what cannot be an id."""
    if "%" in value:
        _refuse_what_is_no_text(url.raw_path, f"path.{name}")
    if len(value) > 256:
        problem = Problem(f"path.{name}", "is longer than 256 characters")
        raise InvalidInputError(f"{problem.where}: {problem.problem}", problems=(problem,))
    return value


def _refuse_what_is_no_text(raw: str, where: str) -> None:
    """Errors: InvalidInputError for percent-encoded bytes that are not UTF-8; yarl would leave them as they stand, and
    `%FF` would be the same id as `%25FF`.
    """
    if "%" not in raw:
        return
    for part in raw.split("&"):
        try:
            unquote(part, errors="strict")
        except UnicodeDecodeError as error:
            place = f"{where}.{part.partition('=')[0]}" if where == "query" else where
            raise InvalidInputError(f"{place}: is not UTF-8", problems=(Problem(place, "is not UTF-8"),)) from error
