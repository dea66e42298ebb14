"""What an entry of the corpus is, the phrases of the attack list that it belongs to, and the means to write one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PYTHON, JAVASCRIPT, C, CPP, BASH, RUST = "python", "javascript", "c", "cpp", "bash", "rust"
"""`config.language`, as `sandbox.languages` calls them."""

SECRET_ENV = ("ASSAY_TEST_SECRET", "assay-env-secret-b2a7419c55d0e3f1")
"""The runner sets this variable in the service's own environment before the sandbox starts."""
SECRET_FILES = ("/tmp/assay-test-secret", "/var/tmp/assay-test-secret", "/dev/shm/assay-test-secret")
"""The runner writes `SECRET_FILE` to these paths of the host, readable by everyone (0644)."""
SECRET_FILE = '"assay-file-secret-90c3be6a17f2d845"\n'
"""Their content: a string literal in C, so that a program that includes it compiles."""
ABSTRACT_SOCKET = "\0assay-test-abstract"
"""The runner listens here (AF_UNIX, SOCK_STREAM), on the host."""
PORT = "{PORT}"
"""Stands in completions for the port of a TCP listener of the runner's on the host's 127.0.0.1 and ::1; the runner
puts it in with `filled`. (`str.format` would trip over the programs' own braces.)"""
PWNED_FILE = "/tmp/assay-test-pwned"
"""No such file may exist on the host after a run: payloads make it wherever they come to be executed."""

ESCAPED = "ESCAPED"
"""What an attack prints once it has worked, and only then."""
CONTAINED = "contained"
FOUND = "FOUND"
"""What a finder prints once it has found what a plant left."""


class Contained(StrEnum):
    """What the runner checks of an attack beyond its verdict's outcome."""

    IN_TIME = "in_time"
    """The verdict comes at most `MARGIN_S` after its limits ended the run, whatever the program left running."""
    GONE = "gone"
    """No process of it is left once its verdict is there."""
    HEALTHY = "healthy"
    """The service and the neighbours in the batch live on: honest items beside it are correct."""
    UNREACHED = "unreached"
    """Neither the TCP listener nor the abstract socket of the runner saw a connection."""
    SILENT = "silent"
    """Neither secret occurs anywhere in the verdict's JSON, error messages of compilers included."""
    UNTOUCHED = "untouched"
    """`PWNED_FILE` does not exist on the host, and the secret files are as they were."""
    CLEAN = "clean"
    """Nothing is left of it on the host: files, mounts, cgroups, shared memory, message queues."""


MARGIN_S = 3.0

EVERYWHERE = frozenset({Contained.HEALTHY, Contained.SILENT, Contained.UNTOUCHED, Contained.UNREACHED})
"""Holds for every attack, whatever its `contained` says."""


@dataclass(frozen=True)
class Attack:
    """One item that must not pass."""

    name: str
    """Unique in the whole corpus."""
    line: str
    """One of `PHRASES`."""
    item: dict[str, Any]
    """`completion`, `reference` and perhaps `prompt` of an item of `POST /score`."""
    config: dict[str, Any]
    """Configuration of kind `code`."""
    outcomes: frozenset[str]
    """The outcomes that are right; never `correct`."""
    errors: frozenset[str] = frozenset()
    """Where `unscored` is among the outcomes: the `error.type`s that it may have."""
    contained: frozenset[Contained] = frozenset()


@dataclass(frozen=True)
class Pair:
    """Two items: one leaves something behind, the other prints `FOUND` if it sees it. The second must never pass.

    The runner sends the plants and then the finders, many times, through a pool of one or two cells, so that every
    finder runs where a plant has run before; also both in one batch.
    """

    name: str
    line: str
    plant: dict[str, Any]
    plant_config: dict[str, Any]
    find: dict[str, Any]
    find_config: dict[str, Any]
    plant_outcomes: frozenset[str] = frozenset({"incorrect"})
    """A plant prints `planted` at its end and is `incorrect`: that shows that it came so far. `correct` is allowed
    only in pairs about the result cache, where the plant is an honest item."""
    find_outcomes: frozenset[str] = frozenset({"incorrect"})
    contained: frozenset[Contained] = frozenset()


@dataclass(frozen=True)
class Fetch:
    """A call of `POST /compat/sandbox-fusion/run_code` that tries to get files out, or to put some where none belong.

    The reply must come within `MARGIN_S` of the limits, contain none of `never` in any fetched file nor in its
    output, and no file of `absent`. Where `refusable`, it is also right to refuse the whole call (a 4xx status, or
    `SandboxError`).
    """

    name: str
    line: str
    code: str
    assertion: str
    """What must hold, in words."""
    fetch: tuple[str, ...] = ()
    """`fetch_files`."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """`files`, before base64."""
    language: str = PYTHON
    absent: tuple[str, ...] = ()
    never: tuple[bytes, ...] = ()
    refusable: bool = False


@dataclass(frozen=True)
class Repeat:
    """A program for `run_code` whose output must differ from run to run: state that runs would otherwise share."""

    name: str
    line: str
    code: str
    times: int = 12
    packages: tuple[str, ...] = ()
    """Skip it where the sandbox does not offer these."""


@dataclass(frozen=True)
class Honest:
    """One item that must be `correct`, mixed into the same batches."""

    name: str
    item: dict[str, Any]
    config: dict[str, Any]


def filled(item: Mapping[str, Any], port: int) -> dict[str, Any]:
    """The item with the runner's port in its completion."""
    return {**item, "completion": item["completion"].replace(PORT, str(port))}


def source(text: str) -> str:
    """A program, from a string that is indented like the code around it."""
    return textwrap.dedent(text).strip("\n") + "\n"


