"""An event loop in a thread of its own, for callers that have none. Each process has its own."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from trainer_client.errors import closed

T = TypeVar("T")

STOP_S = 5.0
"""How long the end of a process waits for connections to close."""


class _Thread:
    """The loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._ending: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._serve, name="assay-client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while self._ending is None or not self._ending.done():
            with suppress(SystemExit, KeyboardInterrupt):  # of an item's own code, which its caller is told
                self.loop.run_forever()
        while left := asyncio.all_tasks(self.loop):  # or whoever waits for them would wait for ever
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in it, as a finaliser may: whoever waits here for the loop waits for himself."""
        return threading.get_ident() == self._thread.ident

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` in the loop, then end it. In a forked child, where the thread does not exist, do nothing."""
        if os.getpid() != self._pid:
            return
        self.loop.call_soon_threadsafe(self._end, last)
        if not self.is_current:
            self._thread.join(STOP_S)

    def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._ending = self.loop.create_task(last())
        self._ending.add_done_callback(lambda _: self.loop.stop())


class Background:
    """Runs coroutines and waits for them. Its thread starts with the first of each process.

    `last` is run in the loop before it ends. It must not hold this object, which ends its thread when nobody has it.
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        self._lock = threading.RLock()  # a signal's handler may call from inside a call
        self._thread: _Thread | None = None
        self._end: weakref.finalize[..., Background] | None = None
        """Ends the thread: once, whoever is first to ask for it."""
        _all.add(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result or exception, `AssayError` where `stop` ended it; interrupted, it is cancelled.

        Raises RuntimeError in the loop's own thread, where the wait would have no end.
        """
        try:
            with self._lock:  # `stop` may not end the loop in between
                future = asyncio.run_coroutine_threadsafe(work, self._started().loop)
        except BaseException:
            work.close()
            raise
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
            end, self._end, self._thread = self._end, None, None
        if end is not None:
            end()

    def _started(self) -> _Thread:
        if self._thread is None:
            thread = _Thread()
            self._end = weakref.finalize(self, thread.stop, self._last)  # before an interrupt can come between
            self._thread = thread
        if self._thread.is_current:
            raise RuntimeError("the client's own thread (a finaliser, a logging handler) cannot wait for a call")
        return self._thread

    def forget(self) -> None:
        """In a forked child: the parent's thread is not here, and its lock may be held for ever."""
        self._lock = threading.RLock()
        self._thread = self._end = None


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_all):
        background.forget()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_after_fork)
