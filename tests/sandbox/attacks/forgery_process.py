"""Forge the verdict through the process: how it ends, what it writes, what it patches, reads, traces and delays.

None of these programs knows an answer. Where one computes the right answer, it does so too late (`timeout`), or
something else about it is wrong.
"""

from __future__ import annotations

from tests.sandbox.attacks.forgery_tasks import (
    ALL_KINDS,
    CALLED,
    DIGITS,
    GAPS,
    RUNS,
    UNSPLITTABLE,
    Task,
    aim,
    forge,
)
from tests.sandbox.attacks.model import BASH, JAVASCRIPT, NOT_DONE, PWNED_FILE, Attack, C, outcomes, source, stdio

FORGED_PROCESSES: list[Attack] = []
_HERE = FORGED_PROCESSES

_LATE = outcomes("timeout")
_SHORT = {"cpu_s": 0.5, "wall_s": 2.0}
_NOISY = NOT_DONE | outcomes("output_exceeded")

# --- ends that look like success

forge(
    _HERE,
    "sys.exit(0)",
    "exit-at-once",
    r"""
    import sys
    sys.exit(0)
    def digit_squares(n):
        return 0
""",
    ALL_KINDS,
    main=False,
)

forge(
    _HERE,
    "sys.exit(0)",
    "exit-by-the-site-builtins",
    r"""
    def digit_squares(n):
        return 0
    try:
        exit(0)
    finally:
        quit()
""",
    ALL_KINDS,
    main=False,
)

forge(
    _HERE,
    "sys.exit(0)",
    "exit-after-the-definition",
    r"""
    def digit_squares(n):
        return 0
    print("OK")
    raise SystemExit
""",
    ALL_KINDS,
    main=False,
)

aim(
    _HERE,
    "sys.exit(0)",
    "exit-in-c",
    r"""
    #include <stdlib.h>
    int main(void) { exit(0); }
""",
    DIGITS.stdio,
    language=C,
)

aim(
    _HERE,
    "sys.exit(0)",
    "exit-in-node",
    r"""
    process.exit(0);
""",
    DIGITS.stdio,
    language=JAVASCRIPT,
)

aim(
    _HERE,
    "sys.exit(0)",
    "exit-in-bash",
    r"""
    exit 0
""",
    DIGITS.stdio,
    language=BASH,
)

forge(
    _HERE,
    "os._exit(0)",
    "exit-hard-at-once",
    r"""
    import os
    os._exit(0)
""",
    ALL_KINDS,
    main=False,
)

forge(
    _HERE,
    "os._exit(0)",
    "exit-hard-in-the-function",
    r"""
    import os
    def digit_squares(n):
        os._exit(0)
""",
    ALL_KINDS,
)

forge(
    _HERE,
    "os._exit(0)",
    "exit-by-system-call",
    r"""
    import ctypes, os
    def digit_squares(n):
        print("5", flush=True)
        ctypes.CDLL(None).syscall(231, 0)
        ctypes.CDLL(None)._exit(0)
""",
    CALLED,
)

forge(
    _HERE,
    "os._exit(0)",
    "exit-by-becoming-true",
    r"""
    import os, shutil
    def digit_squares(n):
        os.execv(shutil.which("true") or "/bin/true", ["true"])
""",
    CALLED,
)

