"""Each limit holds in every language, for all that a run starts, and is told by its name."""

from __future__ import annotations

import time

import pytest

from sandbox.base import Limits, Run, Status
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import one, run, stdio

SMALL = Limits(cpu_s=0.3, wall_s=20.0, memory_mb=64, processes=8, output_kb=64, disk_mb=4)
SPIN = {
    "python": "while True: pass",
    "c": "int main() { for (;;); }",
    "cpp": "int main() { volatile int i = 0; for (;;) i = i + 1; }",
    "javascript": "for (;;);",
    "bash": "while :; do :; done",
}
SLEEP = {
    "python": "import time\nprint('awake', flush=True)\ntime.sleep(100)",
    "c": '#include <stdio.h>\n#include <unistd.h>\nint main() { puts("awake"); fflush(stdout); sleep(100); }',
    "javascript": "console.log('awake'); setTimeout(() => {}, 100000)",
    "bash": "echo awake; sleep 100",
}
EAT = {
    "python": "held = []\nwhile True: held.append(bytearray(2**20))",
    "c": "#include <stdlib.h>\n#include <string.h>\nint main() { for (;;) { char *p = malloc(1 << 20);"
    " if (!p) return 1; memset(p, 1, 1 << 20); *(volatile char *)p; } }",
    "cpp": "#include <vector>\nint main() { std::vector<char *> v; for (;;) v.push_back(new char[1 << 20]()); }",
    "javascript": "const held = []; for (;;) held.push(new Array(1 << 17).fill(Math.random()));",
}
CHATTER = {
    "python": "while True: print('x' * 4096)",
    "c": '#include <stdio.h>\nint main() { for (;;) fputs("xxxxxxxxxxxxxxxx", stdout); }',
    "cpp": '#include <iostream>\nint main() { for (;;) std::cout << "xxxxxxxxxxxxxxxx"; }',
    "javascript": "const fs = require('fs'); for (;;) fs.writeSync(1, 'x'.repeat(4096));",
    "bash": "yes",
}


async def limited(sandbox: LiveSandbox, language: str, source: str, limits: Limits = SMALL) -> Run:
    began = time.monotonic()
    result = await one(sandbox, source, language=language, limits=limits)
    assert time.monotonic() - began < 60
    return result


@pytest.mark.parametrize("language", SPIN)
async def test_processor_time(sandbox: LiveSandbox, language: str) -> None:
    result = await limited(sandbox, language, SPIN[language])
    assert result.status is Status.CPU
    assert 250 < result.cpu_ms < 3000


@pytest.mark.parametrize("language", SLEEP)
async def test_time(sandbox: LiveSandbox, language: str) -> None:
    result = await limited(sandbox, language, SLEEP[language], Limits(wall_s=0.7))
    assert (result.status, result.stdout) == (Status.WALL, b"awake\n")
    assert result.wall_ms >= 700


@pytest.mark.parametrize("language", EAT)
async def test_memory(sandbox: LiveSandbox, language: str) -> None:
    limits = Limits(cpu_s=20, wall_s=60, memory_mb=64, processes=8)
    assert (await limited(sandbox, language, EAT[language], limits)).status is Status.MEMORY


@pytest.mark.parametrize("language", CHATTER)
async def test_output(sandbox: LiveSandbox, language: str) -> None:
    result = await limited(sandbox, language, CHATTER[language], Limits(cpu_s=10, output_kb=64))
    assert (result.status, len(result.stdout)) == (Status.OUTPUT, 64 * 1024)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("size", "status"), [(65535, "ok"), (65536, "ok"), (65537, "output"), (10**6, "output")])
async def test_output_is_cut_exactly_at_its_limit(sandbox: LiveSandbox, stream: str, size: int, status: str) -> None:
    result = await limited(sandbox, "python", f"import sys; sys.{stream}.write('x' * {size})")
    assert (result.status, len(getattr(result, stream))) == (status, min(size, 65536))


async def test_what_was_written_before_a_limit_is_kept(sandbox: LiveSandbox) -> None:
    source = "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr)\nwhile True: pass"
    result = await limited(sandbox, "python", source)
    assert (result.status, result.stdout, result.stderr) == (Status.CPU, b"out\n", b"err\n")


