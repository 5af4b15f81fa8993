"""The OpenAPI 3.1 document, made from the same table and models that route and validate. Pure."""

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from recsys import __version__
from recsys.web.routes import Endpoint
from recsys.web.schemas import MAX_N, NoQuery
from recsys.web.sessions import COOKIE
from recsys.web.shapes import ProblemOut

_REF = "#/components/schemas/{model}"
_REFUSALS = {
    400: "A parameter or the body is not valid; `errors` names each field",
    401: "There is no token or key",
    403: "The token or key is wrong",
    404: "There is no such thing",
    409: "That cannot be done now; `detail` says why",
    422: "What is named cannot be used; `detail` says why",
    429: "Too many wrong tokens from this address",
    408: "The body took too long",
    413: "The body is too large",
    415: "The body is not JSON",
    503: "There is no model yet, or it cannot be written now; `Retry-After` says when to ask again",
}
_ANSWERS = {200: "Done", 201: "Made", 202: "Begun", 503: "Not yet"}
_DESCRIPTION = f"""Recommends films. Ids are strings, times are RFC 3339 in UTC, lists hold at most {MAX_N} items.

Every answer carries `X-Request-ID`, and one made by a model `X-Model-Version`. Errors are
`application/problem+json`."""
_SECURITY = {
    "admin": {"type": "http", "scheme": "bearer", "description": "the admin token"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "begun by POST /admin/session"},
    "key": {"type": "http", "scheme": "bearer", "description": "one of RECSYS_API__KEYS_FILE, if it is set"},
}
_HEADERS = {
    "X-Request-ID": {"schema": {"type": "string"}, "description": "the id given with the request, or a new one"},
}


def build_openapi(endpoints: list[Endpoint]) -> dict[str, Any]:
    """Describe `endpoints` as OpenAPI 3.1."""
    models = {model for endpoint in endpoints for model in _models_of(endpoint)} | {ProblemOut}
    ordered = sorted(models, key=lambda model: model.__name__)
    modes: list[Any] = [(model, "validation") for model in ordered]
    references, definitions = models_json_schema(modes, ref_template=_REF)
    schemas = dict(sorted(definitions.get("$defs", {}).items()))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "recsys", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


def _models_of(endpoint: Endpoint) -> list[type[BaseModel]]:
    answers = [answer for answer in endpoint.answers.values() if isinstance(answer, type)]
    return answers + ([endpoint.body] if endpoint.body is not None else [])


def _operation(endpoint: Endpoint, references: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _path_parameters(endpoint.path) + _query_parameters(endpoint.query),
        "responses": {},
    }
    if endpoint.admin:
        operation["security"] = [{"admin": []}, {"session": []}]
    elif endpoint.keyed:
        operation["security"] = [{}, {"key": []}]
    if endpoint.body is not None:
        schema = references[endpoint.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if endpoint.file is not None:
        content = {"schema": {"type": "string", "format": "binary"}, "example": endpoint.file}
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": content}}
    for status, answer in endpoint.answers.items():
        described: dict[str, Any] = {"description": _ANSWERS[status], "headers": _HEADERS}
        if isinstance(answer, str):
            described["content"] = {answer: {"schema": {"type": "string"}}}
        else:
            described["content"] = {"application/json": {"schema": references[answer, "validation"]}}
        operation["responses"][str(status)] = described
    for status in endpoint.refusals:
        operation["responses"].setdefault(str(status), _refusal(status, references))
    return operation


def _refusal(status: int, references: Any) -> dict[str, Any]:
    schema = references[ProblemOut, "validation"]
    return {
        "description": _REFUSALS[status],
        "headers": _HEADERS,
        "content": {"application/problem+json": {"schema": schema}},
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 256}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in re.findall(r"{(\w+)}", path)]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    if query is NoQuery:
        return []
    parameters = []
    for name, schema in query.model_json_schema()["properties"].items():
        described = {key: value for key, value in schema.items() if key not in ("title", "description")}
        # a parameter that may be left out is simply absent: there is no null in a query string
        if options := described.pop("anyOf", None):
            described |= next(option for option in options if option != {"type": "null"})
            described.pop("default", None)
        if described.get("default") == []:
            described.pop("default")
        parameter = {"name": name, "in": "query", "required": False, "schema": described}
        if schema.get("description"):
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters
