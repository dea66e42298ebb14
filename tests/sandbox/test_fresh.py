"""A run starts from nothing: no file, process or memory of the runs before it, and an environment that is known."""

from __future__ import annotations

import ast
import asyncio
from typing import Any

import pytest

from sandbox.base import Job, Limits, Stdio
from sandbox.cell.python import ENVIRONMENT
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import calls, one, program, run, split, stdio


async def printed(sandbox: LiveSandbox, source: str, **more: Any) -> Any:
    """What a program printed, as the literal that it is."""
    result = await one(sandbox, source, **more)
    assert result.status == "ok", result
    return ast.literal_eval(result.stdout.decode())


LITTER = (
    "import os, time\n"
    "open('/tmp/left', 'w').write('x'); open('/tmp/work/left', 'w').write('x'); os.mkfifo('/tmp/fifo')\n"
    "open('/dev/shm/left', 'w').write('x')\n"
    "os.environ['LEFT'] = 'x'; os.umask(0); os.nice(5)\n"
    "import json, re, sys; json.left = re.left = sys.left = 1; sys.setrecursionlimit(77)\n"
    "if not os.fork():\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    "    time.sleep(1000)\n"
)
LOOK = (
    "import os, json, re, sys\n"
    "print([sorted(os.listdir('/tmp')), os.listdir('.'), [n for n in os.listdir('/proc') if n.isdigit()],\n"
    "       'LEFT' in os.environ, hasattr(json, 'left'), hasattr(sys, 'left'), sys.getrecursionlimit(),\n"
    "       os.umask(18), os.nice(0), sorted(os.listdir('/job')), os.getpid()])"
)
FRESH = [["work"], ["main.py"], ["1"], False, False, False, 1000, 18, 0, [], 1]


async def test_nothing_of_an_earlier_run_is_left(sandbox: LiveSandbox) -> None:
    for _ in range(8):  # in whichever cells
        await one(sandbox, LITTER)
        await run(sandbox, calls(LITTER + "def f(): open('/tmp/more', 'w')", "f", [], []))
        await run(sandbox, split(LITTER + "def f(): return 1", ["assert f() == 1"], names=["f"]))
        await run(sandbox, stdio(LITTER, fetch=["left"]))
        assert await printed(sandbox, LOOK) == FRESH


async def test_nothing_of_an_earlier_case_is_left(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, stdio(LOOK + "\n" + LITTER, b"", b"", b"", fetch=["main.py"]))
    assert [ast.literal_eval(each.stdout.decode()) for each in ran.runs] == [FRESH] * 3


async def test_a_compiled_program_cannot_change_itself(sandbox: LiveSandbox) -> None:
    source = (
        "#include <stdio.h>\n#include <unistd.h>\n#include <fcntl.h>\n"
        "int main() { printf(\"%d %d %d\\n\", unlink(\"/job/main\"), open(\"/job/main\", O_WRONLY),"
        " open(\"/job/new\", O_CREAT | O_WRONLY, 0600)); }"
    )  # fmt: skip
    ran = await run(sandbox, stdio(source, b"", b"", language="c"))
    assert [each.stdout for each in ran.runs] == [b"-1 -1 -1\n"] * 2


SEARCH = (
    "import re\n"
    "parts = {parts!r}\n"  # never whole, or the search would find what it looks for in itself
    "found = []\n"
    "with open('/proc/self/maps') as maps:\n"
    "    ranges = [[int(n, 16) for n in line.split()[0].split('-')] for line in maps if '[v' not in line]\n"
    "with open('/proc/self/mem', 'rb', 0) as memory:\n"
    "    for start, end in ranges:\n"
    "        while start < end:\n"
    "            try:\n"
    "                memory.seek(start); data = memory.read(min(end - start, 2**22))\n"
    "            except (OSError, ValueError, OverflowError): break\n"
    "            if not data: break\n"
    "            for first, second in parts:\n"
    "                if any(data[m.end():m.end() + len(second)] == second for m in re.finditer(first, data)):\n"
    "                    found.append(first)\n"
    "            start += len(data)\n"
    "print(found)\n"
)