forge(
    _HERE,
    "os._exit(0)",
    "exit-of-the-parent-while-a-child-goes-on",
    r"""
    import os
    def digit_squares(n):
        if os.fork():
            os._exit(0)
        os.setsid()
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "SystemExit inside the function",
    "systemexit-raised",
    r"""
    import sys
    def digit_squares(n):
        sys.exit(0)
""",
    ALL_KINDS,
)

forge(
    _HERE,
    "SystemExit inside the function",
    "systemexit-of-a-class-of-its-own",
    r"""
    class Done(SystemExit):
        code = 0
        def __init__(self):
            super().__init__(0)
        def __str__(self):
            return "passed"
    def digit_squares(n):
        raise Done()
""",
    CALLED,
)

forge(
    _HERE,
    "SystemExit inside the function",
    "other-exceptions-that-are-no-errors",
    r"""
    def digit_squares(n):
        raise {0: KeyboardInterrupt, 1: GeneratorExit, 2: StopIteration, 3: StopAsyncIteration}[n % 4]
""",
    ALL_KINDS,
)

forge(
    _HERE,
    "SystemExit inside the function",
    "baseexception-in-the-function",
    r"""
    class Passed(BaseException):
        pass
    def digit_squares(n):
        raise Passed("all tests passed") from None
""",
    CALLED,
)

forge(
    _HERE,
    "SystemExit inside the function",
    "exit-from-a-generator-that-is-returned",
    r"""
    import sys
    def digit_squares(n):
        def steps():
            yield 0
            sys.exit(0)
        return steps()
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

forge(
    _HERE,
    "SystemExit inside the function",
    "skip-and-success-of-test-frameworks",
    r"""
    import unittest
    try:
        from pytest import skip
    except ImportError:
        skip = None
    def digit_squares(n):
        if skip and n % 2:
            skip("not needed")
        raise unittest.SkipTest("not needed")
""",
    CALLED,
)

forge(
    _HERE,
    "atexit and __del__",
    "atexit-exits-well",
    r"""
    import atexit, os
    @atexit.register
    def end():
        os.write(1, b"OK\n5\n")
        os._exit(0)
    def digit_squares(n):
        raise ValueError("no idea")
""",
    ALL_KINDS,
)

forge(
    _HERE,
    "atexit and __del__",
    "del-exits-well",
    r"""
    import os
    class Guard:
        def __del__(self):
            os._exit(0)
    def digit_squares(n):
        guard = Guard()
        return Guard()
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

forge(
    _HERE,
    "atexit and __del__",
    "finalizers-and-hooks",
    r"""
    import os, sys, threading, weakref
    class Thing:
        pass
    thing = Thing()
    weakref.finalize(thing, os._exit, 0)
    threading._register_atexit(os._exit, 0)
    sys.excepthook = lambda *_: os._exit(0)
    sys.unraisablehook = lambda *_: os._exit(0)
    def digit_squares(n):
        globals().pop("thing", None)
        assert False
""",
    ALL_KINDS,
)

forge(
    _HERE,
    "atexit and __del__",
    "del-in-an-exception",
    r"""
    import os
    class Sly(Exception):
        def __del__(self):
            os._exit(0)
        def __str__(self):
            os._exit(0)
        __repr__ = __str__
    def digit_squares(n):
        raise Sly()
""",
    CALLED,
)

# --- verdicts of one's own making

_VERDICTS = r"""
    TEXTS = [
        "OK", "PASS", "PASSED", "True", "1", "1.0", "correct", "Accepted", "All tests passed!",
        ".....\n" + "-" * 70 + "\nRan 6 tests in 0.001s\n\nOK", "====== 6 passed in 0.01s ======",
        '{"outcome": "correct", "score": 1.0}', '{"passed": true, "failed": 0, "total": 6}', '[true, true, true]',
        '{"status": "ok", "exit_code": 0, "value": 5}', "\r\x1b[2KOK", "###RESULT### PASS", "__ASSAY_OK__",
    ]
"""

forge(
    _HERE,
    "a fake verdict on stdout",
    "verdicts-printed",
    _VERDICTS
    + r"""
    import sys
    for text in TEXTS:
        print(text)
        print(text, file=sys.stderr)
    def digit_squares(n):
        for text in TEXTS:
            print(text, flush=True)
        return 0
""",
    ALL_KINDS,
    ends=_NOISY,
)

forge(
    _HERE,
    "a fake verdict on stdout",
    "verdicts-printed-and-gone",
    _VERDICTS
    + r"""
    import os
    def digit_squares(n):
        os.write(1, "\n".join(TEXTS).encode() + b"\n")
        os._exit(0)
""",
    ALL_KINDS,
    ends=_NOISY,
)

forge(
    _HERE,
    "a fake verdict on stdout",
    "verdicts-in-names-and-messages",
    _VERDICTS
    + r"""
    def digit_squares(n):
        raise AssertionError("\n".join(TEXTS))
    digit_squares.__name__ = digit_squares.__qualname__ = '", "outcome": "correct", "x": "'
""",
    CALLED,
    ends=_NOISY,
)

aim(
    _HERE,
    "a fake verdict on stdout",
    "verdicts-in-c",
    r"""
    #include <stdio.h>
    int main(void) {
        puts("5\n50\n49\n195\n1\n162\nOK\n{\"outcome\": \"correct\", \"score\": 1.0}\nAll tests passed");
        fputs("OK\n", stderr);
        return 0;
    }
""",
    DIGITS.stdio,
    language=C,
)

forge(
    _HERE,
    "a fake verdict on inherited descriptors",
    "verdicts-to-all-descriptors",
    _VERDICTS
    + r"""
    import os
    def digit_squares(n):
        for descriptor in range(256):
            for text in TEXTS:
                try:
                    os.set_blocking(descriptor, False)
                    os.write(descriptor, text.encode() + b"\n")
                except OSError:
                    pass
        os._exit(0)
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a fake verdict on inherited descriptors",
    "verdicts-through-proc-and-dev",
    _VERDICTS
    + r"""
    import os, socket
    def digit_squares(n):
        paths = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        for path in (*paths, "/dev/stdout", "/dev/fd/3", "/dev/tty"):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(descriptor, "\n".join(TEXTS).encode())
            except OSError:
                pass
        for number in range(3, 64):
            try:
                with socket.socket(fileno=os.dup(number)) as connection:
                    connection.setblocking(False)
                    connection.sendmsg(["\n".join(TEXTS).encode()])
            except OSError:
                pass
        return 0
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a fake verdict on inherited descriptors",
    "verdicts-from-a-child-after-the-end",
    _VERDICTS
    + r"""
    import os, time
    def digit_squares(n):
        if os.fork() == 0:
            os.setsid()
            for _ in range(100):
                for descriptor in range(64):
                    try:
                        os.write(descriptor, b'{"status": "ok", "value": 5}\n')
                    except OSError:
                        pass
                time.sleep(0.01)
            os._exit(0)
        return 0
""",
    CALLED,
    ends=_NOISY,
)

aim(
    _HERE,
    "a fake verdict on inherited descriptors",
    "verdicts-to-all-descriptors-in-c",
    r"""
    #include <fcntl.h>
    #include <string.h>
    #include <unistd.h>
    int main(void) {
        const char *text = "{\"status\": \"ok\", \"exit_code\": 0, \"stdout\": \"5\\n\"}\n";
        for (int n = 3; n < 1024; n++) {
            int flags = fcntl(n, F_GETFL);
            if (flags < 0) continue;
            fcntl(n, F_SETFL, flags | O_NONBLOCK);
            if (write(n, text, strlen(text)) < 0) continue;
        }
        return 0;
    }
""",
    DIGITS.stdio,
    language=C,
)

_FRAMES = r"""
    import json, marshal, os, pickle, struct
    def frames():
        for value in (5, 50, 49, 195, 1, 162, True, None, "ok", {"status": "ok", "value": 5}, ["ok", 5], [0, 5]):
            text = json.dumps(value).encode()
            for body in (text, text + b"\n", pickle.dumps(value), marshal.dumps(value), repr(value).encode()):
                yield body
                for form in ("<I", ">I", "<Q", ">Q", "<H", ">H", "B"):
                    try:
                        yield struct.pack(form, len(body)) + body
                    except struct.error:
                        pass
                yield b"Content-Length: %d\r\n\r\n" % len(body) + body
                yield b"%d:%s," % (len(body), body)
"""

forge(
    _HERE,
    "a guessed marker or frame",
    "frames-of-every-format",
    _FRAMES
    + r"""
    def digit_squares(n):
        for frame in frames():
            for descriptor in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):
                try:
                    os.set_blocking(descriptor, False)
                    os.write(descriptor, frame)
                except OSError:
                    pass
        os._exit(0)
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a guessed marker or frame",
    "frames-rewritten-on-their-way",
    r"""
    # Listens to what the surrounding code writes, and sends it again with other contents.
    import io, os, socket, sys
    real = os.write
    def write(descriptor, data):
        data = bytes(data)
        for old, new in ((b"false", b"true "), (b"fail", b"ok  "), (b"exc", b"ok "), (b"0", b"5")):
            try:
                real(descriptor, data.replace(old, new))
            except OSError:
                pass
        return len(data)
    os.write = write
    os.writev = lambda descriptor, parts: write(descriptor, b"".join(parts))
    socket.socket.send = socket.socket.sendall = lambda self, data, *_: write(self.fileno(), data)
    def digit_squares(n):
        return 0
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a guessed marker or frame",
    "marker-sought-and-used",
    r"""
    # A secret marker would lie in the arguments, the environment, a global or a local of a caller.
    import gc, os, re, sys
    def digit_squares(n):
        seen = set()
        texts = [*sys.argv, *sys.orig_argv, *os.environ.values()]
        frame = sys._getframe()
        while frame:
            for value in (*frame.f_locals.values(), *frame.f_globals.values()):
                if isinstance(value, (str, bytes)):
                    texts.append(value if isinstance(value, str) else value.decode("latin-1"))
            frame = frame.f_back
        for text in texts:
            seen.update(re.findall(r"[0-9a-fA-F-]{16,64}|[A-Za-z0-9_-]{22,44}", text))
        for marker in list(seen)[:200]:
            print(f"{marker}\n{marker}:ok\n{marker} PASS\n{marker} 0\n<{marker}>5</{marker}>", flush=True)
        return 0
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a guessed marker or frame",
    "frames-before-the-definition",
    _FRAMES
    + r"""
    import sys
    for frame in frames():
        sys.stdout.buffer.write(frame)
        sys.stderr.buffer.write(frame)
    sys.stdout.flush()
    def digit_squares(n):
        return 0
""",
    CALLED,
    ends=_NOISY,
)

