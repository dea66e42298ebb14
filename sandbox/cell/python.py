"""Running a completion's Python in a process forked from a warm interpreter."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
import types
from typing import Any

from . import linux, root

MAIN = f"{root.WORK}/main.py"


ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": root.WORK,
    "TMPDIR": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
}
"""Of every run."""


def prepare() -> None:
    """Make the zygote look, to what it forks, like a Python that was just started on a program."""
    for name in [name for name in sys.modules if name == "cell" or name.startswith("cell.")]:
        del sys.modules[name]
    sys.argv = [MAIN]
    sys.orig_argv = [sys.executable, MAIN]
    sys.path.insert(0, root.WORK)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)


def load(source: bytes, name: str) -> dict[str, Any]:
    """Run the program as a module of this name, and return what it defined. Raises whatever it raises."""
    gc.enable()
    module = types.ModuleType(name)
    module.__file__ = MAIN
    sys.modules[name] = module
    exec(compile(source, MAIN, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - this is what cells are for
    return module.__dict__


def run(source: bytes) -> None:
    """Run the program as a script, and exit as the interpreter would."""
    status = 0
    os.register_at_fork(after_in_child=linux.die_as_usual)
    try:
        load(source, "__main__")
    except SystemExit as end:
        status = _status(end)
    except BaseException:
        status = 1
        _show_traceback()
    finish(status)


def finish(status: int) -> None:
    """Exit as the interpreter would: wait for threads, run what was registered, flush."""
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
    except SystemExit as end:
        status = _status(end)
    except BaseException:
        _show_traceback()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        status = status or 120  # as the interpreter does
    os._exit(status)


def _status(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    try:
        sys.stderr.write(f"{end.code}\n")
    except BaseException:
        return 1
    return 1


def _show_traceback() -> None:
    """Write the traceback without the frames of this file."""
    try:
        kind, error, trace = sys.exc_info()
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
    except BaseException:
        os.write(2, b"an exception that cannot be shown\n")


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()[-500:]
    except BaseException:
        return type(error).__name__


def allow_packages() -> None:
    """Let this process import what cells may have beyond the standard library."""
    if root.PACKAGES not in sys.path:
        sys.path.insert(0, root.PACKAGES)
