"""What can go wrong with a call, one exception for each kind of failure; every message says what to do.

All of them pickle, because trainers pass them between processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer_client.results import Verdict

PROBLEM_PREFIX = "urn:assay:problem:"
RETRIED = frozenset({408, 429, 502, 503, 504})
"""Statuses after which the same request is sent again."""


class AssayError(Exception):
    """Base of everything that this package raises about a call."""


class ServiceUnavailableError(AssayError):
    """The service could not be reached, or could not answer, until the deadline. Nothing says what is recorded."""


class DeadlineError(AssayError):
    """The deadline passed while an answer was awaited."""


class ItemsUnscoredError(AssayError):
    """`on_error="fail"`, and some items could not be scored. `verdicts` has those of all items, in their order."""

    def __init__(self, message: str, verdicts: Sequence[Verdict] = ()) -> None:
        super().__init__(message)
        self.verdicts = verdicts


class RefusedError(AssayError):
    """The service refused the request.

    `status` is the HTTP status; `problem` the stable name from docs/errors.md, such as "invalid-body", or "" where
    the answer was not Assay's; `pointer` the JSON pointer of the field at fault; `body` the whole answer.
    """

    def __init__(
        self, message: str, status: int = 0, problem: str = "", pointer: str | None = None, body: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.pointer = pointer
        self.body = body

    @property
    def retried(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status in RETRIED and self.problem != "items-unscored"


class AuthError(RefusedError):
    """No API key, or one that is unknown or revoked (401)."""


class ForbiddenError(RefusedError):
    """The API key lacks a scope (403)."""


class NotFoundError(RefusedError):
    """No such thing in this project (404)."""


class UnknownVerifierError(NotFoundError):
    """The request names a verifier that this project does not have (404)."""


class InvalidRequestError(RefusedError):
    """A field of the request is not acceptable (400, 413, 415, 422); `pointer` says which."""


class ConflictError(RefusedError):
    """The request conflicts with what exists (409)."""


class ServiceFaultError(RefusedError):
    """The service failed in a way that sending again does not mend (500, or 502 `items-unscored`)."""


class NotAssayError(RefusedError):
    """Something answered, and not as Assay does: the URL is that of something else."""


_BY_STATUS: dict[int, type[RefusedError]] = {
    400: InvalidRequestError,
    401: AuthError,
    403: ForbiddenError,
    404: NotFoundError,
    405: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
}

_WHAT_TO_DO = {
    401: "; set ASSAY_API_KEY or pass api_key",
    403: "; use a key that has the scope ('assay keys create NAME --scope ...')",
}


def refusal(status: int, content: bytes, url: str) -> RefusedError:
    """The exception for an answer that is no success; of problem+json (RFC 9457), its title and detail."""
    try:
        body = json.loads(content)
        problem, title, detail = str(body["type"]), str(body["title"]), str(body["detail"])
        pointer = None if body.get("pointer") is None else str(body["pointer"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _foreign(status, url)
    if not problem.startswith(PROBLEM_PREFIX):
        return _foreign(status, url)
    name = problem.removeprefix(PROBLEM_PREFIX)
    message = f"{title}: {detail}{_WHAT_TO_DO.get(status, '')}"
    if pointer and pointer not in detail:
        message += f" (at {pointer})"
    kind = UnknownVerifierError if name == "unknown-verifier" else _BY_STATUS.get(status, ServiceFaultError)
    return kind(message, status, name, pointer, body)


def _foreign(status: int, url: str) -> RefusedError:
    if status in RETRIED:  # a gateway's word for a service that is away
        return ServiceFaultError(f"{url} answered {status}", status)
    return NotAssayError(f"{url} answered {status}, and not as Assay does; check ASSAY_URL or url", status)


def closed() -> AssayError:
    """For a call whose client was closed meanwhile."""
    return AssayError("the client was closed before the answer")