# of all that a run starts


async def test_processor_time_of_children_counts_together(sandbox: LiveSandbox) -> None:
    source = "import os, time\nfor _ in range(4):\n    if not os.fork():\n        while True: pass\ntime.sleep(100)"
    result = await limited(sandbox, "python", source, Limits(cpu_s=0.8, wall_s=30))
    assert result.status is Status.CPU


async def test_processor_time_of_dead_children_counts(sandbox: LiveSandbox) -> None:
    source = (
        "import os, time\n"
        "while True:\n"
        "    if not os.fork():\n"
        "        end = time.process_time() + 0.05\n"
        "        while time.process_time() < end: pass\n"
        "        os._exit(0)\n"
        "    os.wait()"
    )
    assert (await limited(sandbox, "python", source, Limits(cpu_s=0.5, wall_s=30))).status is Status.CPU


async def test_processor_time_of_threads_counts_together(sandbox: LiveSandbox) -> None:
    source = (
        "#include <pthread.h>\nvoid *spin(void *p) { for (;;); }\n"
        "int main() { pthread_t t; for (int i = 0; i < 4; i++) pthread_create(&t, 0, spin, 0); pthread_join(t, 0); }"
    )
    assert (await limited(sandbox, "c", source, Limits(cpu_s=0.8, wall_s=30))).status is Status.CPU


async def test_memory_of_children_counts_together(sandbox: LiveSandbox) -> None:
    source = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if not os.fork():\n"
        "        held = b'x' * (40 * 2**20)\n"
        "        time.sleep(100)\n"
        "time.sleep(100)"
    )
    assert (await limited(sandbox, "python", source, Limits(wall_s=30, memory_mb=64))).status is Status.MEMORY
    assert (await limited(sandbox, "python", source, Limits(wall_s=1.5, memory_mb=256))).status is Status.WALL


async def test_a_child_that_exceeds_the_memory_and_is_waited_for(sandbox: LiveSandbox) -> None:
    source = "import os\nif not os.fork():\n    held = bytearray(b'x' * (200 * 2**20))\n    os._exit(0)\nos.wait()\n"
    assert (await limited(sandbox, "python", source, Limits(memory_mb=64))).status is Status.MEMORY


async def test_memory_enough_is_enough(sandbox: LiveSandbox) -> None:
    source = "held = b'x' * (56 * 2**20); print(len(held))"
    assert (await limited(sandbox, "python", source, Limits(memory_mb=64))).status is Status.OK


async def test_a_sandbox_lives_on_when_the_kernel_kills_for_memory(sandbox: LiveSandbox) -> None:
    source = "held = bytearray(b'x' * (3000 * 2**20))"
    result = await limited(sandbox, "python", source, Limits(cpu_s=20, memory_mb=1000))
    assert result.status is Status.MEMORY
    assert (await one(sandbox, "print(1)")).stdout == b"1\n"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "python",
            "import os, time\ncount = 0\ntry:\n    while True:\n        if not os.fork(): time.sleep(100)\n"
            "        count += 1\nexcept OSError:\n    print(count)",
        ),
        (
            "python",
            "import threading, time, os\ncount = 0\ntry:\n    while True:\n"
            "        threading.Thread(target=time.sleep, args=(100,)).start()\n        count += 1\n"
            "except RuntimeError:\n    print(count, flush=True)\n    os._exit(0)",
        ),
        (
            "c",
            "#include <stdio.h>\n#include <unistd.h>\nint main() { int n = 0; for (;;) { int p = fork();"
            " if (p < 0) break; if (!p) { sleep(100); _exit(0); } n++; } printf(\"%d\\n\", n); }",
        ),
    ],
)  # fmt: skip
async def test_processes_and_threads(sandbox: LiveSandbox, language: str, source: str) -> None:
    result = await limited(sandbox, language, source, Limits(processes=8))
    assert result.status is Status.OK
    assert 4 <= int(result.stdout) <= 12


async def test_a_fork_bomb_is_no_bomb(sandbox: LiveSandbox) -> None:
    source = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    result = await limited(sandbox, "python", source, Limits(cpu_s=0.5, wall_s=10, processes=16))
    assert result.status is Status.CPU
    assert (await one(sandbox, "import os\nif os.fork(): print(os.wait()[1])")).stdout == b"0\n"


