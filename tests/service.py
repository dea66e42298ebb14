"""A live service in a process of its own, and a small client for it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KEY = "test-admin-key-0123456789"


@dataclass(frozen=True)
class Answer:
    """A response: its status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """`assay serve` on a free port of the loopback interface, by `python`."""

    def __init__(
        self, home: Path, key: str = KEY, *, python: str | Path = sys.executable, **environment: str
    ) -> None:
        self.home = home
        self.key = key
        self.python = python
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.parent / f"{home.name}.log"
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: float = 90) -> Service:
        """Start and wait until it is ready."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")},
            "ASSAY_HOME": str(self.home),
            "ASSAY_PORT": str(self.port),
            "ASSAY_API_KEY": self.key,
            **self._environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "app.cli", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        limit = time.monotonic() + wait
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended at start:\n{self.log.read_text()}")
            try:
                if self.get("/readyz", key=None).status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the service was not ready in {wait} s:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def kill(self) -> None:
        """End it without warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> Answer:
        """One request; `body` is bytes as they are, or a value to send as JSON. `key` None sends none."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.key}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, body, **options)

    def score(self, verifier: Any, *items: dict[str, Any], **fields: Any) -> Any:
        """The JSON answer of /score, which must be a 200."""
        answer = self.post("/score", {"verifier": verifier, "items": list(items), **fields})
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.body.decode()}")
        return answer.json()

    def new_key(self, *scopes: str, key: str = "") -> str:
        """A new key of the project that `key` (default: the first admin key) belongs to."""
        answer = self.post("/keys", {"name": "test", "scopes": list(scopes)}, key=key)
        return str(answer.json()["key"])

    def new_project(self, name: str) -> str:
        """The admin key of a new project."""
        answer = self.post("/projects", {"name": name})
        if answer.status != 201:
            raise AssertionError(answer.body.decode())
        return str(answer.json()["key"]["key"])
