"""Choosing a backend: `ASSAY_SANDBOX` is auto, docker or local."""

from __future__ import annotations

from typing import Literal

from sandbox import docker
from sandbox.cells import Backend
from sandbox.local import LocalBackend
from sandbox.pool import SandboxPool

Choice = Literal["auto", "docker", "local"]


def open_sandbox(
    choice: Choice, *, cells: int, runtime: str | None = None, image: str | None = None, memory_mb: int = 1024
) -> SandboxPool:
    """A pool on the chosen backend, not started yet; `auto` is Docker where an engine answers and has the image."""
    backend: Backend
    if choice == "local":
        backend, note = LocalBackend(memory_mb), "as ASSAY_SANDBOX says"
    elif choice == "docker":
        backend, note = docker.DockerBackend(image, runtime, memory_mb), "as ASSAY_SANDBOX says"
    elif missing := docker.missing(image):
        backend, note = LocalBackend(memory_mb), missing
    else:
        backend, note = docker.DockerBackend(image, runtime, memory_mb), "a Docker engine answers and has the image"
    return SandboxPool(backend, cells, memory_mb=memory_mb, note=note)
