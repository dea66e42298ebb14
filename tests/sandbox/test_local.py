"""Local cells without root, where user namespaces are refused, and after the service was killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from sandbox import groups, local
from sandbox.base import SandboxUnavailableError
from sandbox.docker import LABEL, _sweep
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import cells, family, gone

ROOT = Path(__file__).parent.parent.parent
SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
SCRIPT = """
import asyncio, sys, time
from sandbox.base import Calls, Job, Limits, Program, Split, Stdio
from sandbox.open import open_sandbox

async def main():
    pool = open_sandbox("local", cells=1)
    await pool.start()
    if pool.unavailable:
        print("unavailable:", pool.unavailable)
        return await pool.close()

    async def run(source, task=Stdio([b"7"]), limits=Limits()):
        return (await pool.run(Job(Program(source), task, limits), deadline=time.monotonic() + 60)).runs

    print([each.stdout for each in await run(b"print(int(input()) * 6)")])
    print([each.value for each in await run(b"def f(x): return x + 1", Calls("f", [b"[[1], {}]"]))])
    print([each.status.value for each in await run(b"def f(x): return x", Split(["assert f(1) == 1"], names=["f"]))])
    for source, limits in ((b"while True: pass", Limits(cpu_s=0.3)),
                           (b"x = bytearray(b'x' * 2**28)", Limits(memory_mb=64)),
                           (b"import time; time.sleep(99)", Limits(wall_s=0.3))):
        print([each.status.value for each in await run(source, limits=limits)])
    look = b"import os; print(os.getuid(), [n for n in os.listdir('/proc') if n.isdigit()])"
    print([each.stdout for each in await run(look)])
    await pool.close()

asyncio.run(main())
"""
EXPECTED = [
    "[b'42\\n']", "[b'2']", "['ok']", "['cpu']", "['memory']", "['wall']", "[b\"1000 ['1']\\n\"]",
]  # fmt: skip


@pytest.fixture(scope="module")
def readable() -> Iterator[Path]:
    """What a user without rights needs of this repository and of its packages, where that user can read it."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", check], check=False).returncode:
        pytest.skip(f"{SYSTEM_PYTHON} is not there, or older than 3.11")
    folder = Path("/var/tmp") / f"assay-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("structlog", "docker", "requests", "urllib3", "idna", "certifi", "charset_normalizer"):
            [module] = [Path(path) / name for path in sys.path if (Path(path) / name).is_dir()][:1]
            shutil.copytree(module, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "script.py").write_text(SCRIPT)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder
    finally:
        shutil.rmtree(folder)


