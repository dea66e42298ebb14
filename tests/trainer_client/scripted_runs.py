"""A server that takes the events of runs as the service does, and fails as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fault(Enum):
    """What happens to one POST of events."""

    ANSWER_500 = auto()
    LOSE_REQUEST = auto()
    LOSE_ANSWER = auto()
    HALF_AN_ANSWER = auto()
    SLOW = auto()


class ScriptedRuns:
    """`taken` has the events of the requests that it recorded, once for each `Idempotency-Key`, in their order.

    Set `faults` for what happens to the next requests, `refuses` for the events that it finds invalid, and call
    `leave` and `come_back` to be away.
    """

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.faults: deque[Fault] = deque()
        self.refuses: Callable[[dict[str, Any]], bool] = lambda event: False
        self.requests = 0
        self._answered: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = self._listen(0)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def leave(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        self._server = self._listen(self.port)

    def wait_for(self, count: int, seconds: float = 30) -> None:
        """Until so many events were taken. Raises `AssertionError`."""
        limit = time.monotonic() + seconds
        while len(self.taken) < count:
            assert time.monotonic() < limit, f"{len(self.taken)} of {count} events came in {seconds} s"
            time.sleep(0.02)

    def _listen(self, port: int) -> ThreadingHTTPServer:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                scripted.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        """One request."""
        if handler.path == "/runs":
            self.runs.append(body)
            _send(handler, 200, {"id": "run-1", "name": body["name"], "attempt": 1, "last_step": None})
            return
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
        if fault is Fault.LOSE_REQUEST:
            handler.connection.close()
        elif fault is Fault.ANSWER_500:
            _send(handler, 500, _problem(500, "internal"))
        elif any(map(self.refuses, body["events"])):
            _send(handler, 422, _problem(422, "invalid-body"))
        else:
            if fault is Fault.SLOW:
                time.sleep(2)
            self._take(handler.headers["Idempotency-Key"], body["events"])
            if fault is Fault.LOSE_ANSWER:
                handler.connection.close()
            else:
                _send(handler, 200, {"events": len(body["events"])}, half=fault is Fault.HALF_AN_ANSWER)

    def _take(self, key: str, events: list[dict[str, Any]]) -> None:
        with self._lock:
            if key not in self._answered:
                self._answered[key] = len(events)
                self.taken += events


def _problem(status: int, name: str) -> dict[str, Any]:
    return {"type": f"urn:assay:problem:{name}", "title": name, "status": status, "detail": "as the test told it"}


def _send(handler: BaseHTTPRequestHandler, status: int, body: Any, *, half: bool = False) -> None:
    content = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content)))
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2] if half else content)
    if half:
        handler.wfile.flush()
        handler.connection.close()
