"""What both backends promise of any program: how it is run, and how its end is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import pytest

from sandbox.base import Job, Limits, NotOfferedError, Program, Ran, Status, Stdio
from sandbox.cell.limits import MAX_COUNT, MOST
from sandbox.languages import LANGUAGES
from sandbox.selfcheck import PROBES, failures
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import one, program, run, stdio

ECHOES: Mapping[str, str] = {
    "python": "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
    "javascript": "process.stdin.pipe(process.stdout)",
    "typescript": "const from: NodeJS.ReadStream = process.stdin; from.pipe(process.stdout)",
    "c": "#include <stdio.h>\nint main() { int c; while ((c = getchar()) != EOF) putchar(c); return 0; }",
    "cpp": "#include <bits/stdc++.h>\nint main() { std::cout << std::cin.rdbuf(); }",
    "java": "public class Echo { public static void main(String[] a) throws Exception"
    " { System.in.transferTo(System.out); System.out.flush(); } }",
    "go": 'package main\nimport ("io"; "os")\nfunc main() { io.Copy(os.Stdout, os.Stdin) }',
    "rust": "fn main() { std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap(); }",
    "bash": "cat",
}
BROKEN: Mapping[str, str] = {
    "python": "def",
    "javascript": "function {",
    "typescript": "const = 3",
    "c": "int main() { return nothing; }",
    "cpp": "int main() { return nothing; }",
    "java": "public class Main { nothing }",
    "go": "package main\nfunc main() { nothing }",
    "rust": "fn main() { nothing }",
    "bash": "if",
}
FAILING: Mapping[str, str] = {
    "python": "raise SystemExit(3)",
    "javascript": "process.exit(3)",
    "typescript": "process.exit(3 as number)",
    "c": "int main() { return 3; }",
    "cpp": "int main() { return 3; }",
    "java": "public class Main { public static void main(String[] a) { System.exit(3); } }",
    "go": 'package main\nimport "os"\nfunc main() { os.Exit(3) }',
    "rust": "fn main() { std::process::exit(3) }",
    "bash": "exit 3",
}
FIRST = ("python", "javascript", "c", "cpp")
"""Those that every full sandbox has to have."""


async def offered(sandbox: LiveSandbox, language: str) -> None:
    """Skip where the sandbox lacks a language that it may lack."""
    try:
        await run(sandbox, stdio("", language=language, limits=Limits(wall_s=10)))
    except NotOfferedError:
        if language in FIRST:
            raise
        pytest.skip(f"this host has no {language}")


async def test_it_isolates_as_promised(sandbox: LiveSandbox) -> None:
    async def run_job(job: Job) -> Ran:
        return await run(sandbox, job)

    assert await failures(run_job) == []
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_there_are_programs_for_every_language() -> None:
    assert ECHOES.keys() == BROKEN.keys() == FAILING.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_language_runs_reports_and_refuses(sandbox: LiveSandbox, language: str) -> None:
    await offered(sandbox, language)
    sent = (b"hello \xff\xfe world\n", b"")
    ran = await run(sandbox, stdio(ECHOES[language], *sent, language=language))
    compiled = bool(LANGUAGES[language].compile)
    assert [(each.status, each.exit_code, each.stderr) for each in ran.runs] == [(Status.OK, 0, b"")] * 2, ran
    if language != "java":  # whose bytes pass through unchanged too, but for what its runtime says
        assert [each.stdout for each in ran.runs] == list(sent)
    assert (ran.prepared is not None and ran.prepared.status is Status.OK) == compiled

    failed = await one(sandbox, FAILING[language], language=language)
    assert (failed.status, failed.exit_code, failed.signal) == (Status.EXIT, 3, None), failed

    broken = await run(sandbox, stdio(BROKEN[language], b"", b"", language=language))
    if compiled:
        assert broken.prepared is not None
        assert broken.prepared.status is Status.EXIT
        assert broken.prepared.stdout + broken.prepared.stderr
        assert broken.runs == []
    else:
        assert broken.prepared is None
        assert [each.status for each in broken.runs] == [Status.EXIT] * 2
        assert all(each.stderr for each in broken.runs)


async def test_a_compile_error_is_told_in_the_compilers_words(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, stdio(BROKEN["c"], language="c"))
    assert ran.prepared is not None
    assert b"nothing" in ran.prepared.stderr
    assert b"undeclared" in ran.prepared.stderr


async def test_a_compilation_has_limits_of_its_own(sandbox: LiveSandbox) -> None:
    endless = (
        "constexpr long f(long n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\nstatic_assert(f(60) > 0);int main(){}"
    )
    job = Job(program(endless, "cpp"), Stdio([b""]), compile_limits=Limits(cpu_s=0.3, wall_s=20, memory_mb=1024))
    ran = await run(sandbox, job)
    assert ran.prepared is not None
    assert ran.prepared.status in (
        Status.CPU,
        Status.EXIT,
    )  # a compiler may have a bound of its own on what it computes
    assert ran.runs == []


async def test_an_uncaught_exception_is_told_as_the_interpreter_does(sandbox: LiveSandbox) -> None:
    result = await one(sandbox, "def inner():\n    return 1 / 0\ninner()")
    assert (result.status, result.exit_code) == (Status.EXIT, 1)
    assert result.stderr == (
        b"Traceback (most recent call last):\n"
        b'  File "/tmp/work/main.py", line 3, in <module>\n    inner()\n'
        + (b"    ~~~~~^^\n" if b"~~~~~^^\n  File" in result.stderr else b"")
        + b'  File "/tmp/work/main.py", line 2, in inner\n    return 1 / 0\n           ~~^~~\n'
        b"ZeroDivisionError: division by zero\n"
    )


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit('words')", 1),
        ("import sys; sys.exit(257)", 1),
        ("import os; os._exit(77)", 77),
        ("import atexit; atexit.register(lambda: print('late')); raise SystemExit(4)", 4),
        ("import sys; sys.stdout.close()", 0),
        ("import sys; sys.stdout = sys.stderr = None", 0),
    ],
)
async def test_exit_codes(sandbox: LiveSandbox, source: str, code: int) -> None:
    result = await one(sandbox, source)
    assert (result.status, result.exit_code) == (Status.EXIT if code else Status.OK, code)


async def test_what_a_program_registers_for_its_end_happens(sandbox: LiveSandbox) -> None:
    source = (
        "import atexit, threading, time\n"
        "atexit.register(print, 'registered')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
        "print('main')"
    )
    assert (await one(sandbox, source)).stdout == b"main\nthread\nregistered\n"


@pytest.mark.parametrize(
    ("language", "source", "died"),
    [
        ("python", "import os, signal; os.kill(os.getpid(), signal.SIGKILL); import time; time.sleep(0)", None),
        ("python", "import ctypes; ctypes.string_at(0)", signal.SIGSEGV),
        ("python", "import os; os.abort()", signal.SIGABRT),
        ("c", "int main() { *(volatile int *)0 = 1; }", signal.SIGSEGV),
        ("c", "#include <stdlib.h>\nint main() { abort(); }", signal.SIGABRT),
        ("cpp", "#include <stdexcept>\nint main() { throw std::runtime_error(\"x\"); }", signal.SIGABRT),
    ],
)  # fmt: skip
async def test_crashes(sandbox: LiveSandbox, language: str, source: str, died: int | None) -> None:
    result = await one(sandbox, source, language=language)
    if died is None:  # process 1 of a namespace is deaf to signals from itself
        assert result.status is Status.OK
    else:
        # Python runs as process 1, where a signal of its own ends it by an exit with the signal's number
        assert (result.status, result.signal or result.exit_code) == (
            Status.EXIT if language == "python" and died != signal.SIGSEGV else Status.SIGNAL,
            died,
        )


async def test_bytes_pass_unchanged(sandbox: LiveSandbox) -> None:
    every = bytes(range(256)) * 4 + b"\0\0\r\n\xed\xa0\x80\xff"
    assert (await one(sandbox, ECHOES["python"], every)).stdout == every


async def test_large_input_and_output(sandbox: LiveSandbox) -> None:
    large = os.urandom(2**20) * 8
    limits = Limits(output_kb=8 * 1024, wall_s=60)
    for language in ("python", "c"):
        result = await one(sandbox, ECHOES[language], large, language=language, limits=limits)
        assert (result.status, result.stdout == large) == (Status.OK, True), language


async def test_input_is_read_again_for_each_run_and_may_be_left_unread(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, stdio("print(input())", b"1\n2\n", b"\n", b"3"))
    assert [each.stdout for each in ran.runs] == [b"1\n", b"\n", b"3\n"]


async def test_the_two_outputs_are_apart(sandbox: LiveSandbox) -> None:
    result = await one(sandbox, "import sys; print('out'); print('err', file=sys.stderr)")
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


async def test_what_is_still_in_a_buffer_at_the_end_comes_out(sandbox: LiveSandbox) -> None:
    result = await one(sandbox, "import sys; sys.stdout.write('out'); sys.stderr.write('err')")
    assert (result.stdout, result.stderr) == (b"out", b"err")


async def test_times_are_told(sandbox: LiveSandbox) -> None:
    result = await one(sandbox, "import time\ntime.sleep(0.2)\nend = time.process_time() + 0.2\n"
                                "while time.process_time() < end: pass")  # fmt: skip
    assert 180 < result.cpu_ms < 5000
    assert result.wall_ms > 380


async def test_a_program_may_be_anything(sandbox: LiveSandbox) -> None:
    for source in (b"\0", b"\xff\xfe", b"print('\xed\xa0\x80')", b"#" * 2**20):
        result = await one(sandbox, source)
        assert result.status in (Status.OK, Status.EXIT)
    latin = "# -*- coding: latin-1 -*-\nprint(len('\xe9'))".encode("latin-1")
    assert (await one(sandbox, latin)).stdout == b"1\n"


async def test_a_program_that_shadows_what_runs_it(sandbox: LiveSandbox) -> None:
    source = (
        "import builtins, sys, os\nbuiltins.print = None\nsys.stdout = None\nos._exit = None\nsys.modules.clear()"
    )
    assert (await one(sandbox, source)).status in (Status.OK, Status.EXIT)
    assert (await one(sandbox, "print(1)")).stdout == b"1\n"


async def test_no_inputs_no_runs(sandbox: LiveSandbox) -> None:
    assert await run(sandbox, Job(program("print(1)"), Stdio([]))) == Ran(None, [])
    compiled = await run(sandbox, Job(program(ECHOES["c"], "c"), Stdio([])))
    assert compiled.prepared is not None
    assert compiled.runs == []


async def test_many_runs(sandbox: LiveSandbox) -> None:
    inputs = [str(number).encode() for number in range(150)]
    ran = await run(sandbox, stdio(ECHOES["c"], *inputs, language="c"))
    assert [each.stdout for each in ran.runs] == inputs


async def test_a_job_ends_where_its_owner_has_seen_enough(sandbox: LiveSandbox) -> None:
    seen = []

    def go_on(index: int, result: object) -> bool:
        seen.append(index)
        return index < 2

    ran = await run(sandbox, stdio("print(input())", *[str(number).encode() for number in range(100)]), go_on=go_on)
    assert [each.stdout for each in ran.runs] == [b"0\n", b"1\n", b"2\n"]
    assert seen == [0, 1, 2]
    assert (await one(sandbox, "print(1)")).stdout == b"1\n"


async def test_packages(sandbox: LiveSandbox) -> None:
    assert {"numpy", "sympy"} <= sandbox.packages.keys()
    for name, source, printed in (
        ("numpy", "import numpy; print(numpy.dot([1, 2], [3, 4]), numpy.__version__)", b"11"),
        ("sympy", "import sympy; print(sympy.integrate(sympy.Symbol('x')), sympy.__version__)", b"x**2/2"),
    ):
        result = await one(sandbox, source, packages=frozenset({name}))
        assert result.stdout.split() == [printed, sandbox.packages[name].encode()], result
        assert (await one(sandbox, source)).status is Status.EXIT


async def test_a_compilation_gets_what_memory_there_is(sandbox: LiveSandbox) -> None:
    job = Job(program(ECHOES["c"], "c"), Stdio([b"x"]), compile_limits=Limits(memory_mb=10**6))
    assert (await run(sandbox, job)).runs[0].stdout == b"x"


async def test_what_is_not_offered(sandbox: LiveSandbox) -> None:
    for wrong, words in (
        (program("", "cobol"), "no 'cobol'; it has python"),
        (program("", packages=frozenset({"numpy", "torch"})), "no package torch; it has numpy"),
    ):
        with pytest.raises(NotOfferedError, match=words):
            await run(sandbox, Job(wrong, Stdio([b""])))
    with pytest.raises(NotOfferedError, match=f"at most {MAX_COUNT} runs"):
        await run(sandbox, Job(Program(b""), Stdio([b""] * (MAX_COUNT + 1))))


@pytest.mark.parametrize(
    ("name", "compilation"), [*[(name, each) for name in MOST for each in (False, True)], ("memory_mb", False)]
)
async def test_limits_have_limits(sandbox: LiveSandbox, name: str, compilation: bool) -> None:
    beyond = Limits(**{name: MOST.get(name, 1024) + 1})  # type: ignore[arg-type]
    job = Job(program(""), Stdio([b""]), **{"compile_limits" if compilation else "limits": beyond})
    with pytest.raises(NotOfferedError, match="at most"):
        await run(sandbox, job)