def fenced(code: str, language: str = PYTHON) -> str:
    """A completion that holds a program."""
    return f"```{language}\n{code}```\n"


def config(language: str = PYTHON, limits: Mapping[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """A configuration with tight limits, some of them changed, and `more` fields."""
    tight: dict[str, float] = {
        "cpu_s": 1.0, "wall_s": 3.0, "memory_mb": 128, "processes": 16, "output_kb": 64, "disk_mb": 8,
    }  # fmt: skip
    if language == JAVASCRIPT:  # Node starts a dozen threads and takes 50 MB before the first line runs
        tight |= {"memory_mb": 256, "processes": 48}
    return {"language": language, "limits": _whole(tight | dict(limits or {})), **more}


def _whole(limits: Mapping[str, float]) -> dict[str, float]:
    """Only seconds may be fractions."""
    return {name: value if name in ("cpu_s", "wall_s") else int(value) for name, value in limits.items()}


def stdio(*cases: tuple[str, str], **options: Any) -> dict[str, Any]:
    """A reference of pairs of input and output."""
    return {"type": "stdio", "cases": [{"stdin": stdin, "stdout": stdout} for stdin, stdout in cases], **options}


def prints(output: str) -> dict[str, Any]:
    """A reference with one case without input."""
    return stdio(("", output))


def item(code: str, reference: Mapping[str, Any], language: str = PYTHON, **more: Any) -> dict[str, Any]:
    """An item whose completion is the program."""
    return {"completion": fenced(source(code), language), "reference": dict(reference), **more}


def outcomes(*names: str) -> frozenset[str]:
    """A set of outcomes."""
    return frozenset(names)


NOT_DONE = outcomes("incorrect", "crashed")
"""It ran to its end without effect, or fell over on the way (a refused system call may also be deadly)."""
NOT_COMPILED = outcomes("incorrect", "crashed", "unparseable", "rejected")
"""The same, of a program that does not compile where the sandbox holds."""

_USE_UP = (
    "fork bomb", "thread bomb", "memory bomb", "mmap, shared memory and tmpfs fill", "disk fill", "inode flood",
    "file-descriptor exhaustion", "a gigabyte of stdout", "stderr flood with quiet stdout", "busy loop", "sleep",
    "blocking on stdin", "ignoring SIGTERM and SIGALRM", "one uninterruptible C call",
    "deep recursion to a segfault", "compile-time bomb", "closing stdout and running on",
    "invalid UTF-8 and NUL output",
)  # fmt: skip
_GET_OUT = (
    "outbound TCP and DNS", "cloud metadata address", "loopback to our own API", "abstract Unix sockets",
    "host files, environment and secrets", "/proc of a parent", "ptrace and process_vm_readv",
    "killing the parent or the server", "mount and pivot_root", "nested user namespaces", "setuid binaries",
    "keyctl, bpf, io_uring, perf, userfaultfd", "32-bit and x32 system calls", "docker.sock",
    "cgroup release_agent", "special file as a fetched output", "../ and absolute paths in input files",
    "compile-time file reads",
)  # fmt: skip
_NEXT_RUN = (
    "files left behind", "a double-forked daemon", "a daemon that holds the stdout pipe",
    "SysV shared memory and message queues", "poisoned modules or .pyc", "signalling the parent interpreter",
    "writing inherited descriptors", "memory left over from an earlier run", "poisoning the result cache",
    "shared random state",
)  # fmt: skip
_FORGE = (
    "sys.exit(0)", "os._exit(0)", "SystemExit inside the function", "atexit and __del__",
    "a fake verdict on stdout", "a fake verdict on inherited descriptors", "a guessed marker or frame",
    "patching builtins", "patching json and pickle", "patching unittest and pytest", "always-equal objects",
    "subclasses of builtin types", "pickle payloads", "NaN and inf", "tracing past asserts",
    "frame walks and gc scans", "writing into result objects", "reading or overwriting the test file",
    "conftest.py and pytest.ini", ".pth and sitecustomize", "a shadowing module", "replacing the time-out handler",
    "swallowing time-outs", "a thread that changes the result", "mutating arguments the oracle shares",
    "printing every plausible answer", "output that is only a prefix", "zero tests",
    "raising when the expected output is empty", "several code fences", "faking durations",
)  # fmt: skip
_SPLIT_RULES = (
    "a helper of the prompt redefined", "a builtin's name taken by the completion",
    "operators between a handle and plain data", "exceptions that look like builtin ones",
    "a test that cannot be split",
)  # fmt: skip

PHRASES: Mapping[str, tuple[str, ...]] = {
    "Use up resources": _USE_UP,
    "Get out": _GET_OUT,
    "Reach the next run": _NEXT_RUN,
    "Forge the verdict": _FORGE,
    "The rules of the split": _SPLIT_RULES,
}
"""What the list says, in our own words: everything between two semicolons, and what its last paragraph adds."""


def programs(entries: Iterable[Attack | Pair | Fetch | Repeat]) -> dict[str, set[str]]:
    """For each phrase, the different programs that belong to it."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        texts: Sequence[str]
        if isinstance(entry, Attack):
            texts = [entry.item["completion"]] if entry.line != "zero tests" else [repr(entry.item["reference"])]
        elif isinstance(entry, Pair):
            texts = [entry.plant["completion"] + entry.find["completion"]]
        elif isinstance(entry, Fetch):
            texts = [entry.code + repr((entry.fetch, sorted(entry.files)))]
        else:
            texts = [entry.code]
        found.setdefault(entry.line, set()).update(texts)
    return found
