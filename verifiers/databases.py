"""PostgreSQL databases that live as long as one item, on a server that holds nothing else."""

from __future__ import annotations

from typing import Protocol


class Databases(Protocol):
    """Makes a database from a fixture, runs statements in it as a role that can do nothing else, and drops it."""