async def test_no_memory_of_earlier_programs_inputs_outputs_and_tests(sandbox: LiveSandbox) -> None:
    """Every byte of a run's memory is searched; that the search works is shown by what the run holds itself."""
    names = ["source", "input0", "output", "argumt", "value0", "tested", "filed0", "fetchd"]
    secrets = {name: f"{name}-{index}-93d1c7".encode() for index, name in enumerate(names)}
    for _ in range(6):
        await run(sandbox, stdio(f"# {secrets['source'].decode()}\nimport sys\nx = sys.stdin.read()\n"
                                 f"print(bytes({list(secrets['output'])}))", secrets["input0"],
                                 files={"f": secrets["filed0"]}))  # fmt: skip
        await run(sandbox, stdio(f"open('f', 'wb').write(bytes({list(secrets['fetchd'])}))", fetch=["f"]))
        await run(sandbox, calls(f"def f(x): return ''.join(map(chr, {list(secrets['value0'])}))", "f",
                                 [secrets["argumt"].decode()]))  # fmt: skip
        await run(sandbox, split("def f(x): return x", [f"assert f(1) == 1, '{secrets['tested'].decode()}'"],
                                 names=["f"]))  # fmt: skip
    search = SEARCH.format(parts=[(secret[:6], secret[6:]) for secret in secrets.values()])
    limits = Limits(cpu_s=30, wall_s=60)
    for _ in range(6):
        assert await printed(sandbox, search, limits=limits) == []
    shown = await printed(sandbox, f"held = bytes({list(secrets['source'])})\n" + search, limits=limits)
    assert secrets["source"][:6] in shown


async def test_the_environment_is_the_documented_one(sandbox: LiveSandbox) -> None:
    expected = {"PATH", "HOME", "TMPDIR", "LANG"}
    assert ENVIRONMENT.keys() == expected
    assert await printed(sandbox, "import os; print(dict(os.environ))") == ENVIRONMENT
    result = await one(sandbox, "env", language="bash")
    shown = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
    assert {name: shown[name] for name in expected} == ENVIRONMENT
    assert shown.keys() - expected <= {"PWD", "SHLVL", "_", "OLDPWD"}
    child = "import subprocess, sys; print(subprocess.run(['env'], capture_output=True, text=True).stdout.split())"
    assert sorted(await printed(sandbox, child)) == sorted(f"{name}={text}" for name, text in ENVIRONMENT.items())


async def test_who_and_where_a_run_is(sandbox: LiveSandbox) -> None:
    source = (
        "import os, sys, pwd, getpass\n"
        "print([os.getuid(), os.getgid(), os.geteuid(), os.getgroups(), os.getcwd(), sys.argv, __file__, __name__,\n"
        "       sys.path[0], os.path.expanduser('~'), pwd.getpwuid(os.getuid()).pw_name,\n"
        "       os.getpgrp() == os.getpid(), os.getsid(0), sys.flags.optimize, sys.stdout.encoding,\n"
        "       sys.getfilesystemencoding()])"
    )
    found = await printed(sandbox, source)
    assert found[:3] == [1000, 1000, 1000]
    assert set(found[3]) <= {1000, 65534}
    assert found[4:] == [
        "/tmp/work", ["/tmp/work/main.py"], "/tmp/work/main.py", "__main__", "/tmp/work", "/tmp/work",
        "user", True, 1, 0, "utf-8", "utf-8",
    ]  # fmt: skip


