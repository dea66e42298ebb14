"""A gateway in front of a live service that loses, refuses or delays what it is told to."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.service import Service


class Fault(Enum):
    """What happens to one POST."""

    NONE = auto()
    LOSE_REQUEST = auto()
    LOSE_ANSWER = auto()
    ANSWER_503 = auto()


class _Gateway(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, service: Service, faults: list[Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self.faults = deque(faults)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Gateway

    def do_GET(self) -> None:
        self._forward(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        faults = self.server.faults
        fault = faults.popleft() if faults else Fault.NONE
        if fault is Fault.LOSE_REQUEST:
            self.close_connection = True
        elif fault is Fault.ANSWER_503:
            self._answer(503, b"away for a moment")
        else:
            self._forward(body, lost=fault is Fault.LOSE_ANSWER)

    def _forward(self, body: bytes, *, lost: bool = False) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.service.port, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
        connection.request(self.command, self.path, body, kept)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if lost:
            self.close_connection = True
        else:
            self._answer(response.status, content)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests say nothing on stderr."""


@contextmanager
def faulty(service: Service, *faults: Fault) -> Iterator[str]:
    """The URL of a gateway that does this to the first POSTs, one fault each, and then nothing."""
    gateway = _Gateway(service, list(faults))
    thread = threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{gateway.server_port}"
    finally:
        gateway.shutdown()
        thread.join()
        gateway.server_close()
