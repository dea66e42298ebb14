"""The jobs of a cell: programs run on inputs, functions called, tests run beside the program they test."""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from . import answers, calls, linux, python, root, split, wire
from .confine import arrange_descriptors, confine, mount_work, put_files
from .launch import Child, Launcher
from .limits import MAX_OUTPUT_KB
from .usage import Usage
from .watch import Idle, Stopped, Stream, Watch, capture

_REPORTS, _CHANNEL, _CALLS = 3, 4, 4
"""Descriptors of a launched process, beside its standard ones."""
LOST = 113
"""Exit status of the tests' process where the program's process has gone."""
_MOST = MAX_OUTPUT_KB * 1024 + 4096
_MOST_FILES = 64 * 2**20
"""Bytes of the files that come back from one run."""


class FaultError(Exception):
    """The cell could not do its part; the message says what failed. Never the program's doing."""


class Jobs:
    """Runs one job at a time, and sends a result for each of its runs."""

    def __init__(self, service_in: int, service_out: int, usage: Usage) -> None:
        self._in = service_in
        self._out = service_out
        self._usage = usage
        self._launcher = Launcher()
        self._memories = [capture(_MOST) for _ in range(3)]
        self._stdout, self._stderr, self._reports = (Stream(memoryview(memory)) for memory in self._memories)
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def run(self, job: int, plan: dict[str, Any], part: mmap.mmap, tests: mmap.mmap | None) -> None:
        """Run a job to its end. Raises `Stopped`, `FaultError`, `wire.Ended`."""
        self._job, self._plan, self._part = job, plan, part
        self._idle = Idle()
        try:
            if plan["compile"] is not None:
                self._compiled()
            elif plan["mode"] == "stdio":
                self._stdio()
            else:
                self._reported(tests)
        finally:
            for memory in self._memories:
                memory.madvise(mmap.MADV_DONTNEED)

    def _compiled(self) -> None:
        """Compile, and run what came of it, which lies in a folder of the job's own."""
        size = f"size={self._plan['compile_limits']['disk_mb']}m,mode=755"
        linux.mount("tmpfs", root.JOB, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
        try:
            if self._compile():
                self._stdio()
        finally:
            linux.umount(root.JOB)

    # what is common to all

    def _send(
        self,
        index: int,
        status: str,
        wait_status: int | None,
        watch: Watch,
        *,
        value: memoryview | bytes = b"",
        message: memoryview | bytes = b"",
        files: Mapping[str, mmap.mmap | bytes] = {},
    ) -> None:
        code = died = -1
        if wait_status is not None:
            if os.WIFEXITED(wait_status):
                code = os.WEXITSTATUS(wait_status)
            else:
                died = os.WTERMSIG(wait_status)
        out, err = self._stdout.content(), self._stderr.content()
        names = json.dumps([[name, len(file)] for name, file in files.items()]).encode() if files else b""
        head = wire.RUN_HEAD.pack(
            index, wire.STATUSES.index(status), code, died, watch.cpu_ms, watch.wall_ms,
            len(out), len(err), len(value), len(message), len(names),
        )  # fmt: skip
        contents = [memoryview(file) for file in files.values()]
        wire.write(self._out, wire.RUN, self._job, head, out, err, value, message, names, *contents)

    def _processes(self) -> int:
        """How many processes the cell may have: the run's own, those that its language needs, the cell's."""
        return int(self._plan["limits"]["processes"]) + int(self._plan["threads"]) + 5

    def _environment(self) -> dict[str, str]:
        return python.ENVIRONMENT | self._plan["env"]  # type: ignore[no-any-return]

    def _launch(
        self,
        body: Callable[[], None],
        limits: dict[str, Any],
        descriptors: dict[int, int],
        *,
        job: Literal["", "read", "write"] = "",
        own_files: bool = True,
        inputs: Mapping[int, Callable[[], bytes]] = {},
        rounds: int = 1,
        slot: int = 0,
    ) -> Child:
        """Fork a process that confines itself and runs `body`, which must not return.

        `inputs` are what it can read from a descriptor, `rounds` how often the limit of processor time may be used.
        """
        processes, bounded = self._processes(), self._usage.bounded

        def task(start: Callable[[], None]) -> None:
            files = {descriptor: file_of(content()) for descriptor, content in inputs.items()}
            arrange_descriptors({**descriptors, **files})
            seconds = rounds * (int(limits["cpu_s"]) + 2)
            confine(limits, cpu_s=seconds, processes=processes, bounded=bounded, job=job, own_files=own_files)
            if self._plan["files"]:
                put_files(os.getcwd(), self._files())
            start()
            body()

        return self._launcher.launch(task, slot)

    def _files(self) -> dict[str, bytes]:
        part = wire.Part(self._part)
        return {name: part[2 + index] for index, name in enumerate(json.loads(part[1]))}

    def _first_blob(self) -> int:
        return 2 + int(self._plan["files"])

    def _pipes(self, output_kb: int) -> tuple[int, int]:
        """The write ends of standard output and standard error, to be closed once they have been passed on."""
        out, out_end = os.pipe2(os.O_CLOEXEC)
        err, err_end = os.pipe2(os.O_CLOEXEC)
        self._stdout.open(out, output_kb * 1024)
        self._stderr.open(err, output_kb * 1024)
        return out_end, err_end

    def _close(self) -> None:
        for stream in (self._stdout, self._stderr, self._reports):
            stream.close()

    def _check_started(self, slot: int = 0) -> None:
        if not self._launcher.started(slot):
            reason = bytes(self._stderr.content()[-300:]).decode("utf-8", "replace").strip()
            raise FaultError(f"a run could not be set up: {reason}")

    # programs in processes of their own

    def _compile(self) -> bool:
        """Compile; send the result, as run -1. Returns whether it worked."""
        limits, argv = self._plan["compile_limits"], self._plan["compile"]
        part = wire.Part(self._part)

        def body() -> None:
            self._write_source(part[0])
            execute(argv, self._environment())

        out, err = self._pipes(self._plan["limits"]["output_kb"])
        try:
            child = self._launch(body, limits, {0: self._null, 1: out, 2: err}, job="write")
        finally:
            os.close(out)
            os.close(err)
        return self._finish(-1, child, limits)

    def _stdio(self) -> None:
        part = wire.Part(self._part)
        for index in range(self._plan["first"], self._plan["count"]):
            self._stdio_run(index, part)
            self._stop_if_asked()

    def _stdio_run(self, index: int, part: wire.Part) -> None:
        plan = self._plan
        limits, fetch = plan["limits"], plan["fetch"]
        folder = -1
        if fetch:  # the working folder must outlive the run
            mount_work(limits["disk_mb"])
            folder = os.open(root.WORK, os.O_RDONLY | os.O_DIRECTORY)  # wherever the run may move it
        try:
            out, err = self._pipes(limits["output_kb"])
            try:
                child = self._launch(
                    lambda: self._program(part[0]),
                    limits,
                    {0: self._null, 1: out, 2: err},
                    job="" if plan["compile"] is None else "read",
                    own_files=not fetch,
                    inputs={0: lambda: part[self._first_blob() + index]},
                )
            finally:
                os.close(out)
                os.close(err)
            self._finish(index, child, limits, fetch, folder)
        finally:
            if fetch:
                os.close(folder)
                linux.umount("/tmp")  # noqa: S108

    def _program(self, source: bytes) -> None:
        """Become the program; the last that runs of ours in a process."""
        run = self._plan["run"]
        if self._plan["compile"] is None:
            self._write_source(source)
        if run is None:
            python.run(source)
        execute(run, self._environment())

    def _write_source(self, source: bytes) -> None:
        with open(self._plan["source"], "wb") as file:
            file.write(source)

    def _finish(
        self, index: int, child: Child, limits: dict[str, Any], fetch: Sequence[str] = (), folder: int = -1
    ) -> bool:
        """Watch one process to its end, and send what became of it; returns whether it is `ok`."""
        idle = self._idle if index >= 0 else Idle()
        watch = Watch([child], [self._stdout, self._stderr], None, limits, self._usage, self._in, idle)
        try:
            watch.until_end()
            status = watch.statuses[child.pid]
            if not watch.broken:
                self._check_started()
            if limits is not self._plan["limits"] or self._plan["run"]:
                status = _own_status(status)
            verdict = watch.broken or ("signal" if os.WIFSIGNALED(status) else "exit" if status else "ok")
            self._send(index, verdict, status, watch, files=_fetch(fetch, folder, limits) if fetch else {})
            return verdict == "ok"
        finally:
            self._close()

    # processes that report as they go

    def _reported(self, tests: mmap.mmap | None) -> None:
        """Calls or tests: launch, take reports, and launch again for the rest where a launch ended early."""
        first, count = self._plan["first"], self._plan["count"]
        while first < count:
            out, err = self._pipes(self._plan["limits"]["output_kb"])
            end = self._report_pipe()
            try:
                if tests is None:
                    children = [self._launch_calls(first, out, err, end)]
                else:
                    children = self._launch_split(first, out, err, end, tests)
            finally:
                for each in (out, err, end):
                    os.close(each)
            try:
                first = self._take_reports(children, first, count)
            finally:
                self._close()

    def _report_pipe(self) -> int:
        reports, end = os.pipe2(os.O_CLOEXEC)
        self._reports.open(reports, self._plan["limits"]["output_kb"] * 1024 + 1024)
        return end

    def _launch_calls(self, first: int, out: int, err: int, end: int) -> Child:
        part, plan = wire.Part(self._part), self._plan

        def body() -> None:
            self._write_source(part[0])
            if plan["run"] is None:
                calls.serve(part, self._first_blob(), plan, first, _REPORTS)
            extra = {"ASSAY_FIRST": str(first), "ASSAY_ENTRY_POINT": plan["entry_point"]}
            execute(plan["run"], self._environment() | extra)

        descriptors = {0: self._null, 1: out, 2: err, _REPORTS: end, _CALLS: self._null}
        inputs = {}
        if plan["run"] is not None:
            blobs = range(self._first_blob(), len(part))
            inputs[_CALLS] = lambda: b"\n".join(part[blob] for blob in blobs)
        rounds = plan["count"] - first
        return self._launch(body, plan["limits"], descriptors, inputs=inputs, rounds=rounds)

    def _launch_split(self, first: int, out: int, err: int, end: int, tests: mmap.mmap) -> list[Child]:
        part, plan = wire.Part(self._part), self._plan
        inner, outer = socket.socketpair()

        def program() -> None:
            source = part[0]
            self._write_source(source)
            split.serve(_CHANNEL, lambda: python.load(source, calls.MODULE))
            python.finish(0)

        def testing() -> None:
            asked = json.loads(wire.Part(tests)[0]) | {"first": first}
            _run_tests(asked)

        descriptors = {0: self._null, 1: out, 2: err, _REPORTS: self._null, _CHANNEL: inner.fileno()}
        rounds = plan["count"] - first
        children = [self._launch(program, plan["limits"], descriptors, rounds=rounds, slot=0)]
        tests.madvise(mmap.MADV_DOFORK)  # only now: no process of the program may inherit them
        try:
            descriptors = {0: self._null, 1: self._null, 2: err, _REPORTS: end, _CHANNEL: outer.fileno()}
            children.append(self._launch(testing, plan["limits"], descriptors, rounds=rounds, slot=1))
        finally:
            tests.madvise(mmap.MADV_DONTFORK)
            inner.close()
            outer.close()
        return children

    def _take_reports(self, children: list[Child], first: int, count: int) -> int:
        """Send a result for each report; returns the first call or test that is left for another launch."""
        watch = Watch(
            children,
            [self._stdout, self._stderr],
            self._reports,
            self._plan["limits"],
            self._usage,
            self._in,
            self._idle,
        )
        loaded = False
        ending = False
        while first < count and watch.until_report():
            head = self._reports.head()
            if head is None:
                raise AssertionError("a report was there")
            index, number, size = head
            status = answers.STATUSES[number] if number < len(answers.STATUSES) else "protocol"
            if len(children) == 1 and status not in answers.OF_CALLS:
                status = "protocol"
            if answers.HEAD.size + size > self._reports.limit:
                watch.kill("output")
                break
            content = self._reports.frame(size)
            if index == answers.LOADED and not loaded:
                loaded = True
                if status != "ok":
                    watch.kill()
                    self._check_all_started(children)
                    self._send(-1, status, None, watch, message=content)
                    return count
                watch.begin()
            elif index == first - 1 and status == answers.ENDED and ending:
                ending = False  # each once, since this is looked at without a look at the limits
            elif index == first and loaded:
                if status == answers.ENDED:
                    self._send_unanswered(first, watch, int.from_bytes(content[:2], "little"))
                elif status == "ok":
                    self._send(first, "ok", None, watch, value=content)
                else:
                    self._send(first, status, None, watch, message=content)
                first += 1
                ending = status != answers.ENDED
                watch.begin()
                self._reports.drop(size)
                self._stop_if_asked(watch)
                continue
            else:
                watch.kill()
                self._send(first, "protocol", None, watch, message=b"an answer to something that was not asked")
                return first + 1
            self._reports.drop(size)
        if first == count:
            watch.kill()
            return count
        return self._take_end(watch, children, first, loaded)

    def _take_end(self, watch: Watch, children: list[Child], first: int, loaded: bool) -> int:
        """A launch ended, or was ended, in the middle of a call or test, or before it was loaded."""
        watch.kill()
        if watch.broken:
            self._check_started()  # the program may have broken it before its tests were set up
        else:
            self._check_all_started(children)
        program = watch.statuses[children[0].pid]
        if self._plan["run"]:
            program = _own_status(program)
        if len(children) > 1 and not watch.broken:
            tests = watch.statuses[children[1].pid]
            if os.WIFSIGNALED(tests) or os.WEXITSTATUS(tests) not in (0, LOST):
                self._send(first if loaded else -1, "broken_test", None, watch, message=b"the tests' process died")
                return first + 1 if loaded else self._plan["count"]
        status = watch.broken or ("signal" if os.WIFSIGNALED(program) else "exit")
        self._send(first if loaded else -1, status, program, watch, message=b"it ended without an answer")
        return first + 1 if loaded else int(self._plan["count"])

    def _send_unanswered(self, index: int, watch: Watch, wait_status: int) -> None:
        """A call's own process ended without an answer; its wait status, of which 16 bits count, may be forged."""
        died = os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else 0
        status = "signal" if died else "exit"
        if watch.new_memory_kills():
            status = "memory"
        elif died == signal.SIGXCPU:
            status = "cpu"
        self._send(index, status, wait_status, watch, message=b"it ended without an answer")

    def _check_all_started(self, children: list[Child]) -> None:
        for slot in range(len(children)):
            self._check_started(slot)

    def _stop_if_asked(self, watch: Watch | None = None) -> None:
        """Between two runs: has the service said that it wants no more?"""
        if select.select([self._in], [], [], 0)[0]:
            if watch is not None:
                watch.kill()
            raise Stopped


def _run_tests(asked: dict[str, Any]) -> None:
    """In the tests' process: run them, and report each."""
    index = asked["first"]

    def report(status: str, message: str) -> None:
        nonlocal index
        answers.send(_REPORTS, index, status, message.encode("utf-8", "replace"))
        index += 1

    def loaded() -> None:
        answers.send(_REPORTS, answers.LOADED, "ok")

    try:
        split.run_tests(_CHANNEL, asked, report, loaded)
    except split.LoadFailed as failed:
        answers.send(_REPORTS, answers.LOADED, failed.status, failed.message.encode("utf-8", "replace"))
    except split.CandidateLost:
        os._exit(LOST)
    os._exit(0)


def execute(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Run another program, found by the environment's PATH, as process 2, and end as it ends.

    As process 1 it would not die of the signals that it sends to itself (pid_namespaces(7)).
    """
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # nothing of process 1 is for it to see; the executed program has its own
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a program would inherit that
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)
    os.closerange(0, 4096)
    status = 0
    ended = -1
    while ended != pid:
        ended, status = os.wait()
    os._exit(_SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


_SIGNALLED = 128
"""Added to the signal that ended an executed program, as shells do."""


def _own_status(status: int) -> int:
    """The wait status of an executed program, from that of the process 1 above it."""
    died = os.WEXITSTATUS(status) - _SIGNALLED if os.WIFEXITED(status) else 0
    return died if 0 < died < signal.NSIG else status


def file_of(content: bytes) -> int:
    """A descriptor to read `content` from: a file in memory, so that nobody has to feed a pipe."""
    memory = os.memfd_create("input")
    view = memoryview(content)
    while view:
        view = view[os.write(memory, view) :]
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def _fetch(names: Sequence[str], work: int, limits: dict[str, Any]) -> dict[str, mmap.mmap | bytes]:
    """Regular files by relative path below an open folder; whatever is a link, or no file, is left out.

    They are read into memory of their own, so that nothing of them stays behind. (Mapping them fills their holes, for
    which there may be no room.)
    """
    found: dict[str, mmap.mmap | bytes] = {}
    left = min(int(limits["disk_mb"]) * 2**20, _MOST_FILES)
    for name in names:
        opened = [work]
        *above, last = name.split("/")
        if not {"", ".", ".."}.isdisjoint((*above, last)):
            continue
        try:
            for step in above:
                opened.append(os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened[-1]))
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened[-1])
            opened.append(file)
            status = os.fstat(file)
            if stat.S_ISREG(status.st_mode) and status.st_size <= left:
                found[name] = _copy(file, status.st_size) if status.st_size else b""
                left -= status.st_size
        except (OSError, ValueError):  # ValueError: a name with a NUL
            continue
        finally:
            for descriptor in opened[1:]:
                os.close(descriptor)
    return found


def _copy(file: int, size: int) -> mmap.mmap:
    copy = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with memoryview(copy) as view:
        start = 0
        while start < size:
            with view[start:] as rest:
                count = os.preadv(file, [rest], start)
            if not count:
                break  # nobody is left who could have cut it short
            start += count
    return copy