async def test_the_host_does_not_show(sandbox: LiveSandbox) -> None:
    source = (
        "import os\n"
        "print([sorted(os.listdir('/')), sorted(os.listdir('/dev')), sorted(os.listdir('/proc/self/fd')),\n"
        "       open('/proc/self/cgroup').read(), os.path.exists('/root/x'), os.readlink('/proc/1/exe')])"
    )
    top, devices, descriptors, _, _, _ = await printed(sandbox, source)
    assert {"fd", "null", "random", "urandom", "zero"} <= set(devices)
    assert not {"kmsg", "mem", "sda", "vda", "kvm", "fuse"} & set(devices)
    assert descriptors == ["0", "1", "2", "3"]  # the last is what lists them
    assert not {"work", "data"} & set(top)


async def test_descriptors_of_a_call(sandbox: LiveSandbox) -> None:
    source = "import os\ndef f(): return sorted(os.listdir('/proc/self/fd'))"
    ran = await run(sandbox, calls(source, "f", []))
    assert b'"8"' not in ran.runs[0].value
    assert len(ast.literal_eval(ran.runs[0].value.decode())) <= 6


async def test_randomness_is_fresh_and_hashes_are_not(sandbox: LiveSandbox) -> None:
    source = (
        "import random, os, uuid; print([random.random(), os.urandom(8).hex(), str(uuid.uuid4()), hash('assay')])"
    )
    found = [await printed(sandbox, source) for _ in range(6)]
    for index in range(3):
        assert len({each[index] for each in found}) == 6
    assert len({each[3] for each in found}) == 1  # the same item, the same verdict
    ran = await run(sandbox, calls("import random\ndef f(): return random.random()", "f", [], []))
    assert len({each.value for each in ran.runs}) in (1, 2)
    again = await run(sandbox, calls("import random\ndef f(): return random.random()", "f", []))
    assert again.runs[0].value != ran.runs[0].value


async def test_hashes_are_the_same_in_a_child(sandbox: LiveSandbox) -> None:
    source = "print([list({'a', 'b', 'c', 'd', 'e'}), hash(('x', 1))])"
    assert await printed(sandbox, source) == await printed(sandbox, source)


async def test_modules_are_as_in_a_plain_interpreter(sandbox: LiveSandbox) -> None:
    source = (
        "import sys\n"
        "print([[name for name in sys.modules if name.split('.')[0] in ('cell', 'sandbox')],\n"
        "       __import__('gc').isenabled(), __import__('gc').get_freeze_count() >= 0,\n"
        "       [p for p in sys.path if 'assay' in p or 'site-packages' in p]])"
    )
    assert await printed(sandbox, source) == [[], True, True, []]


@pytest.mark.parametrize("module", ["numpy", "sympy", "docker", "structlog", "sandbox", "cell", "app", "pip"])
async def test_the_services_own_packages_are_not_there(sandbox: LiveSandbox, module: str) -> None:
    result = await one(sandbox, f"import {module}")
    assert b"ModuleNotFoundError" in result.stderr


async def test_the_time_zone_and_locale(sandbox: LiveSandbox) -> None:
    assert await printed(sandbox, "import locale; print([locale.getpreferredencoding(), '\\u00e9'.encode()])") == [
        "utf-8", b"\xc3\xa9",
    ]  # fmt: skip


async def test_two_programs_at_once_do_not_meet(sandbox: LiveSandbox) -> None:
    source = (
        "import os, time, socket\n"
        "open('/tmp/mine', 'w').write(input()); open('/dev/shm/x', 'a').write('x')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0assay')\n"
        "time.sleep(0.3)\n"
        "print([open('/tmp/mine').read(), open('/dev/shm/x').read(),\n"
        "       [n for n in os.listdir('/proc') if n.isdigit()]])"
    )
    jobs = [run(sandbox, Job(program(source), Stdio([str(number).encode()]))) for number in range(4)]
    for number, ran in enumerate(await asyncio.gather(*jobs)):
        assert ast.literal_eval(ran.runs[0].stdout.decode()) == [str(number), "x", ["1"]], ran