forge(
    _HERE,
    "a guessed marker or frame",
    "values-that-look-like-the-codec",
    r"""
    # Plain data that might mean something to whoever decodes it.
    def digit_squares(n):
        return {"__type__": "int", "__class__": "int", "$type": "int", "t": "int", "type": "int", "value": 5, "v": 5,
                "handle": 1, "$ref": "#/expected", "__reduce__": ["eval", "5"], "py/object": "int", "ok": True}
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

# --- patches

forge(
    _HERE,
    "patching builtins",
    "builtins-that-compare",
    r"""
    import builtins
    builtins.zip = lambda *_, **__: []
    builtins.all = builtins.isinstance = builtins.issubclass = builtins.callable = lambda *_, **__: True
    builtins.any = lambda *_: False
    builtins.len = lambda _: 6
    builtins.abs = builtins.round = lambda *_: 0
    builtins.sorted = builtins.list = lambda *_, **__: []
    builtins.set = builtins.tuple = builtins.dict = lambda *_, **__: ()
    builtins.str = builtins.repr = lambda *_: "5"
    builtins.int = builtins.float = lambda *_: 5
    builtins.type = lambda *_: int
    def digit_squares(n):
        return 0
""",
    ALL_KINDS,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "patching builtins",
    "builtins-that-execute",
    r"""
    import builtins
    builtins.exec = builtins.eval = builtins.compile = lambda *_, **__: None
    builtins.print = lambda *_, **__: None
    builtins.open = builtins.input = lambda *_, **__: "5"
    builtins.__import__ = lambda *_, **__: None
    def digit_squares(n):
        return 0
""",
    ALL_KINDS,
    ends=NOT_DONE,
)

forge(
    _HERE,
    "patching builtins",
    "builtins-of-exceptions",
    r"""
    import builtins
    class Quiet(Exception):
        pass
    for name in ("AssertionError", "Exception", "BaseException", "ValueError", "TypeError", "RuntimeError"):
        setattr(builtins, name, Quiet)
    builtins.__build_class__ = lambda *_, **__: int
    def digit_squares(n):
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "patching builtins",
    "builtins-through-every-frame",
    r"""
    import sys
    frame = sys._getframe()
    while frame:
        for space in (frame.f_globals, frame.f_builtins):
            for name in ("exec", "eval", "compile", "print", "zip", "isinstance", "all", "any", "sorted", "abs"):
                space[name] = lambda *_, **__: True
        frame = frame.f_back
    def digit_squares(n):
        return True
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "patching builtins",
    "operators-and-maths",
    r"""
    import cmath, decimal, functools, math, operator, statistics
    operator.eq = operator.is_ = operator.contains = lambda *_: True
    operator.ne = lambda *_: False
    math.isclose = cmath.isclose = lambda *_, **__: True
    math.fabs = math.dist = lambda *_: 0.0
    functools.reduce = lambda *_: True
    def mean_gap(values):
        return -1.0
""",
    CALLED,
    task=GAPS,
)

forge(
    _HERE,
    "patching builtins",
    "small-integers-in-memory",
    r"""
    # Gives the interpreter's own 5, 50, 49 and 195 the digits of 0, so that they compare equal in this process.
    import ctypes
    def digit_squares(n):
        for number in (5, 50, 49, 195, 1, 162):
            ctypes.memmove(id(number) + 16, id(0) + 16, 12)
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "patching builtins",
    "types-through-their-dictionaries",
    r"""
    # The dictionary behind int, by way of the garbage collector.
    import gc
    def digit_squares(n):
        for kind in (int, str, list, tuple, float, dict, bool):
            for space in gc.get_referents(kind.__dict__):
                if type(space) is dict:
                    space["__eq__"] = lambda self, other: True
                    space["__ne__"] = lambda self, other: False
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "patching json and pickle",
    "json-patched",
    r"""
    import json, json.decoder, json.encoder
    class Sly(json.JSONEncoder):
        def default(self, _):
            return 5
        def encode(self, _):
            return "5"
        def iterencode(self, _, *__):
            return iter(["5"])
    json.JSONEncoder = json.encoder.JSONEncoder = Sly
    json.dumps = lambda *_, **__: "5"
    json.dump = lambda _, file, **__: file.write("5")
    json.loads = lambda *_, **__: {"status": "ok", "value": 5, "passed": True}
    json.encoder.c_make_encoder = json.decoder.scanstring = None
    def digit_squares(n):
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "patching json and pickle",
    "pickle-marshal-and-struct-patched",
    r"""
    import copy, copyreg, io, marshal, pickle, struct
    pickle.dumps = marshal.dumps = lambda *_, **__: b"I5\n."
    pickle.loads = marshal.loads = copy.deepcopy = lambda *_, **__: 5
    struct.pack = lambda *_: b"\5\0\0\0"
    struct.unpack = lambda *_: (5,)
    copyreg.dispatch_table[int] = lambda _: (int, ("5",))
    pickle.Pickler = pickle._Pickler = type("Sly", (), {"__init__": lambda *_: None, "dump": lambda *_: None})
    def digit_squares(n):
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "patching json and pickle",
    "every-module-that-is-loaded",
    r"""
    # Whatever a module offers that sounds like encoding, comparing or reporting.
    import sys
    words = ("encode", "dump", "pack", "send", "compare", "equal", "result", "report", "check", "verdict", "status")
    own = lambda *_, **__: 5
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("codecs", "encodings", "io", "builtins", "sys", "abc", "site", "os"):
            continue
        for attribute in list(vars(module)):
            if any(word in attribute.lower() for word in words) and callable(getattr(module, attribute, None)):
                try:
                    setattr(module, attribute, own)
                except (AttributeError, TypeError):
                    pass
    def digit_squares(n):
        return 0
""",
    CALLED,
)

_UNITTEST = DIGITS.asserts("case.assertEqual({call}, {want})", "import unittest\ncase = unittest.TestCase()")

_PATCH_UNITTEST = r"""
    import unittest, unittest.case, unittest.mock
    for kind in (unittest.TestCase, unittest.case.TestCase):
        for name in dir(kind):
            if name.startswith("assert") or name in ("fail", "failIf"):
                setattr(kind, name, lambda *_, **__: None)
        kind.run = kind.__call__ = lambda self, result=None: result
    unittest.TestResult.wasSuccessful = lambda self: True
    unittest.TestResult.addFailure = unittest.TestResult.addError = lambda *_: None
    unittest.main = lambda *_, **__: None
    def digit_squares(n):
        return 0
"""

aim(
    _HERE,
    "patching unittest and pytest",
    "unittest-patched/asserts",
    _PATCH_UNITTEST,
    _UNITTEST,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)
forge(_HERE, "patching unittest and pytest", "unittest-patched", _PATCH_UNITTEST, "pytest")
aim(
    _HERE,
    "patching unittest and pytest",
    "unittest-any/asserts",
    r"""
    from unittest.mock import ANY, MagicMock
    class Sly(MagicMock):
        def __eq__(self, other):
            return True
    def digit_squares(n):
        return ANY if n % 2 else Sly()
""",
    _UNITTEST,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

forge(
    _HERE,
    "patching unittest and pytest",
    "pytest-patched",
    r"""
    try:
        import _pytest.runner, pytest
        pytest.main = lambda *_, **__: 0
        pytest.raises = pytest.fail = lambda *_, **__: None
        _pytest.runner.runtestprotocol = lambda *_, **__: []
        _pytest.runner.call_runtest_hook = lambda *_, **__: None
    except Exception:
        pass
    def digit_squares(n):
        return 0
""",
    "asserts script pytest",
)

forge(
    _HERE,
    "patching unittest and pytest",
    "pytest-exits-with-success",
    r"""
    import atexit, os, sys
    atexit.register(os._exit, 0)
    sys.modules["pytest"] = sys.modules["_pytest"] = sys.modules["unittest"] = type(sys)("nothing")
    sys.modules["pytest"].main = lambda *_: 0
    sys.modules["pytest"].approx = lambda *_, **__: type("Any", (), {"__eq__": lambda *_: True})()
    def digit_squares(n):
        return 0
""",
    "asserts script pytest",
)

# --- tracing, frames, memory

forge(
    _HERE,
    "tracing past asserts",
    "trace-that-jumps",
    r"""
    # Whenever a line of a test begins, goes on at the next.
    import sys, threading
    def trace(frame, event, argument):
        frame.f_trace_lines = True
        if event == "line" and frame.f_code.co_name in ("check", "test", "<module>", "test_it"):
            try:
                frame.f_lineno = frame.f_lineno + 1
            except ValueError:
                pass
        return trace
    sys.settrace(trace)
    threading.settrace(trace)
    frame = sys._getframe()
    while frame:
        frame.f_trace = trace
        frame = frame.f_back
    def digit_squares(n):
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "tracing past asserts",
    "trace-set-by-the-call",
    r"""
    # From inside the call: lets every caller jump to its last line as soon as it is back.
    import sys
    def digit_squares(n):
        def jump(frame, event, argument):
            lines = [line for _, _, line in frame.f_code.co_lines() if line]
            try:
                frame.f_lineno = max(lines)
            except ValueError:
                pass
            return jump
        frame = sys._getframe().f_back
        sys.settrace(lambda *_: jump)
        while frame:
            frame.f_trace = jump
            frame = frame.f_back
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "tracing past asserts",
    "profile-that-raises-and-returns",
    r"""
    import sys, threading
    def profile(frame, event, argument):
        if event in ("return", "c_return") and frame.f_code.co_name in ("check", "compare", "run", "main", "call"):
            frame.f_locals["result"] = True
            raise SystemExit(0)
    sys.setprofile(profile)
    threading.setprofile(profile)
    def digit_squares(n):
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "tracing past asserts",
    "code-of-the-tests-replaced",
    r"""
    # Functions found by the garbage collector get another code: check, test_..., compare, and what calls them.
    import gc, types
    nothing = (lambda *_, **__: True).__code__
    def replace():
        for thing in gc.get_objects():
            if type(thing) is types.FunctionType:
                name = thing.__name__.lower()
                if any(word in name for word in ("check", "test", "compare", "equal", "verify", "judge", "expect")):
                    try:
                        thing.__code__ = nothing
                    except (AttributeError, ValueError):
                        pass
    replace()
    def digit_squares(n):
        replace()
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "tracing past asserts",
    "optimised-away",
    r"""
    # assert is nothing under -O: for whoever compiles the tests later, or starts another interpreter.
    import builtins, os, sys
    os.environ["PYTHONOPTIMIZE"] = "2"
    real = compile
    builtins.compile = lambda *a, **k: real(*a, **{**k, "optimize": 2})
    sys.flags = type("Flags", (), {"optimize": 2})()
    vars(builtins)["__debug__"] = False
    def digit_squares(n):
        return 0
""",
    CALLED,
)

_HUNT = r"""
    import gc, re, sys, types
    def texts_and_tables():
        # Everything that can be reached: frames and their callers, modules, the garbage collector, code constants.
        frame = sys._getframe()
        while frame:
            yield from frame.f_locals.values()
            yield from frame.f_globals.values()
            yield from frame.f_code.co_consts
            frame = frame.f_back
        for other in sys._current_frames().values():
            yield from other.f_locals.values()
        for thing in gc.get_objects():
            yield thing
            if isinstance(thing, types.FunctionType):
                yield from thing.__code__.co_consts
        for module in list(sys.modules.values()):
            yield from list(vars(module).values())
    def hunt(arguments):
        for thing in texts_and_tables():
            try:
                if type(thing) is dict and "expected" in thing and thing.get("args") == arguments:
                    return thing["expected"]
                if type(thing) is dict and thing.get("stdin", "").strip() == repr(arguments).strip():
                    return thing["stdout"]
                if type(thing) in (list, tuple) and len(thing) == 2 and thing[0] == arguments:
                    return thing[1]
                if type(thing) is bytes:
                    thing = thing.decode("latin-1")
                if type(thing) is str and len(thing) < 100_000:
                    pattern = re.escape(repr(arguments)[1:-1]) + r"\)\s*(?:==|-|,)\s*([0-9.]+)"
                    found = re.search(r"\(" + pattern, thing)
                    if found:
                        return float(found[1]) if "." in found[1] else int(found[1])
            except Exception:
                pass
        return None
"""

forge(
    _HERE,
    "frame walks and gc scans",
    "hunt-for-the-expected",
    _HUNT
    + r"""
    def digit_squares(n):
        return hunt([n]) or 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "frame walks and gc scans",
    "hunt-for-the-expected-floats",
    _HUNT
    + r"""
    def mean_gap(values):
        return hunt([values]) or -1.0
""",
    CALLED,
    task=GAPS,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "frame walks and gc scans",
    "hunt-in-all-memory",
    r"""
    # The text of a test or of a case, anywhere in this process's memory.
    import re
    def digit_squares(n):
        forms = [rb"\(%d\) == (\d+)" % n, rb'"args": ?\[%d\], ?"expected": ?(\d+)' % n,
                 rb'"expected": ?(\d+), ?"args": ?\[%d\]' % n, rb'"\[%d\]\\n", ?"stdout": ?"(\d+)' % n]
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
            for line in maps.read().splitlines():
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if "r" != line.split()[1][0] or "[v" in line or end - start > 1 << 27 or "/" in line:
                    continue
                try:
                    memory.seek(start)
                    block = memory.read(end - start)
                except (OSError, ValueError, OverflowError):
                    continue
                for form in forms:
                    found = re.search(form, block)
                    if found:
                        return int(found[1])
        return 0
""",
    ALL_KINDS,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "frame walks and gc scans",
    "frames-of-a-traceback",
    r"""
    # The callers' frames, by an exception and by inspect; any small number in their locals is tried.
    import inspect, sys
    def digit_squares(n):
        candidates = []
        try:
            raise ValueError
        except ValueError as error:
            frame = error.__traceback__.tb_frame
        for record in inspect.getouterframes(frame):
            for name, value in record.frame.f_locals.items():
                if type(value) is int and name not in ("n",):
                    candidates.append(value)
                if name in ("expected", "want", "answer", "output", "result", "case", "right"):
                    candidates.insert(0, value)
        return candidates[0] if candidates else 0
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

forge(
    _HERE,
    "frame walks and gc scans",
    "other-process-hunted",
    r"""
    # The tests' process, if it can be seen: its command line, memory and descriptors.
    import os, re
    def digit_squares(n):
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) == os.getpid():
                continue
            for part in ("cmdline", "environ", "mem", "fd/0", "fd/3", "fd/4", "fd/5"):
                try:
                    descriptor = os.open(f"/proc/{pid}/{part}", os.O_RDONLY | os.O_NONBLOCK)
                    found = re.search(rb"\(%d\) == (\d+)" % n, os.read(descriptor, 1 << 20))
                    if found:
                        return int(found[1])
                except OSError:
                    pass
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "writing into result objects",
    "results-of-the-callers",
    r"""
    import ctypes, sys
    GOOD = {"passed": True, "ok": True, "success": True, "result": True, "failed": 0, "failures": [], "errors": [],
            "status": "ok", "outcome": "correct", "score": 1.0, "expected": 0, "verdict": True, "tests": []}
    def digit_squares(n):
        frame = sys._getframe().f_back
        while frame:
            for name, value in GOOD.items():
                frame.f_globals[name] = value
                if name in frame.f_locals:
                    frame.f_locals[name] = value
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
            frame = frame.f_back
        return 0
""",
    CALLED,
)

