"""A stand-in for the service that misbehaves as it is told, and otherwise keeps the service's promises.

It honours `Idempotency-Key` as the service does: a repeated request is answered from the record, and nothing is
recorded twice.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal[
    "drop",  # the connection ends before anything is recorded
    "drop after",  # everything is recorded, and the connection ends before the answer
    "half",  # everything is recorded, and half of the answer comes
    "garbage",  # a success that is no JSON
    "short",  # a success with a verdict too few
    "nan",  # a success with a score that is NaN
    "busy",  # 503 with Retry-After: 0
    "gateway",  # a gateway's 502, in HTML
    "throttled",  # 429
    "stall",  # no answer for a long time
]


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    key: str | None
    body: bytes
    headers: dict[str, str]
    at: float

    @property
    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.body)["items"]
        return items


@dataclass
class Script:
    """What the server does and what it has seen."""

    faults: list[Fault] = field(default_factory=list)
    """One for each of the next requests; after that it behaves."""
    answer: Callable[[Seen], tuple[int, dict[str, str], bytes] | None] | None = None
    """Answers instead of scoring; None scores after all."""
    verdict: Callable[[dict[str, Any], int], dict[str, Any]] | None = None
    """Members of an item's verdict, given the item and how often it was recorded before."""
    stall_s: float = 30.0
    seen: list[Seen] = field(default_factory=list)
    recorded: Counter[str] = field(default_factory=Counter)
    """How often each completion was recorded."""
    answers: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """By key: the body that was sent and the answer that was recorded."""
    in_flight: int = 0
    most_in_flight: int = 0


class FaultyService:
    """The server, on a free port, in threads of its own."""

    def __init__(self, port: int = 0) -> None:
        self.script = Script()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                service._handle(self)

            do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the standard library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """A client may go away; that is its own affair."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.command, request.path, headers.get("idempotency-key"), body, headers, time.monotonic())
        script = self.script
        with self._lock:
            script.seen.append(seen)
            script.in_flight += 1
            script.most_in_flight = max(script.most_in_flight, script.in_flight)
            fault = script.faults.pop(0) if script.faults else None
        try:
            with suppress(OSError):
                self._answer(request, seen, fault)
        finally:
            with self._lock:
                script.in_flight -= 1

    def _answer(self, request: BaseHTTPRequestHandler, seen: Seen, fault: Fault | None) -> None:
        if fault == "drop":
            return _cut(request)
        if fault == "stall":
            self._ended.wait(self.script.stall_s)
            return _cut(request)
        if fault == "busy":
            return _send(request, 503, problem("overloaded", 503), {"Retry-After": "0"})
        if fault == "throttled":
            return _send(request, 429, b"{}")
        if fault == "gateway":
            return _send(request, 502, b"<html>bad gateway</html>", kind="text/html")
        if self.script.answer is not None:
            told = self.script.answer(seen)
            if told is not None:
                return _send(request, told[0], told[2], told[1])
        status, content = self._score(seen)
        if fault == "drop after":
            return _cut(request)
        if fault == "garbage":
            content = b'{"items": [nonsense'
        if fault in ("short", "nan") and status == 200:
            answer = json.loads(content)
            if fault == "short":
                answer["items"].pop()
            else:
                answer["items"][0]["score"] = float("nan")
            content = json.dumps(answer).encode()
        if fault == "half":
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content[: len(content) // 2])
            return _cut(request)
        return _send(request, status, content)

    def _score(self, seen: Seen) -> tuple[int, bytes]:
        with self._lock:
            if seen.key is not None and seen.key in self.script.answers:
                body, recorded = self.script.answers[seen.key]
                return (200, recorded) if body == seen.body else (422, problem("idempotency-mismatch", 422))
            verdicts = [self._verdict(item) for item in seen.items]
            content = json.dumps({"batch_id": str(uuid.uuid4()), "items": verdicts, "summary": {}}).encode()
            if seen.key is not None:
                self.script.answers[seen.key] = (seen.body, content)
            return 200, content

    def _verdict(self, item: dict[str, Any]) -> dict[str, Any]:
        before = self.script.recorded[str(item["completion"])]
        self.script.recorded[str(item["completion"])] += 1
        told = {} if self.script.verdict is None else self.script.verdict(item, before)
        return {
            "id": item.get("id"),
            "score_id": str(uuid.uuid4()),
            "verifier": "text@1",
            "score": float(len(str(item["completion"]))),
            "outcome": "scored",
            "detail": {"of": item["completion"]},
            "components": {},
            "steps": None,
            "error": None,
            "ms": 0.1,
            "cached": False,
            **told,
        }


def unscored(type: str, *, retryable: bool) -> dict[str, Any]:
    """Members of a verdict without a score."""
    return {"score": None, "outcome": "unscored", "error": {"type": type, "message": "why", "retryable": retryable}}


def problem(name: str, status: int, **extra: Any) -> bytes:
    """A problem+json body."""
    members = {"type": f"urn:assay:problem:{name}", "title": name, "status": status, "detail": f"the {name}", **extra}
    return json.dumps(members).encode()


def answering(
    *answers: tuple[int, dict[str, str], bytes],
) -> Callable[[Seen], tuple[int, dict[str, str], bytes] | None]:
    """An `answer` that gives these in turn, then scores."""
    left: list[tuple[int, dict[str, str], bytes]] = list(answers)
    return lambda seen: left.pop(0) if left else None


def bodies(seen: Sequence[Seen]) -> list[bytes]:
    """The bodies of requests, in order."""
    return [request.body for request in seen]


async def until(happened: Callable[[], Any]) -> None:
    """Wait for it; some time later, fail."""
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    headers: dict[str, str] | None = None,
    kind: str = "application/json",
) -> None:
    request.send_response(status)
    named = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
    for name, value in named.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)


def _cut(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.wfile.flush()
    with suppress(OSError):
        request.connection.shutdown(socket.SHUT_RDWR)
