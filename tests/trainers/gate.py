"""A door between a trainer and the service, which tests close and slow down: on its port the service seems to be."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.service import free_port

CHUNK = 1 << 16


class Gate:
    """Connections to `url` reach the service at `port`. While closed they are refused, and open ones are lost."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._own = free_port()
        self.url = f"http://127.0.0.1:{self._own}"
        self.answer_after_s = 0.0
        """How long answers are held back."""
        self.refused_for_s = 0.0
        """How long it has been closed, all together."""
        self.close_at_next_for_s = 0.0
        """The next connection is broken, and the gate closes with it, for so long."""
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        """Let connections through."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._own))
        listener.listen(512)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse new connections and break those that there are."""
        with self._lock:
            listener, self._listener = self._listener, None
            broken, self._open = self._open, set()
        for connection in [*broken, *([listener] if listener else [])]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close_for(self, seconds: float) -> None:
        """Close now, and open again after `seconds`, while the caller goes on."""
        self.close()

        def reopen() -> None:
            time.sleep(seconds)
            self.refused_for_s += seconds
            self.open()

        threading.Thread(target=reopen, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                if self.close_at_next_for_s:
                    seconds, self.close_at_next_for_s = self.close_at_next_for_s, 0.0
                    client.close()
                    self.close_for(seconds)
                    return
                service = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self._lock:
                shut = self._listener is not listener
                if not shut:
                    self._open |= {client, service}
            if shut:
                client.close()
                service.close()
                return
            threading.Thread(target=self._pass, args=(client, service, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(service, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        """What comes from `source` goes to `sink`, until either ends."""
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if answers:
                    time.sleep(self.answer_after_s)
                sink.sendall(data)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open.discard(connection)