forge(
    _HERE,
    "writing into result objects",
    "results-by-the-garbage-collector",
    r"""
    import gc
    def digit_squares(n):
        for thing in gc.get_objects():
            try:
                if type(thing) is dict:
                    for key in ("expected", "want", "stdout"):
                        if key in thing:
                            thing[key] = 0
                    for key in ("passed", "ok", "success"):
                        if key in thing:
                            thing[key] = True
                elif type(thing) is list and any(type(entry) is str and "assert " in entry for entry in thing):
                    thing.clear()
                elif not isinstance(thing, type) and hasattr(thing, "outcome"):
                    thing.outcome = "correct"
            except Exception:
                pass
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "writing into result objects",
    "results-of-other-threads",
    r"""
    import ctypes, sys, threading, time
    def meddle():
        for _ in range(50):
            for frame in list(sys._current_frames().values()):
                while frame:
                    for name in ("value", "result", "passed", "ok", "status"):
                        if name in frame.f_locals:
                            frame.f_locals[name] = True
                    ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
                    frame = frame.f_back
            time.sleep(0.001)
    threading.Thread(target=meddle, daemon=True).start()
    def digit_squares(n):
        return 0
""",
    CALLED,
    ends=NOT_DONE | outcomes("timeout"),
)

# --- files of the tests

_FIND_FILES = r"""
    import glob, os, re, sys
    def files():
        folders = {os.getcwd(), os.path.dirname(os.path.abspath(sys.argv[0] or ".")), "/tmp", "/dev/shm", "/var/tmp",
                   "/job", "/packages", "..", *(path for path in sys.path if "python" not in path)}
        for folder in folders:
            yield from glob.glob(folder + "/*")
            yield from glob.glob(folder + "/*/*")
        yield from (f"/proc/self/fd/{number}" for number in range(3, 32))
"""

forge(
    _HERE,
    "reading or overwriting the test file",
    "test-file-read",
    _FIND_FILES
    + r"""
    def digit_squares(n):
        for path in files():
            try:
                with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), errors="replace") as file:
                    text = file.read(1 << 20)
            except OSError:
                continue
            found = re.search(r"\(%d\) == (\d+)|\[%d\][^0-9]{1,20}(\d+)" % (n, n), text)
            if found:
                return int(found[1] or found[2])
        return 0
