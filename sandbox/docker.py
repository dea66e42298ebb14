"""Cells in containers of a Docker engine: long-lived, hardened, without network, and without any capability."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions
import structlog
from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from sandbox import image as images
from sandbox.base import SandboxUnavailableError
from sandbox.cell.confine import STACK_BYTES
from sandbox.cells import Cell, Flavour, in_thread
from sandbox.channel import CellLostError, Channel
from sandbox.local import ALONGSIDE, FIRST_UID, ONE_THREAD, PROCESSES, START_S
from sandbox.start import command

log = structlog.get_logger()

LABEL = "assay.sandbox.cell"
"""Its value says whose a container is: the service's process, by id and start time."""
SECCOMP = Path(__file__).parent / "docker_seccomp.json"
TIMEOUT_S = 30
_numbers = itertools.count(1)
_DIST_PACKAGES = "/usr/lib/python3/dist-packages"
_FAULTS = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)
_GROUPS = (
    "/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct",
)  # fmt: skip
"""Where a container sees its own control group: version 2, and version 1's controllers."""


def missing(image: str | None) -> str:
    """Why Docker cannot be used here, in words; empty where an engine answers and has the image."""
    try:
        client = docker.from_env(timeout=5)
    except _FAULTS:
        return "no Docker engine answers"
    try:
        images.find(client, image)
    except SandboxUnavailableError as error:
        return str(error)
    except _FAULTS:
        return "no Docker engine answers"
    finally:
        client.close()
    return ""


class DockerCell(Cell):
    """A cell that is a container."""

    def __init__(self, channel: Channel, facts: Mapping[str, Any], flavour: Flavour, container: Container) -> None:
        super().__init__(channel, facts, flavour)
        self.container = container

    async def close(self) -> None:
        """See `Cell.close`."""
        self.channel.close()
        await asyncio.to_thread(_remove, self.container)


class DockerBackend:
    """Starts containers of one image. `memory_mb` is the most that all of a cell may have."""

    name = "docker"

    def __init__(self, image: str | None, runtime: str | None, memory_mb: int) -> None:
        self._image_name = image
        self._runtime = runtime
        self._memory_mb = memory_mb
        self._client: docker.DockerClient | None = None
        self._image = ""
        self._packages: dict[str, str] = {}

    @property
    def packages(self) -> Mapping[str, str]:
        """See `Backend.packages`."""
        return self._packages

    async def open(self) -> None:
        """See `Backend.open`."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            if self._client is None:
                self._client = docker.from_env(timeout=TIMEOUT_S)
            image = images.find(self._client, self._image_name)
            _sweep(self._client)
        except _FAULTS as error:
            raise SandboxUnavailableError(_no_engine(error)) from error
        self._image = str(image.id)
        self._packages = images.packages(image)

    async def start(self, flavour: Flavour) -> Cell:
        """See `Backend.start`."""
        channel = Channel(framed=True)
        made: tuple[Container, socket.socket] | None = None
        try:
            async with asyncio.timeout(START_S):
                made = await in_thread(lambda: self._start(flavour), _undo)
                await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=made[1])
                facts = await channel.hello
        except BaseException as error:
            channel.close()
            said = ""
            if made is not None:
                if isinstance(error, CellLostError | TimeoutError):
                    said = await asyncio.to_thread(_last_words, made[0])
                await asyncio.to_thread(_undo, made)
            if isinstance(error, CellLostError | TimeoutError):
                reason = str(error) or f"it was not ready within {START_S:.0f} s"
                raise SandboxUnavailableError(f"a Docker cell cannot start: {reason} {said}".strip()) from error
            if isinstance(error, _FAULTS):
                raise SandboxUnavailableError(_no_engine(error)) from error
            raise
        return DockerCell(channel, facts, flavour, made[0])

    def _start(self, flavour: Flavour) -> tuple[Container, socket.socket]:
        if self._client is None:
            raise SandboxUnavailableError("the Docker backend is not open")
        uid = FIRST_UID + (os.getpid() * 1024 + next(_numbers)) % 400_000_000
        parts = [part for name in sorted(flavour) for part in (name, *ALONGSIDE.get(name, ()))]
        shown = {file: f"{_DIST_PACKAGES}/{file}" for part in parts for file in (part, f"{part}.py")}  # either
        api = self._client.api
        isolation = api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=[
                "no-new-privileges",
                f"seccomp={json.dumps(json.loads(SECCOMP.read_text()))}",
                "apparmor=unconfined",  # its default profile forbids every mount, in a namespace of one's own too
            ],
            ipc_mode="none",
            mem_limit=f"{self._memory_mb}m",
            memswap_limit=f"{self._memory_mb}m",
            pids_limit=PROCESSES,
            nano_cpus=1_000_000_000,
            ulimits=[Ulimit(name="stack", soft=STACK_BYTES, hard=STACK_BYTES), Ulimit(name="core", soft=0, hard=0)],
            log_config=LogConfig(type=LogConfig.types.NONE),
            runtime=self._runtime,
            auto_remove=True,
        )
        # so that a run can have a /proc of its own, which the kernel allows only where one is wholly to be seen
        isolation |= {"MaskedPaths": [], "ReadonlyPaths": []}
        created = api.create_container(
            self._image,
            command(
                "/usr/bin/python3", "/assay", service_in=0, service_out=1, uid=uid, groups=_GROUPS, packages=shown,
                imports=sorted(flavour),
            ),
            user=f"{uid}:{uid}",
            environment={
                "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **ONE_THREAD,
            },
            labels={LABEL: _owner(os.getpid())},
            stdin_open=True,
            stop_signal="SIGKILL",  # a process 1 ignores a mere SIGTERM, and the engine would wait for it
            host_config=isolation,
        )  # fmt: skip
        container: Container = self._client.containers.get(created["Id"])
        try:
            attached = self._client.api.attach_socket(container.id, params={"stdin": 1, "stdout": 1, "stream": 1})
            ours = socket.socket(fileno=os.dup(attached.fileno()))
            attached.close()
            container.start()
        except BaseException:
            _remove(container)
            raise
        return container, ours

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {"image": self._image, "runtime": self._runtime or "the engine's default"}


def _no_engine(error: Exception) -> str:
    return f"the Docker engine does not do as asked: {error}; see that it runs and that this user may use it"


def _owner(pid: int) -> str:
    """A process of this host, told apart from a later one with its id."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{pid}:{started}"


def _sweep(client: docker.DockerClient) -> None:
    """Remove the containers of services that are gone."""
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        owner = container.labels[LABEL]
        if _owner(int(owner.partition(":")[0] or 0)) != owner:
            _remove(container)


def _remove(container: Container) -> None:
    """Kill a container with all that is in it. Where the engine is gone, so is the container, once it comes back."""
    try:
        container.remove(force=True)
    except docker.errors.APIError as error:
        if error.status_code not in (404, 409):  # gone already, or just going
            log.warning("a container cannot be removed", reason=str(error))
    except _FAULTS as error:
        log.warning("a container cannot be removed", reason=str(error))


def _undo(made: tuple[Container, socket.socket]) -> None:
    made[1].close()
    _remove(made[0])


def _last_words(container: Container) -> str:
    with contextlib.suppress(*_FAULTS):
        container.reload()
        return str(container.attrs["State"].get("Error", ""))
    return ""