def environment(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def without_log(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if not line.startswith("20")]


def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def as_user(folder: Path) -> list[str]:
    """What the script prints, run without root's rights by the system's own Python."""
    ran = subprocess.run(
        [*(NOBODY if os.geteuid() == 0 else []), SYSTEM_PYTHON, "-S", "script.py"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert ran.returncode == 0, ran
    return without_log(ran.stdout)


def test_it_needs_no_root(readable: Path) -> None:
    if Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        pytest.skip("this host allows no user namespaces")
    assert as_user(readable) == EXPECTED


def test_without_user_namespaces_it_says_what_to_change(readable: Path) -> None:
    """The bound is set in a user namespace of this test's own, below which nobody may then make another."""
    if os.geteuid() != 0:
        pytest.skip("only root can map the users that it takes")
    bound = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    command = [*NOBODY, SYSTEM_PYTHON, "-S", "script.py"]
    started = subprocess.Popen(
        # once more a shell, which is root there because the users are mapped by then
        ["unshare", "--user", "sh", "-c", 'read go && exec sh -c "$@"', "sh", bound, "sh", *command],
        cwd=readable,
        env=environment(readable),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    own = Path("/proc/self/ns/user").readlink()
    until(lambda: Path(f"/proc/{started.pid}/ns/user").readlink() != own)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{started.pid}/{name}").write_text("0 0 65536")
    said, _ = started.communicate("go\n", timeout=120)
    [line] = without_log(said)
    assert line.startswith("unavailable: a local cell cannot start: ")
    assert "user.max_user_namespaces" in line
    assert "ASSAY_SANDBOX=docker" in line


KILLED = """
import asyncio, sys, time
from sandbox.base import Job, Limits, Program, Stdio
from sandbox.open import open_sandbox

async def main():
    pool = open_sandbox(sys.argv[1], cells=2)
    await pool.start()
    assert not pool.unavailable, pool.unavailable
    forks = b"import os, time\\nfor _ in range(3): os.fork()\\nos.fork() or os.setsid()\\ntime.sleep(3600)"
    limits = Limits(cpu_s=600, wall_s=3600)
    jobs = [Job(Program(source), Stdio([b""]), limits) for source in (forks, b"while True: pass")]
    running = [asyncio.create_task(pool.run(job, deadline=time.monotonic() + 3600)) for job in jobs]
    while pool.busy < 2: await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    if sys.argv[1] == "docker":
        cells = list(pool._alive)
        for cell in cells: cell.container.reload()
        print(*[cell.container.attrs["State"]["Pid"] for cell in cells], flush=True)
    else:
        print(*[cell.process.pid for cell in pool._alive], flush=True)
    await asyncio.gather(*running)

asyncio.run(main())
"""


@pytest.mark.parametrize("choice", ["local", "docker"])
def test_a_service_that_is_killed_takes_its_cells_along(request: pytest.FixtureRequest, choice: str) -> None:
    live: LiveSandbox = request.getfixturevalue(f"{choice}_sandbox")
    started = subprocess.Popen(
        [sys.executable, "-c", KILLED, choice], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    with started.stdout:
        firsts: list[int] = []
        while not firsts and (line := started.stdout.readline()):
            firsts = [int(word) for word in line.split()] if line.replace(" ", "").strip().isdigit() else []
        assert len(firsts) == 2
        pids = [pid for first in firsts for pid in family(first)]
        assert len(pids) > 8
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    until(lambda: all(map(gone, pids)))
    if choice == "local":
        swept = groups.parents()
        groups.sweep(swept)
        bases = {folder for base in swept.values() for folder in (base, base.parent)}
        assert [folder for base in bases for folder in base.glob(f"{groups.PREFIX}{started.pid}-*")] == []
    else:
        client = docker.from_env()
        try:
            _sweep(client)

            def left() -> list[str]:
                found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
                return [label for each in found if (label := each.labels[LABEL]).startswith(f"{started.pid}:")]

            until(lambda: not left())
        finally:
            client.close()
    assert live.unavailable == ""


def test_what_it_says_of_itself(local_sandbox: LiveSandbox) -> None:
    told = local_sandbox.pool.describe()
    assert told["user_namespaces"] == "one for each cell"
    assert told["as_root"] == (os.geteuid() == 0)
    assert isinstance(told["control_groups"], list)


def test_the_command_of_a_cell_shows_no_secret(local_sandbox: LiveSandbox) -> None:
    """Everybody on a host can read what its processes were started with."""
    for cell in cells(local_sandbox.pool):
        pid = cell.process.pid  # type: ignore[attr-defined]
        environment = dict(
            line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line
        )
        assert environment.keys() <= {
            "PATH", "LANG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        }  # fmt: skip


def test_a_cell_that_cannot_begin_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(changed: list[str]) -> str:
        monkeypatch.setattr(local, "command", lambda *_, **__: changed)
        with pytest.raises(SandboxUnavailableError) as caught:
            await local.LocalBackend(256).start(frozenset())
        return str(caught.value)

    before = family(os.getpid())
    assert "the cell ended" in asyncio.run(start(["/bin/false"]))
    assert "No such file" in asyncio.run(start(["/no/such/interpreter"]))
    garbage = (
        "import os, stat\n"
        "for number in range(3, 100):\n"
        "    try:\n"
        "        if stat.S_ISSOCK(os.fstat(number).st_mode): os.write(number, b'\\xff' * 100)\n"
        "    except OSError: pass\n"
        "import time; time.sleep(60)"
    )
    assert "broke its protocol" in asyncio.run(start([sys.executable, "-c", garbage]))
    monkeypatch.setattr(local, "START_S", 0.3)
    assert "not ready within" in asyncio.run(start(["/bin/sleep", "60"]))
    assert [pid for pid in family(os.getpid()) if not gone(pid)] == [pid for pid in before if not gone(pid)]