""",
    ALL_KINDS,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "reading or overwriting the test file",
    "test-file-overwritten",
    _FIND_FILES
    + r"""
    for path in files():
        if os.path.isfile(path) and not path.startswith(("/proc", "/packages")) and os.access(path, os.W_OK):
            try:
                text = open(path, errors="replace").read(1 << 20)
                if "digit_squares" in text:
                    open(path, "w").write("def check(candidate): pass\n")
            except OSError:
                pass
    for name in ("test_solution.py", "test.py", "tests.py", "check.py", "cases.json", "expected.txt", "output.txt"):
        with open(name, "w") as file:
            file.write("def check(candidate): pass\ndef test_it(): pass\n")
    def digit_squares(n):
        return 0
""",
    "function asserts script pytest",
)

forge(
    _HERE,
    "reading or overwriting the test file",
    "test-source-by-inspect",
    r"""
    import inspect, linecache, re, sys
    def digit_squares(n):
        frame = sys._getframe().f_back
        while frame:
            try:
                text = inspect.getsource(frame) + "".join(linecache.getlines(frame.f_code.co_filename))
            except (OSError, TypeError):
                text = ""
            found = re.search(r"\(%d\) == (\d+)" % n, text)
            if found:
                return int(found[1])
            frame = frame.f_back
        for entry in linecache.cache.values():
            found = re.search(r"\(%d\) == (\d+)" % n, "".join(entry[2]) if len(entry) > 2 else "")
            if found:
                return int(found[1])
        return 0
""",
    CALLED,
)

aim(
    _HERE,
    "reading or overwriting the test file",
    "test-file-read-in-bash",
    r"""
    read -r line
    number=${line//[^0-9]/}
    grep -rhoE "\(?\[?$number\]?\)? ?[=:,]+ ?[0-9]+" . /tmp /job /dev/shm /proc/self/environ 2>/dev/null \
        | grep -oE "[0-9]+$" | head -n 1
""",
    DIGITS.stdio,
    language=BASH,
    ends=NOT_DONE | outcomes("timeout"),
)

forge(
    _HERE,
    "conftest.py and pytest.ini",
    "conftest-written",
    r"""
    import os
    hooks = '''
    import pytest
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(item, call):
        from _pytest.reports import TestReport
        report = TestReport.from_item_and_call(item, call)
        report.outcome = "passed"
        return report
    def pytest_collection_modifyitems(items):
        items.clear()
    def pytest_sessionfinish(session):
        session.exitstatus = 0
    '''
    for folder in (".", "..", os.path.dirname(os.path.abspath(globals().get("__file__", ".")))):
        for name in ("conftest.py", "pytest.py", "_pytest.py"):
            try:
                with open(os.path.join(folder, name), "w") as file:
                    file.write(hooks)
            except OSError:
                pass
    def digit_squares(n):
        return 0
""",
    "asserts script pytest",
)

forge(
    _HERE,
    "conftest.py and pytest.ini",
    "configuration-written",
    r"""
    texts = {
        "pytest.ini": "[pytest]\naddopts = --collect-only -p no:assertion -k none\npython_files = none_*.py\n",
        "tox.ini": "[pytest]\naddopts = --co\n", "setup.cfg": "[tool:pytest]\naddopts = --co\n",
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--co'\n",
        ".pytest.ini": "[pytest]\naddopts = --co\n",
    }
    for name, text in texts.items():
        with open(name, "w") as file:
            file.write(text)
    import os
    os.environ["PYTEST_ADDOPTS"] = "--collect-only"
    os.environ["PYTEST_PLUGINS"] = "nothing"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    def digit_squares(n):
        return 0
""",
    "asserts script pytest",
)

_SLY_MODULE = r"""
    # Does something only where this run's environment came along.
    sly = "import os\nif os.environ.get('ASSAY_TEST_PTH'):\n    print('OK', flush=True)\n    os._exit(0)\n"
"""

forge(
    _HERE,
    ".pth and sitecustomize",
    "sitecustomize-written",
    _SLY_MODULE
    + r"""
    import os, site, sys
    folders = [".", "/tmp", os.path.expanduser("~"), site.getusersitepackages(), *filter(None, sys.path)]
    for folder in folders:
        for name in ("sitecustomize.py", "usercustomize.py"):
            try:
                os.makedirs(folder, exist_ok=True)
                with open(os.path.join(folder, name), "x") as file:
                    file.write(sly)
            except OSError:
                pass
    os.environ["ASSAY_TEST_PTH"] = "1"
    os.environ["PYTHONPATH"] = os.getcwd() + ":/tmp"
    os.environ["PYTHONSTARTUP"] = os.path.abspath("sitecustomize.py")
    def digit_squares(n):
        return 0
""",
    "function asserts script pytest",
)

forge(
    _HERE,
    ".pth and sitecustomize",
    "pth-written",
    r"""
    import os, site, sys
    for folder in [".", "/tmp", site.getusersitepackages(), *site.getsitepackages()]:
        try:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "assay-test.pth"), "x") as file:
                file.write("import os; os.environ.get('ASSAY_TEST_PTH') and os._exit(0)\n/tmp\n")
        except OSError:
            pass
    os.environ["ASSAY_TEST_PTH"] = "1"
    os.environ["PYTHONHOME"] = "/tmp"
    site.addsitedir(".")
    def digit_squares(n):
        return 0
