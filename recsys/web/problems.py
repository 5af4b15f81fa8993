"""Errors on their way out: every failure becomes application/problem+json (RFC 9457), rendered here and nowhere
else.
"""

from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from recsys.errors import InvalidInputError, Problem, RecsysError

_RETRY_AFTER_S = {
    "model_not_ready": 2,
    "too_many_listeners": 10,
    "too_many_tries": 60,
    "store_unavailable": 10,
    "feedback_unavailable": 5,
    "feedback_corrupt": 60,
    "too_many_ratings": 1,
}
_TITLES = {
    400: ("bad_request", "The request cannot be understood"),
    403: ("forbidden", "That is not allowed"),
    404: ("not_found", "There is nothing at this address"),
    405: ("method_not_allowed", "This address does not take that method"),
    408: ("body_timeout", "The body took too long"),
    413: ("body_too_large", "The body is too large"),
    415: ("unsupported_media_type", "The body must be JSON"),
}
_MAX_PROBLEMS = 20


class HttpError(RecsysError):
    """A refusal that only HTTP knows, by status."""

    def __init__(self, status: int, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.status = status
        self.code, self.title = _TITLES.get(status, ("http_error", "The request cannot be answered"))


def render(error: RecsysError, request_id: str) -> web.Response:
    """Make the answer for an error."""
    body: dict[str, Any] = {
        "type": f"/docs#problem-{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    if error.problems:
        body["errors"] = [{"where": p.where, "problem": p.problem} for p in error.problems]
    if error.hint:
        body["hint"] = error.hint
    response = web.Response(
        body=orjson.dumps(body), status=error.status, headers={"Content-Type": "application/problem+json"}
    )
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="recsys"'
    if (seconds := _RETRY_AFTER_S.get(error.code)) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def from_http(error: web.HTTPException) -> RecsysError:
    """Translate aiohttp's own refusals."""
    if error.status in _TITLES:
        return HttpError(error.status, error.reason or _TITLES[error.status][1])
    return RecsysError(error.reason)


def from_validation(error: ValidationError, where: str) -> InvalidInputError:
    """Translate pydantic's findings; `where` is the part of the request, as `query` or `body`."""
    errors = error.errors(include_url=False, include_input=False)
    # pydantic counts only what is valid: a list of one bad rating would be too short as well
    within = {found["loc"][:depth] for found in errors for depth in range(len(found["loc"]))}
    errors = [found for found in errors if found["type"] != "too_short" or found["loc"] not in within]
    problems = []
    for found in errors[:_MAX_PROBLEMS]:
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = "there is no such field" if where == "body" else "there is no such parameter"
        problems.append(Problem(_path(where, found["loc"]), message))
    first = problems[0]
    return InvalidInputError(f"{first.where}: {first.problem}", problems=tuple(problems))


def _path(where: str, location: tuple[int | str, ...]) -> str:
    text = where
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text
