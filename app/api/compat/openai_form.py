"""Errors in the form of OpenAI's API, which its clients turn into exceptions.

`{"error": {"message", "type", "param", "code"}}`: the `openai` package takes the class of its exception from the
status, and its text, `param` and `code` from the body. What cannot be accepted is a 400 there, and never a 422.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from app import wire
from app.errors import Problem
from verifiers.base import pointer

INLINE = "/verifier/config"
"""Where a configuration that is sent along stands in the requests of our own API."""


class OpenAIRoute(APIRoute):
    """A route whose problems are answered in OpenAI's form."""

    error_document: ClassVar[dict[str, Any]] = {
        "description": "An error in OpenAI's form; its code is one of the problems of docs/errors.md.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {
                            "type": "object",
                            "required": ["message", "type", "param", "code"],
                            "properties": {
                                "message": {"type": "string"},
                                "type": {"type": "string", "enum": ["invalid_request_error", "server_error"]},
                                "param": {"type": ["string", "null"]},
                                "code": {"type": "string"},
                            },
                        }
                    },
                }
            }
        },
    }

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = pointer(first["loc"][1:])
                return error_response(Problem("invalid-parameter", f"{where}: {first['msg']}", pointer=where))
            except Problem as problem:
                return error_response(problem)

        return answer


def error_response(problem: Problem) -> Response:
    """The answer that a problem becomes. Members of its own stand beside those that every error has.

    `x-should-retry` tells OpenAI's clients, which try a 503 twice more, where that is of no use.
    """
    status = 400 if problem.status == 422 else problem.status
    error = {
        "message": problem.detail.replace(INLINE, ""),
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": _param(problem.pointer),
        "code": problem.name,
        **problem.extra,
    }
    headers = dict(problem.headers())
    unscored = problem.extra.get("error")
    if isinstance(unscored, dict):
        headers["x-should-retry"] = "true" if unscored["retryable"] else "false"
    return Response(wire.encode({"error": error}), status, headers=headers, media_type="application/json")


def _param(where: str | None) -> str | None:
    """A JSON pointer as OpenAI writes a field: `grader.graders.a.input`."""
    return where.removeprefix(INLINE).lstrip("/").replace("/", ".") if where else None
