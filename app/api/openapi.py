"""The OpenAPI document: what FastAPI derives, plus the bodies and errors that the handlers read and write by hand."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.errors import PROBLEMS, TYPE_PREFIX
from verifiers.base import KINDS

REF = "#/components/schemas/"
KEYLESS = ("/healthz", "/readyz", "/metrics", "/compat/sandbox-fusion/v1/ping")
VERIFIER_NAME = "`name` (the latest version) or `name@version`."
COMPAT = ("/compat/", "/v1/fine_tuning/")
"""Below it a key may stand in the URL."""
TAGS = {
    "score": "Score completions.",
    "compare": "Rank the completions of one prompt, and make preference pairs.",
    "verifiers": "Register verifiers, and see what they say of known items.",
    "scores": "What was scored, and why.",
    "signals": "What became known later.",
    "runs": "What trainers log.",
    "backends": "Model servers that verifiers may ask.",
    "sandbox": "Where programs run.",
    "projects": "Who is apart from whom, and what is kept.",
    "keys": "Who may do what.",
    "health": "For those who operate it.",
    "compat": "The same scoring, in the wire formats of trainers.",
}
"""What the groups of operations are, in their order."""
DESCRIPTION = (
    "Scores completions with registered, versioned verifiers and keeps every verdict. "
    "Errors of a request are problem+json (RFC 9457); faults of one item are that item's own `unscored`."
)


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    tags = [{"name": name, "description": description} for name, description in TAGS.items()]
    schema = get_openapi(title="Assay", version=app.version, description=DESCRIPTION, routes=app.routes, tags=tags)
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _problem_schema()
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {
            "type": "apiKey",
            "in": "query",
            "name": "key",
            "description": "For clients that can send no header; allows scoring only, whatever the key can do.",
        },
    }
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    bodies = {model for route in routes if (model := _body_model(route)) is not None}
    kinds = [(cls.Config, "validation") for cls in KINDS.values()]
    _, definitions = models_json_schema(
        [*((model, "validation") for model in bodies), *kinds],  # type: ignore[list-item]
        ref_template=REF + "{model}",
    )
    schemas.update(definitions["$defs"])
    for base in ("InlineVerifier", "RegisterRequest"):
        _tell_kinds_apart(schemas, base)
    for route in routes:
        model = _body_model(route)
        for method in route.methods or ():
            operation = schema["paths"][route.path][method.lower()]
            operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = getattr(route, "error_document", _PROBLEM)
            if route.path not in KEYLESS:
                in_url: list[dict[str, list[str]]] = [{"key": []}] if route.path.startswith(COMPAT) else []
                operation["security"] = [{"bearer": []}, *in_url]
            if model is not None:
                operation["requestBody"] = {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": REF + model.__name__}}},
                }
            operation.setdefault("parameters", []).extend(_parameters_read_by_hand(route, operation))
            if method == "POST" and not getattr(route.endpoint, "unrecorded", False):
                operation["parameters"].append(_IDEMPOTENCY_KEY)
    return schema


_PROBLEM = {
    "description": "A problem; docs/errors.md lists them.",
    "content": {"application/problem+json": {"schema": {"$ref": REF + "Problem"}}},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same request, gets the recorded answer. Remembered for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _parameters_read_by_hand(route: APIRoute, operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of the path and of a `query_model` that the handler's signature does not have."""
    known = {parameter["name"] for parameter in operation.get("parameters", ())}
    parameters = [
        {"name": name, "in": "path", "required": True, "description": VERIFIER_NAME, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
        if name not in known
    ]
    model: type[BaseModel] | None = getattr(route.endpoint, "query_model", None)
    properties = {} if model is None else model.model_json_schema()["properties"]
    for name, schema in properties.items():
        description = schema.pop("description", "")
        parameters.append(
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
        )
    return parameters


def _body_model(route: APIRoute) -> type[BaseModel] | None:
    model: type[BaseModel] | None = getattr(route.endpoint, "body_model", None)
    return model


def _tell_kinds_apart(schemas: dict[str, Any], base: str) -> None:
    """Make `base` a union over the kinds, told apart by `kind`, each with its own configuration."""
    general = schemas[base]
    mapping = {}
    for kind, cls in sorted(KINDS.items()):
        name = base.removesuffix("Request").removesuffix("Verifier") + "".join(
            part.capitalize() for part in kind.split("_")
        )
        properties = general["properties"] | {
            "kind": {"const": kind, "type": "string"},
            "config": {"$ref": REF + cls.Config.__name__},
        }
        schemas[name] = {**general, "title": name, "properties": properties}
        schemas[name].pop("examples", None)
        mapping[kind] = REF + name
    schemas[base] = {
        "title": base,
        "description": general.get("description", ""),
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "kind", "mapping": mapping},
    }
    if "examples" in general:
        schemas[base]["examples"] = general["examples"]


def _problem_schema() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "RFC 9457 problem details.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [TYPE_PREFIX + name for name in PROBLEMS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "pointer": {"type": "string", "description": "JSON pointer of the field at fault."},
        },
    }
