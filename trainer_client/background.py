"""An event loop in a thread of its own, for callers that have none. Each process has its own."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from trainer_client.errors import closed

T = TypeVar("T")

STOP_S = 5.0
"""How long the end of a process waits for connections to close."""


class _Thread:
    """The loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="assay-client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        while left := asyncio.all_tasks(self.loop):  # or whoever waits for them would wait for ever
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` in the loop, then end it. In a forked child, where the thread does not exist, do nothing."""
        if os.getpid() != self.pid or self.loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(last(), self.loop).result(STOP_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_S)


class Background:
    """Runs coroutines and waits for them. Its thread starts with the first of each process.

    `last` is run in the loop before it ends. It must not hold this object, which ends its thread when nobody has it.
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        self._lock = threading.RLock()  # a signal's handler may call from inside a call
        self._thread: _Thread | None = None
        _all.add(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result or exception, `AssayError` where `stop` ended it; interrupted, it is cancelled."""
        with self._lock:  # `stop` may not end the loop in between
            future = asyncio.run_coroutine_threadsafe(work, self._started().loop)
        try:
            return future.result()
        except CancelledError:
            raise closed() from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread; a later `run` starts another."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(self._last)

    def _started(self) -> _Thread:
        if self._thread is None:
            self._thread = _Thread()
            weakref.finalize(self, self._thread.stop, self._last)
        return self._thread

    def forget(self) -> None:
        """In a forked child: the parent's thread is not here, and its lock may be held for ever."""
        self._lock = threading.RLock()
        self._thread = None


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_all):
        background.forget()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_after_fork)
