"""Every setting of the service. Each is an environment variable named ASSAY_*; docs/settings.md lists them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

NAME = r"^[A-Za-z0-9][A-Za-z0-9_./:@-]*$"
"""Of a Docker image or runtime; never an option of a command."""


def default_home() -> Path:
    """Where data goes: /var/lib/assay as root, else the user's data folder (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/assay")
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "assay"


def default_cells() -> int:
    """Two for each core that this process may use: a cell waits while its run ends and the next one is sent."""
    return 2 * len(os.sched_getaffinity(0))


def default_databases() -> int:
    """One for each core that this process may use: a statement keeps one busy."""
    return len(os.sched_getaffinity(0))


class Settings(BaseSettings):
    """The service's settings, read from the environment once at start."""

    model_config = SettingsConfigDict(env_prefix="ASSAY_", env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    home: Path = Field(default_factory=default_home, description="Folder for data, the database included.")
    api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="The first admin key, 16 characters or more. Made and printed once if unset.",
    )
    secret_key: SecretStr | None = Field(
        None, min_length=32, description="What keys of backends are encrypted with, 32 characters or more."
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL to use, as postgresql://user:password@host/db. Unset: an embedded one."
    )
    database_connections: int = Field(
        8, ge=2, le=200, description="Database connections of the host, shared by its API processes."
    )
    workers: int = Field(1, ge=1, le=64, description="API processes.")
    guard_workers: int = Field(
        2, ge=1, le=64, description="Guarded worker processes of the host, shared by its API processes."
    )
    sandbox: Literal["auto", "docker", "local"] = Field(
        "auto", description="What isolates code that is run: auto takes docker where it works, else local."
    )
    sandbox_cells: int = Field(
        default_factory=default_cells,
        ge=1,
        le=1024,
        description="Runs of code at once on the host, shared by its API processes.",
    )
    sandbox_runtime: str | None = Field(
        None, pattern=NAME, description="Docker runtime of the cells, such as crun. Unset: Docker's default."
    )
    sandbox_image: str | None = Field(
        None, pattern=NAME, description="Docker image of the cells. Unset: the one that 'assay sandbox build' makes."
    )
    sandbox_memory_mb: int = Field(1024, ge=64, le=1048576, description="Most memory that one run may be given.")
    scratch_database_url: SecretStr | None = Field(
        None,
        description="A superuser of a PostgreSQL that holds nothing else, for throw-away databases. Unset: an "
        "embedded one, started when the first is wanted.",
    )
    scratch_databases: int = Field(
        default_factory=default_databases,
        ge=1,
        le=64,
        description="Throw-away databases at once on the host, shared by its API processes.",
    )
    scratch_memory_mb: int = Field(
        512, ge=64, le=65536, description="Memory of each process of the embedded server for throw-away databases."
    )
    cache_mb: int = Field(32, ge=0, le=65536, description="Memory for cached verdicts, per API process.")
    in_flight_mb: int = Field(
        128, ge=64, le=65536, description="Request bodies held at once, per API process; beyond it 503."
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least severe log line.")
    log_json: bool = Field(False, description="Log JSON lines instead of text.")