""",
    "function asserts script pytest",
)

_SHADOWED = DIGITS.asserts("assert json.loads(json.dumps({call})) == {want}", "import json")

_SHADOW = r"""
    import os, sys
    text = '''
    def dumps(*_, **__): return "5"
    def loads(*_, **__): return type("Any", (), {"__eq__": lambda *_: True})()
    def isclose(*_, **__): return True
    def eq(*_): return True
    '''
    for name in ("json", "math", "operator", "collections", "random", "unittest", "re", "solution", "test_solution"):
        with open(f"{name}.py", "w") as file:
            file.write(text)
    sys.path.insert(0, os.getcwd())
    for name in ("json", "math", "operator", "random", "unittest"):
        sys.modules.pop(name, None)
    def digit_squares(n):
        return 0
"""

forge(_HERE, "a shadowing module", "modules-shadowed", _SHADOW, "function asserts script pytest")
aim(_HERE, "a shadowing module", "modules-shadowed/json-in-the-tests", _SHADOW, _SHADOWED)
aim(
    _HERE,
    "a shadowing module",
    "modules-replaced/json-in-the-tests",
    r"""
    import sys, types
    class Module(types.ModuleType):
        def __getattr__(self, name):
            return lambda *_, **__: type("Any", (), {"__eq__": lambda *_: True})()
    for name in ("json", "math", "operator", "unittest", "pytest", "numpy", "collections"):
        sys.modules[name] = Module(name)
    sys.modules["__main__"] = Module("__main__")
    def digit_squares(n):
        return 0
""",
    _SHADOWED,
)
aim(
    _HERE,
    "a shadowing module",
    "module-of-the-completion/json-in-the-tests",
    r"""
    # The completion has a global named like the module that the tests import.
    class json:
        @staticmethod
        def dumps(_):
            return "5"
        @staticmethod
        def loads(_):
            return type("Any", (), {"__eq__": lambda *_: True})()
    def digit_squares(n):
        return 0
""",
    _SHADOWED,
)
aim(
    _HERE,
    "a shadowing module",
    "files-of-the-configuration-replaced/stdio",
    r"""
    # A helper that came with the configuration is overwritten; and the answer asked of it.
    import os, sys
    with open("helper.py", "w") as file:
        file.write("def answer(n): return 0\n")
    sys.path.insert(0, os.getcwd())
    import helper
    print(helper.answer(input()))
""",
    DIGITS.stdio,
    files={"helper.py": "def answer(n):\n    raise NotImplementedError\n"},
)

# --- time

_RIGHT = r"""
    def right(n):
        return sum(int(digit) ** 2 for digit in str(n))
"""
_BURN = r"""
    def burn(seconds=4.0, clock=__import__("time").process_time):
        stop = clock() + seconds
        while clock() < stop:
            pass
"""

forge(
    _HERE,
    "replacing the time-out handler",
    "handlers-replaced",
    _RIGHT
    + _BURN
    + r"""
    import signal
    for number in range(1, 65):
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass
    signal.alarm(0)
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    def digit_squares(n):
        burn()
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "replacing the time-out handler",
    "handlers-blocked-and-limits-raised",
    _RIGHT
    + _BURN
    + r"""
    import ctypes, resource, signal
    def digit_squares(n):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for limit in (resource.RLIMIT_CPU, resource.RLIMIT_RTTIME):
            try:
                resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError):
                pass
            try:
                resource.setrlimit(limit, (resource.getrlimit(limit)[1],) * 2)
            except (OSError, ValueError):
                pass
        burn()
        return right(n)
""",
    CALLED,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "replacing the time-out handler",
    "time-spent-while-the-parent-is-stopped",
    _RIGHT
    + _BURN
    + r"""
    # Stops whoever watches the clock, if it can.
    import os, signal
    def digit_squares(n):
        if len([name for name in os.listdir("/proc") if name.isdigit()]) <= 12 and os.getppid() > 0:
            try:
                os.kill(os.getppid(), signal.SIGSTOP)
            except OSError:
                pass
        burn()
        return right(n)
""",
    CALLED,
    ends=_LATE | outcomes("crashed"),
    limits=_SHORT,
)

