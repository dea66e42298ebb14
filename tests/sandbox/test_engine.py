"""A Docker engine that dies in the middle of a batch and comes back, and a pool that lives on meanwhile.

The engine is one of this test's own, so that nobody else's containers are harmed, with a small image made from the
shared engine's: the interpreter, its libraries, and `sandbox/cell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest

from sandbox import image
from sandbox.base import SandboxError, SandboxUnavailableError
from sandbox.open import open_sandbox
from sandbox.pool import SandboxPool
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import run, stdio, until

KEPT = (
    "usr/bin/python3", "usr/lib/python3", "usr/lib/x86_64-linux-gnu/l", "usr/lib/aarch64-linux-gnu/l", "usr/lib64",
    "usr/lib/ld-linux", "assay", "etc/ld.so", "etc/alternatives",
)  # fmt: skip
"""What of the image is copied, by how its paths begin; and links in its root, and empty folders."""
LEFT_OUT = ("libLLVM", "libjvm", "librustc", "libicu", "libnode", "libgo", "dist-packages", "liblldb", "libclang")


class Engine:
    """A Docker engine below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for name in ("docker.pid", "exec/containerd/containerd.pid"):  # what one that was killed leaves behind
            (self.folder / name).unlink(missing_ok=True)
        command = [
            "dockerd", "--host", self.host, "--data-root", f"{self.folder}/data",
            "--exec-root", f"{self.folder}/exec",
            "--pidfile", f"{self.folder}/docker.pid", "--bridge", "none", "--iptables=false",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(docker.errors.DockerException):
                client = docker.DockerClient(self.host, timeout=5)
                client.close()
                return
            if time.monotonic() > end or self._process.poll() is not None:
                pytest.skip(
                    f"no second Docker engine for the sandbox here: {(self.folder / 'log').read_text()[-300:]}"
                )
            time.sleep(0.1)

    def kill(self) -> None:
        """As if it crashed; its containerd lives on, as it does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it and all that it started, and leave nothing."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._process.kill()
        self._process.wait()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if str(self.folder) in (entry / "cmdline").read_bytes().decode("utf-8", "replace"):
                    os.kill(int(entry.name), signal.SIGKILL)
        time.sleep(0.2)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if (point := line.split()[4]).startswith(str(self.folder)):
                subprocess.run(["umount", "--lazy", point], check=False)


@pytest.fixture(scope="module")
def engine(docker_sandbox: LiveSandbox) -> Iterator[Engine]:
    """An engine with the sandbox's image, in small; skips where no second one can run."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("only root can run a Docker engine for the sandbox, where one is installed")
    folder = Path(tempfile.mkdtemp(prefix="assay-engine-"))
    own = Engine(folder)
    try:
        own.start()
        small(folder / "image.tar")
        client = docker.DockerClient(own.host, timeout=120)
        with (folder / "image.tar").open("rb") as packed:
            data, tag = packed.read(), f"{image.tag()}-python"
            client.api.import_image_from_data(data, repository=image.REPOSITORY, tag=tag)
        client.close()
        yield own
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)


def small(target: Path) -> None:
    """As much of the shared engine's image as a Python cell needs, as an archive."""
    client = docker.from_env(timeout=120)
    container = client.containers.create(image.find(client, None), "true")
    try:
        with tempfile.TemporaryFile() as whole, tarfile.open(target, "w") as archive:
            for chunk in container.export(chunk_size=2**20):
                whole.write(chunk)
            whole.seek(0)
            with tarfile.open(fileobj=whole) as exported:
                for entry in exported:
                    kept = entry.name.startswith(KEPT) and not any(part in entry.name for part in LEFT_OUT)
                    if (
                        kept
                        or (entry.issym() and "/" not in entry.name)
                        or (entry.isdir() and entry.name.count("/") < 2)
                    ):
                        archive.addfile(entry, exported.extractfile(entry) if entry.isreg() else None)
    finally:
        container.remove(force=True)
        client.close()


async def outcome(opened: SandboxPool, number: int) -> str:
    """`right`, or the name of the error that says whose fault it is."""
    job = stdio("import time; time.sleep(0.1); print(int(input()) * 3)", *[str(number).encode()] * 3)
    try:
        ran = await run(opened, job)
    except SandboxError as error:
        return type(error).__name__
    assert [each.stdout for each in ran.runs] == [b"%d\n" % (3 * number)] * 3, ran
    return "right"


async def test_an_engine_that_is_killed_and_comes_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr("sandbox.pool.LAST_PAUSE_S", 1.0)
    opened = open_sandbox("docker", cells=2)
    await opened.start()
    try:
        assert opened.unavailable == ""
        batch = [asyncio.create_task(outcome(opened, number)) for number in range(40)]
        await until(lambda: sum(task.done() for task in batch) >= 4)
        await asyncio.to_thread(engine.kill)
        outcomes = await asyncio.gather(*batch)
        assert outcomes.count("right") >= 4
        assert set(outcomes) <= {"right", "SandboxUnavailableError", "SandboxFaultError"}
        await asyncio.to_thread(engine.start)
        end = time.monotonic() + 60
        while (said := await outcome(opened, 7)) != "right":  # it heals by itself
            assert said in ("SandboxUnavailableError", "SandboxFaultError")
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        assert await asyncio.gather(*[outcome(opened, number) for number in range(10)]) == ["right"] * 10
        client = docker.DockerClient(engine.host)
        try:
            await until(lambda: len(client.containers.list(all=True, ignore_removed=True)) <= 2)
        finally:
            client.close()
    finally:
        await opened.close()
    with pytest.raises(SandboxUnavailableError):
        await run(opened, stdio("print(1)"))


async def test_an_engine_that_hangs_holds_no_job_past_its_deadline(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells go on where they are there already; a new one has to wait."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr("sandbox.docker.TIMEOUT_S", 3)
    opened = open_sandbox("docker", cells=2)
    await opened.start()
    process = engine._process
    assert process is not None
    try:
        assert opened.unavailable == ""
        await run(opened, stdio("print(1)"))
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *[run(opened, stdio("print(1)"), within=1.5) for _ in range(6)], return_exceptions=True
        )
        assert time.monotonic() - began < 1.5 + 2
        assert all(isinstance(each, SandboxError) or each.runs[0].stdout == b"1\n" for each in outcomes)  # type: ignore[union-attr]
    finally:
        process.send_signal(signal.SIGCONT)
        await opened.close()