async def test_disk(sandbox: LiveSandbox) -> None:
    source = (
        "import errno\ntotal = 0\ntry:\n    for number in range(100):\n"
        "        total += open(f'f{number}', 'wb').write(bytes(2**18))\n"
        "except OSError as error:\n    print(errno.errorcode[error.errno], total)"
    )
    code, total = (await limited(sandbox, "python", source)).stdout.split()
    assert code == b"ENOSPC"
    assert 3 * 2**20 <= int(total) <= 4 * 2**20


async def test_a_single_file(sandbox: LiveSandbox) -> None:
    source = "import os\nfile = os.open('f', os.O_CREAT | os.O_WRONLY)\ntry:\n    os.pwrite(file, b'x', 2**23)\n" \
             "except OSError as error:\n    print(error.errno)"  # fmt: skip
    assert (await limited(sandbox, "python", source)).stdout == b"27\n"  # EFBIG


async def test_inodes(sandbox: LiveSandbox) -> None:
    source = "try:\n    for number in range(10**6): open(f'{number}', 'w').close()\nexcept OSError as error:\n" \
             "    print(error.errno, number)"  # fmt: skip
    code, number = (await limited(sandbox, "python", source, Limits(disk_mb=4))).stdout.split()
    assert code == b"28"
    assert 900 < int(number) < 1100


async def test_open_files(sandbox: LiveSandbox) -> None:
    source = "import os\nheld = []\ntry:\n    while True: held.append(os.dup(0))\nexcept OSError as error:\n" \
             "    print(error.errno, len(held))"  # fmt: skip
    code, count = (await limited(sandbox, "python", source)).stdout.split()
    assert code == b"24"
    assert 200 < int(count) < 256


async def test_files_do_not_count_as_memory(sandbox: LiveSandbox) -> None:
    source = "for number in range(100): open(f'f{number}', 'wb').write(bytes(2**20))\nimport time; time.sleep(0.3)"
    assert (await limited(sandbox, "python", source, Limits(memory_mb=32, disk_mb=128))).status is Status.OK


# programs that would not end


async def test_a_program_that_closes_its_output_and_runs_on(sandbox: LiveSandbox) -> None:
    source = "import os\nprint('said', flush=True)\nos.close(1); os.close(2)\nwhile True: pass"
    result = await limited(sandbox, "python", source)
    assert (result.status, result.stdout) == (Status.CPU, b"said\n")


async def test_a_daemon_that_holds_the_pipes_ends_with_its_run(sandbox: LiveSandbox) -> None:
    source = (
        "import os, time\n"
        "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(100)\n    os._exit(0)\n"
        "os.wait()\nprint('ended')"
    )
    began = time.monotonic()
    result = await limited(sandbox, "python", source, Limits(wall_s=60))
    assert (result.status, result.stdout) == (Status.OK, b"ended\n")
    assert time.monotonic() - began < 30


async def test_signals_are_ignored_in_vain(sandbox: LiveSandbox) -> None:
    source = (
        "import signal\n"
        "for number in range(1, 65):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass"
    )
    assert (await limited(sandbox, "python", source)).status is Status.CPU


async def test_limits_count_for_each_run_anew(sandbox: LiveSandbox) -> None:
    source = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n" \
             "held = b'x' * (40 * 2**20)\nopen('f', 'wb').write(bytes(3 * 2**20))"  # fmt: skip
    limits = Limits(cpu_s=1.0, memory_mb=64, disk_mb=4)
    ran = await run(sandbox, stdio(source, *[b""] * 4, limits=limits))
    assert [each.status for each in ran.runs] == [Status.OK] * 4


async def test_deep_recursion_has_room(sandbox: LiveSandbox) -> None:
    source = (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(50000))"
    )
    assert (await one(sandbox, source)).stdout == b"50000\n"
    deep = "#include <stdio.h>\nint f(volatile int n) { char b[100]; b[n % 100] = 1;" \
           " return n ? f(n - 1) + b[n % 100] : 0; }\nint main() { printf(\"%d\\n\", f(1000000)); }"  # fmt: skip
    assert (await one(sandbox, deep, language="c")).stdout == b"1000000\n"
