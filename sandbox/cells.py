"""What a backend is, and what it starts: a cell, seen from the service."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from sandbox.channel import Channel

T = TypeVar("T")
Flavour = frozenset[str]
"""The Python packages that a cell's zygote has imported."""


class Cell(ABC):
    """A running cell. One job at a time."""

    def __init__(self, channel: Channel, facts: Mapping[str, Any], flavour: Flavour) -> None:
        self.channel = channel
        self.facts = facts
        """What the cell said of itself."""
        self.flavour = flavour

    @abstractmethod
    async def close(self) -> None:
        """Kill everything in it, and leave nothing behind."""


class Backend(Protocol):
    """A way to make cells."""

    name: str

    async def open(self) -> None:
        """Get ready to start cells. Raises `SandboxUnavailableError`, saying what to change."""
        ...

    async def start(self, flavour: Flavour) -> Cell:
        """Start a cell and wait for its hello. Raises `SandboxUnavailableError`, saying what to change."""
        ...

    async def close(self) -> None:
        """Remove what is left of it; every cell has been closed."""
        ...

    @property
    def packages(self) -> Mapping[str, str]:
        """The Python packages on offer, each with its version."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts for people: how it isolates."""
        ...


async def in_thread(make: Callable[[], T], undo: Callable[[T], None]) -> T:
    """What `make` returns, which it makes in a thread. Cancelled, this waits for it, and undoes it."""
    made = asyncio.get_running_loop().run_in_executor(None, make)
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            result = await made
            await asyncio.to_thread(undo, result)
        raise
