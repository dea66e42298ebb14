"""What every backend must prove before it runs anything: hostile probes, each with the only answer that will do.

One suite for all backends. A probe is a program; what it prints is its answer, and the sandbox may have ended it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbox.base import Job, Limits, Program, Ran, Run, Split, Status, Stdio

RunJob = Callable[[Job], Awaitable[Ran]]
_TIGHT = Limits(cpu_s=0.3, wall_s=2.0, memory_mb=48, processes=8, output_kb=16, disk_mb=2)


@dataclass(frozen=True, slots=True)
class Probe:
    """A program, how it must end, and what it must print."""

    name: str
    source: str
    status: Status = Status.OK
    prints: str | None = "contained"
    limits: Limits = _TIGHT


def _refused(call: str, *, before: str = "") -> str:
    """A program that prints `contained` where `call`, a libc call in ctypes, fails."""
    return (
        "import ctypes, os, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"{before}\n"
        f"print('contained' if {call} == -1 else 'reached')"
    )


PROBES = (
    Probe("runs a program", "print(6 * 7)", prints="42"),
    Probe(
        "has no privilege",
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "import os\n"
        "bad = [name for name, value in (('CapEff', 0), ('CapPrm', 0), ('CapBnd', 0), ('CapInh', 0))\n"
        "       if int(status[name], 16) != value]\n"
        "bad += [name for name, value in (('NoNewPrivs', '1'), ('Seccomp', '2')) if status[name].strip() != value]\n"
        "print('contained' if not bad and os.getuid() else bad)",
    ),
    Probe("makes no user namespace", _refused("libc.unshare(0x10000000)")),
    Probe("mounts nothing", _refused("libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)")),
    Probe("traces no process", _refused("libc.ptrace(16, 1, 0, 0)")),
    Probe(
        "loads no program into the kernel",
        _refused("libc.syscall(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)"),
    ),
    Probe(
        "reaches no network",
        "import socket\n"
        "reached = []\n"
        "for address in (('127.0.0.1', 9), ('169.254.169.254', 80), ('192.0.2.1', 53)):\n"
        "    try:\n"
        "        socket.create_connection(address, 0.2)\n"
        "        reached.append(address)\n"
        "    except ConnectionRefusedError:\n"
        "        reached.append(address)\n"
        "    except OSError:\n"
        "        pass\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:  # which Landlock does not know\n"
        "        try:\n"
        "            datagrams.connect(address)\n"
        "            reached.append(address)\n"
        "        except OSError:\n"
        "            continue\n"
        "print(reached or 'contained')",
    ),
    Probe(
        "opens no raw socket",
        _refused("max(libc.socket(17, 3, 0), libc.socket(40, 1, 0), libc.socket(16, 3, 0))"),
    ),
    Probe(
        "sees no process but its own",
        "import os\n"
        "seen = [name for name in os.listdir('/proc') if name.isdigit()]\n"
        "print('contained' if seen == ['1'] else seen)",
    ),
    Probe(
        "writes only to its working folder",
        "import os\n"
        "written = []\n"
        "for folder in ('/', '/usr', '/etc', '/dev', '/proc', '/job', '/proc/sys/kernel'):\n"
        "    try:\n"
        "        open(folder + '/probe', 'w').close()\n"
        "        written.append(folder)\n"
        "    except OSError:\n"
        "        continue\n"
        "open('probe', 'w').close()\n"
        "print(written or 'contained')",
    ),
    Probe(
        "sees nothing of the host",
        "import os\n"
        "seen = [path for path in ('/root/.ssh', '/home', '/var/lib', '/etc/shadow', '/var/run/docker.sock',\n"
        "        '/sys/kernel') if os.path.exists(path)]\n"
        "secrets = [name for name in os.environ if name.startswith(('ASSAY', 'AWS', 'HF_', 'PG'))]\n"
        "print(seen + secrets or 'contained')",
    ),
    Probe(
        "finds nothing of an earlier run",
        "import os\n"
        "print('contained' if os.listdir('/tmp') == ['work'] and os.listdir('.') == ['main.py'] else 'found')",
    ),
    Probe("is held to its processor time", "while True: pass", Status.CPU, None),
    Probe(
        "is held to its time",
        "import time\ntime.sleep(60)",
        Status.WALL,
        None,
        Limits(cpu_s=0.3, wall_s=0.3, memory_mb=48, processes=8),
    ),
    Probe("is held to its memory", "held = [bytearray(2**20) for _ in range(300)]", Status.MEMORY, None),
    Probe("is held to its output", "while True: print('x' * 1000)", Status.OUTPUT, None),
    Probe(
        "is held to its processes",
        "import os, time\n"
        "try:\n"
        "    for _ in range(100):\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(5)\n"
        "    print('unbounded')\n"
        "except OSError:\n"
        "    print('contained')\n",
    ),
    Probe(
        "is held to its disk",
        "try:\n"
        "    for number in range(64):\n"
        "        open(f'f{number}', 'wb').write(bytes(2**18))\n"
        "    print('unbounded')\n"
        "except OSError:\n"
        "    print('contained')\n",
    ),
    Probe(
        "leaves a daemon behind",
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open('/tmp/left', 'w').close()\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('contained')",
    ),
    Probe("and finds it gone", "import os\nprint('found' if os.path.exists('/tmp/left') else 'contained')"),
)
"""In this order, in one cell."""

SPLIT = Job(
    Program(b"def double(x): return 2 * x"),
    Split(["assert double(4) == 8", "assert double(4) == 9"], names=["double"]),
    _TIGHT,
)


async def failures(run: RunJob) -> list[str]:
    """What the cell behind `run` does not hold of the promises, in words; nothing where it holds them all."""
    failed = []
    for probe in PROBES:
        ran = await run(Job(Program(probe.source.encode()), Stdio([b""]), probe.limits))
        if (why := _wrong(probe, ran)) is not None:
            failed.append(f"a program that {probe.name}: {why}")
        await asyncio.sleep(0)
    statuses = [result.status for result in (await run(SPLIT)).runs]
    if statuses != [Status.OK, Status.FAILED]:
        failed.append(f"tests apart from their program: {', '.join(statuses) or 'no result'}")
    return failed


def _wrong(probe: Probe, ran: Ran) -> str | None:
    if len(ran.runs) != 1:
        return "no result"
    result: Run = ran.runs[0]
    printed = result.stdout.decode("utf-8", "replace").strip()
    if result.status is not probe.status:
        last = result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"ended with {result.status} instead of {probe.status} {last[:100]}".strip()
    if probe.prints is not None and printed != probe.prints:
        return f"answered {printed[:100]!r} instead of {probe.prints!r}"
    return None
