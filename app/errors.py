"""Errors of the envelope, as RFC 9457 problem+json. docs/errors.md lists every type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TYPE_PREFIX = "urn:assay:problem:"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One stable kind of problem: its status and what it means."""

    status: int
    title: str


PROBLEMS: dict[str, ProblemType] = {
    "invalid-json": ProblemType(400, "The body is not acceptable JSON"),
    "invalid-encoding": ProblemType(400, "The body's Content-Encoding is damaged"),
    "invalid-header": ProblemType(400, "A header is not acceptable"),
    "unauthorized": ProblemType(401, "No valid API key"),
    "forbidden": ProblemType(403, "The API key lacks a scope"),
    "not-found": ProblemType(404, "No such thing"),
    "unknown-verifier": ProblemType(404, "No such verifier"),
    "method-not-allowed": ProblemType(405, "The path has no such method"),
    "body-too-slow": ProblemType(408, "The body came too slowly"),
    "conflict": ProblemType(409, "The request conflicts with what exists"),
    "item-not-kept": ProblemType(409, "The item was not kept"),
    "body-too-large": ProblemType(413, "The body is too large"),
    "unsupported-encoding": ProblemType(415, "The Content-Encoding is not offered"),
    "invalid-body": ProblemType(422, "A field of the body is not acceptable"),
    "invalid-parameter": ProblemType(422, "A parameter is not acceptable"),
    "invalid-config": ProblemType(422, "The verifier's configuration cannot work"),
    "example-failed": ProblemType(422, "An example does not score as declared"),
    "idempotency-mismatch": ProblemType(422, "The Idempotency-Key was used for another request"),
    "internal-error": ProblemType(500, "The service failed"),
    "items-unscored": ProblemType(502, "Some items could not be scored"),
    "storage-unavailable": ProblemType(503, "The database cannot be reached"),
    "verifier-unavailable": ProblemType(503, "The verifier cannot be tried now"),
    "not-scored": ProblemType(503, "The item could not be scored now"),
    "overloaded": ProblemType(503, "Too much is in flight"),
    "not-run": ProblemType(504, "The program could not be run now"),
}
"""Every problem type by its name; the name with `TYPE_PREFIX` is the problem's `type`."""

RETRY_AFTER_S = 1


class Problem(Exception):  # noqa: N818 - the standard's own word (RFC 9457)
    """A request that cannot be answered; becomes a problem+json response.

    `name` is one of `PROBLEMS`; `pointer` is the JSON pointer of the field at fault.
    """

    def __init__(self, name: str, detail: str, *, pointer: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.pointer = pointer
        self.extra = extra

    @property
    def status(self) -> int:
        return PROBLEMS[self.name].status

    def body(self) -> dict[str, Any]:
        """The problem+json members."""
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.name,
            "title": PROBLEMS[self.name].title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        return members | self.extra

    def headers(self) -> Mapping[str, str]:
        """Headers that go with the status."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        if self.status in (503, 504):
            return {"Retry-After": str(RETRY_AFTER_S)}
        return {}