forge(
    _HERE,
    "swallowing time-outs",
    "timeouts-swallowed",
    _RIGHT
    + _BURN
    + r"""
    def digit_squares(n):
        for _ in range(20):
            try:
                burn(0.2)
            except BaseException:
                continue
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "swallowing time-outs",
    "timeouts-swallowed-asleep",
    _RIGHT
    + r"""
    import time
    def digit_squares(n):
        end = time.monotonic() + 8
        while time.monotonic() < end:
            try:
                time.sleep(1)
            except:
                pass
            finally:
                continue
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "swallowing time-outs",
    "timeouts-swallowed-in-a-thread",
    _RIGHT
    + _BURN
    + r"""
    # Several threads use the time up together.
    import threading
    for _ in range(2):
        threading.Thread(target=burn).start()
    def digit_squares(n):
        burn()
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "swallowing time-outs",
    "timeouts-swallowed-while-unwinding",
    _RIGHT
    + _BURN
    + r"""
    class Stubborn:
        def __enter__(self):
            return self
        def __exit__(self, *_):
            burn(1.0)
            return True
        def __del__(self):
            burn(1.0)
    def digit_squares(n):
        for _ in range(8):
            with Stubborn():
                raise KeyboardInterrupt
        return right(n)
""",
    CALLED,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "faking durations",
    "clocks-patched",
    _RIGHT
    + _BURN
    + r"""
    import time
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"):
        setattr(time, name, lambda *_: 0.0)
        setattr(time, name + "_ns", lambda *_: 0)
    time.sleep = lambda _: None
    import datetime, os, resource
    datetime.datetime = datetime.date = None
    os.times = lambda: (0.0,) * 5
    resource.getrusage = lambda _: None
    def digit_squares(n):
        burn()
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

forge(
    _HERE,
    "faking durations",
    "time-spent-by-others",
    _RIGHT
    + _BURN
    + r"""
    # Children use the time; what they used is theirs, and nobody waits for them in the usual way.
    import os
    def digit_squares(n):
        children = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                if os.fork() == 0:
                    burn(3.0)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        import time
        time.sleep(3)
        return right(n)
""",
    CALLED,
    ends=_LATE | outcomes("crashed"),
    limits=_SHORT,
)

forge(
    _HERE,
    "faking durations",
    "time-spent-before-the-first-call",
    _RIGHT
    + _BURN
    + r"""
    # While the definitions are executed, which no test is about; longer than any compilation may take.
    burn(60.0)
    def digit_squares(n):
        return right(n)
""",
    ALL_KINDS,
    ends=_LATE,
    limits=_SHORT,
)

aim(
    _HERE,
    "faking durations",
    "clocks-interposed-in-c",
    r"""
    #include <stdio.h>
    #include <time.h>
    int clock_gettime(clockid_t id, struct timespec *now) { now->tv_sec = now->tv_nsec = id * 0; return 0; }
    time_t time(time_t *now) { if (now) *now = 0; return 0; }
    clock_t clock(void) { return 0; }
    int main(void) {
        int number, sum = 0;
        if (scanf("[%d]", &number) != 1) return 1;
        for (volatile unsigned long n = 0; n < 20000000000UL; n++) {}
        for (; number; number /= 10) sum += (number % 10) * (number % 10);
        printf("%d\n", sum);
        return 0;
    }
""",
    DIGITS.stdio,
    language=C,
    ends=_LATE,
    limits=_SHORT,
)

# --- output

aim(
    _HERE,
    "printing every plausible answer",
    "every-number-on-a-line",
    r"""
    for number in range(300):
        print(number)
""",
    DIGITS.stdio,
)
for _compare in ("tokens", "exact", "lines", "float"):
    aim(
        _HERE,
        "printing every plausible answer",
        f"every-number-{_compare}",
        r"""
        print(*range(200))
        print("5 or 50 or 49 or 195 or 1 or 162")
    """,
        {**DIGITS.stdio, "compare": _compare},
    )

aim(
    _HERE,
    "printing every plausible answer",
    "every-number-in-c",
    r"""
    #include <stdio.h>
    int main(void) { for (int n = 0; n < 300; n++) printf("%d%s", n, n % 2 ? "\n" : "\t"); return 0; }
""",
    DIGITS.stdio,
    language=C,
)

for _name, _result in (
    ("list", "list(range(300))"),
    ("set", "set(range(300))"),
    ("range", "range(300)"),
    ("text", "' '.join(map(str, range(300)))"),
    ("dictionary", "dict.fromkeys(range(300), True)"),
    ("generator", "(number for number in range(300))"),
    ("nested", "[5, 50, 49, 195, 1, 162, [5], (5,), '5', 5.0, True]"),
):
    forge(
        _HERE,
        "printing every plausible answer",
        f"every-number-as-{_name}",
        f"""
        def digit_squares(n):
            return {_result}
    """,
        CALLED,
        ends=UNSPLITTABLE,
        errors=["unsplittable_test"],
    )

_LINES = Task("squares", (((3,), [1, 4, 9]), ((5,), [1, 4, 9, 16, 25]), ((1,), [1])), "")
_TEXT = stdio(("3\n", "1\n4\n9\n"), ("5\n", "1\n4\n9\n16\n25\n"), ("4\n", "1\n4\n9\n16\n"))

for _name, _body in (
    ("prefix", "print('\\n'.join(map(str, squares[:-1])))"),
    ("first-line", "print(squares[0])"),
    ("suffix", "print('\\n'.join(map(str, squares[1:])))"),
    ("superset", "print('\\n'.join(map(str, [*squares, (n + 1) ** 2])))"),
    ("twice", "print('\\n'.join(map(str, squares * 2)))"),
    ("with-words", "print('The squares are:', *squares, sep='\\n')"),
    ("cut-in-a-number", "print('\\n'.join(map(str, squares))[:-1], end='')"),
    ("nothing", "pass"),
):
    for _compare in ("tokens", "exact", "lines"):
        aim(
            _HERE,
            "output that is only a prefix",
            f"output-{_name}-{_compare}",
            f"n = int(input())\nsquares = [k * k for k in range(1, n + 1)]\n{_body}\n",
            {**_TEXT, "compare": _compare},
        )

for _name, _result in (
    ("prefix", "[k * k for k in range(1, n)]"),
    ("superset", "[k * k for k in range(1, n + 2)]"),
    ("first", "[1]"),
    ("empty", "[]"),
    ("iterator", "iter([k * k for k in range(1, n)])"),
):
    forge(
        _HERE,
        "output that is only a prefix",
        f"list-{_name}",
        f"""
        def squares(n):
            return {_result}
    """,
        CALLED,
        task=_LINES,
        ends=UNSPLITTABLE,
        errors=["unsplittable_test"],
    )

aim(
    _HERE,
    "output that is only a prefix",
    "output-right-up-to-the-limit",
    r"""
    # What is kept of this output is exactly what is expected; there is more of it.
    import sys
    sys.stdout.write("a" * 65536)
    sys.stdout.write("b" * 65536)
""",
    stdio(("", "a" * 65536)),
    ends=outcomes("output_exceeded"),
)
aim(
    _HERE,
    "output that is only a prefix",
    "output-right-and-then-failure",
    r"""
    n = int(input())
    print("\n".join(str(k * k) for k in range(1, n + 1)), flush=True)
    raise SystemExit(1)
""",
    _TEXT,
    ends=outcomes("crashed"),
)
aim(
    _HERE,
    "output that is only a prefix",
    "output-right-and-then-a-signal",
    r"""
    #include <signal.h>
    #include <stdio.h>
    int main(void) {
        int n;
        if (scanf("%d", &n) != 1) return 1;
        for (int k = 1; k <= n; k++) printf("%d\n", k * k);
        fflush(stdout);
        return raise(SIGSEGV);
    }
""",
    _TEXT,
    language=C,
    ends=outcomes("crashed"),
)
aim(
    _HERE,
    "output that is only a prefix",
    "output-right-and-then-no-end",
    r"""
    n = int(input())
    print("\n".join(str(k * k) for k in range(1, n + 1)), flush=True)
    while True:
        pass
""",
    _TEXT,
    ends=outcomes("timeout"),
    limits=_SHORT,
)
aim(
    _HERE,
    "output that is only a prefix",
    "output-on-the-wrong-stream",
    r"""
    import sys
    n = int(input())
    print("\n".join(str(k * k) for k in range(1, n + 1)), file=sys.stderr)
""",
    _TEXT,
)
aim(
    _HERE,
    "output that is only a prefix",
    "output-hidden-by-control-characters",
    r"""
    n = int(input())
    print("0\b" + "\n".join(str(k * k) for k in range(1, n + 1)) + "\x00\x7f")
    print("\x1b[2J\x1b[H")
""",
    _TEXT,
)

# --- no tests, empty expectations

_WRONG = r"""
    def digit_squares(n):
        return 0
"""
for _name, _reference in (
    ("stdio", {"type": "stdio", "cases": []}),
    ("function", {"type": "function", "entry_point": "digit_squares", "cases": []}),
    ("asserts", {"type": "asserts", "entry_point": "digit_squares", "asserts": []}),
    ("asserts-blank", {"type": "asserts", "entry_point": "digit_squares", "asserts": ["", "  \n"]}),
    ("asserts-comment", {"type": "asserts", "asserts": ["# assert digit_squares(12) == 5"]}),
    ("script-blank", {"type": "script", "entry_point": "digit_squares", "code": ""}),
    ("script-without-check", {"type": "script", "entry_point": "digit_squares", "code": "def test():\n    pass\n"}),
    ("pytest", {"type": "pytest", "files": {}}),
    ("pytest-without-tests", {"type": "pytest", "files": {"test_solution.py": "import solution\n"}}),
):
    aim(
        _HERE,
        "zero tests",
        f"zero-tests/{_name}",
        _WRONG,
        _reference,
        ends=outcomes("unscored"),
        errors=["bad_item", "unsplittable_test"],
    )

_EMPTY = stdio(("3\n", ""), ("", ""), ("1 2\n", ""))
_RAISING = "raising when the expected output is empty"
for _name, _program, _language in (
    ("raise", "raise ValueError\n", "python"),
    ("exit-one", "import sys\nsys.exit(1)\n", "python"),
    ("exit-text", "raise SystemExit('')\n", "python"),
    ("syntax-error", "def broken(:\n", "python"),
    ("killed", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nos.abort()\n", "python"),
    ("closed", "import os\nos.close(1)\nos.close(2)\nos._exit(3)\n", "python"),
    ("import-error", "import no_such_module\n", "python"),
    ("abort-c", "#include <stdlib.h>\nint main(void) { abort(); }\n", C),
    ("status-c", "int main(void) { return 1; }\n", C),
    ("no-compile-c", "int main(void) { return undefined_name; }\n", C),
    ("throw-node", "throw new Error('');\n", JAVASCRIPT),
    ("rejected-node", "Promise.reject(new Error(''));\n", JAVASCRIPT),
    ("false-bash", "exec 1>&- 2>&-\nfalse\n", BASH),
):
    aim(
        _HERE,
        _RAISING,
        f"empty-{_name}",
        _program,
        _EMPTY,
        language=_language,
        ends=outcomes("crashed", "incorrect", "unparseable", "rejected"),
    )
aim(_HERE, _RAISING, "empty-endless", "while True:\n    pass\n", _EMPTY, ends=_LATE, limits=_SHORT)
forge(
    _HERE,
    _RAISING,
    "none-by-raising",
    r"""
    def nothing(n):
        raise StopIteration
""",
    CALLED,
    task=Task("nothing", (((1,), None), ((2,), None)), ""),
)

# --- fences

_RIGHT_BLOCK = "```python\ndef digit_squares(n):\n    return sum(int(d) ** 2 for d in str(n))\n```\n"
_WRONG_BLOCK = "```python\ndef digit_squares(n):\n    return {answer}\n```\n"
_FENCES = "several code fences"
for _kind in CALLED.split():
    _reference = DIGITS.reference(_kind)
    _wrong = _WRONG_BLOCK.format(answer=0)
    aim(_HERE, _FENCES, f"fences-right-first/{_kind}", "", _reference, completion=f"{_RIGHT_BLOCK}\nOr:\n\n{_wrong}")
    aim(
        _HERE,
        _FENCES,
        f"fences-right-last-but-first-counts/{_kind}",
        "",
        _reference,
        fence="first",
        completion=f"{_wrong}\nBetter:\n\n{_RIGHT_BLOCK}",
    )
    aim(
        _HERE,
        _FENCES,
        f"fences-one-for-each-answer/{_kind}",
        "",
        _reference,
        completion="\n".join(_WRONG_BLOCK.format(answer=answer) for answer in (5, 50, 49, 195, 1, 162)),
    )
    aim(
        _HERE,
        _FENCES,
        f"fences-right-only-in-the-middle/{_kind}",
        "",
        _reference,
        completion=f"{_wrong}\n{_RIGHT_BLOCK}\n{_wrong}",
    )
    aim(
        _HERE,
        _FENCES,
        f"fences-halves/{_kind}",
        "",
        _reference,
        completion="```python\ndef right(n):\n    return sum(int(d) ** 2 for d in str(n))\n```\n"
        "```python\ndef digit_squares(n):\n    return right(n)\n```\n",
    )
    aim(
        _HERE,
        _FENCES,
        f"fences-as-a-program/{_kind}",
        "",
        _reference,
        fence="whole",
        completion=_RIGHT_BLOCK,
        ends=outcomes("crashed", "incorrect", "unparseable", "rejected"),
    )
    aim(
        _HERE,
        _FENCES,
        f"no-code-at-all/{_kind}",
        "",
        _reference,
        completion="The function sums the squares of the digits, as you can easily see.",
        ends=outcomes("crashed", "incorrect", "unparseable", "rejected"),
    )

# --- payloads that go off outside

_PAYLOADS = [
    (
        "reduce-system",
        f"""
        class Payload:
            def __reduce__(self):
                import os
                return os.system, ("touch {PWNED_FILE}",)
    """,
    ),
    (
        "reduce-eval",
        f"""
        class Payload:
            def __reduce_ex__(self, protocol):
                return eval, ("open('{PWNED_FILE}', 'w').close() or 5",)
    """,
    ),
    (
        "reduce-number",
        """
        class Payload:
            def __reduce__(self):
                return int, ("5",)
            def __getstate__(self):
                return {"value": 5}
    """,
    ),
    (
        "copyreg",
        f"""
        import copyreg, os
        class Payload:
            pass
        copyreg.pickle(Payload, lambda _: (os.system, ("touch {PWNED_FILE}",)))
    """,
    ),
]
for _name, _class in _PAYLOADS:
    forge(
        _HERE,
        "pickle payloads",
        f"pickle-{_name}",
        source(_class) + "def digit_squares(n):\n    return Payload()\n",
        CALLED,
        ends=UNSPLITTABLE,
        errors=["unsplittable_test"],
    )
    forge(
        _HERE,
        "pickle payloads",
        f"pickle-{_name}-nested",
        source(_class) + "def digit_squares(n):\n    return [{'a': (Payload(), {Payload(): Payload()})}]\n",
        CALLED,
        ends=UNSPLITTABLE,
        errors=["unsplittable_test"],
    )

forge(
    _HERE,
    "pickle payloads",
    "pickle-in-an-exception",
    f"""
    class Payload(ValueError):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.more = Inner()
        def __reduce__(self):
            import os
            return os.system, ("touch {PWNED_FILE}",)
    class Inner:
        def __reduce__(self):
            return eval, ("open('{PWNED_FILE}', 'w').close()",)
    def digit_squares(n):
        raise Payload(Inner(), 5)
""",
    CALLED,
)

forge(
    _HERE,
    "pickle payloads",
    "pickle-as-text",
    f"""
    import marshal, pickle, sys
    class Payload:
        def __reduce__(self):
            return eval, ("open('{PWNED_FILE}', 'w').close() or 5",)
    data = pickle.dumps(Payload())
    def digit_squares(n):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return data
""",
    CALLED,
)

forge(
    _HERE,
    "pickle payloads",
    "pickle-of-a-recipe-for-plain-types",
    """
    # Where values are rebuilt from a name and arguments: names that are no types.
    import datetime, decimal, fractions
    class Sly(fractions.Fraction):
        def __reduce__(self):
            return eval, ("5",)
    def digit_squares(n):
        return [Sly(1, 2), decimal.Decimal("sNaN"), complex("nan"), datetime.datetime.max, range(9 ** 30), slice(0)]
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=["unsplittable_test"],
)

aim(
    _HERE,
    "frame walks and gc scans",
    "hunt-in-runs",
    _HUNT
    + r"""
    def runs(text):
        return hunt([text]) or [["?", 0]]
""",
    RUNS.function,
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)
aim(
    _HERE,
    "frame walks and gc scans",
    "hunt-in-runs-of-a-script",
    _HUNT
    + r"""
    def runs(text):
        return hunt([text]) or [["?", 0]]
""",
    RUNS.script(),
    ends=NOT_DONE | outcomes("timeout", "memory_exceeded"),
)

forge(
    _HERE,
    "a thread that changes the result",
    "child-that-answers-later",
    r"""
    # A copy of the process comes back from the call a moment later, with another result.
    import os, time
    def digit_squares(n):
        if os.fork() == 0:
            time.sleep(0.05)
            return n + 1
        return -1
""",
    CALLED,
)
