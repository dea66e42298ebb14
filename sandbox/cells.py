"""What a backend is, and what it starts: a cell, seen from the service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from sandbox.channel import Channel

Flavour = frozenset[str]
"""The Python packages that a cell's zygote has imported."""


class Cell(ABC):
    """A running cell. One job at a time."""

    def __init__(self, channel: Channel, facts: Mapping[str, Any], flavour: Flavour) -> None:
        self.channel = channel
        self.facts = facts
        """What the cell said of itself."""
        self.flavour = flavour
        self.jobs = 0

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
