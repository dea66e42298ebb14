"""The oracle's side: runs the tests, and tells what became of each."""

from __future__ import annotations

import _thread
import builtins
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from .. import values
from . import brief, library, stands
from .channel import MAX_FRAME, Channel, ClosedError, MalformedError
from .faults import CandidateLost, LoadFailed, Stuck
from .oracle_objects import OracleObjects
from .peer import Peer
from .script import MARK, Script, needed

MODULE = "tests"
"""What `__name__` is in the tests."""
MAX_DEPTH = 150
"""Callbacks within calls within callbacks."""
_RECURSION_LIMIT, _MAX_RECURSION_LIMIT = 3000, 10_000
_BUILTINS = dict(vars(builtins))
_LIVE = ("get", "name", "special")
_CONTAINERS = (list, dict, set, bytearray)

MAX_MESSAGE = 500
_COMPILING = ("compile", "marshal.loads")
_RUNNING = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen")
"""Events that would run, as code or as a program, what they are given."""

Report = Callable[[str, str], None]


def run_tests(
    channel_fd: int, plan: Mapping[str, Any], report: Report, loaded: Callable[[], None] = lambda: None
) -> None:
    """Run the tests of `plan` from `plan["first"]` on. See the package for all of it."""
    session = Session(Channel(channel_fd), plan, report)
    _prepare(session)
    session.run(loaded)


def _prepare(session: Session) -> None:
    """Make this process one to run tests in."""
    set_limit = sys.setrecursionlimit
    set_limit(max(sys.getrecursionlimit(), _RECURSION_LIMIT))
    # above this, a frame nested as deeply could overflow the C stack of older interpreters
    sys.setrecursionlimit = lambda limit: set_limit(min(limit, _MAX_RECURSION_LIMIT))
    sys.argv = [MODULE]
    sys.addaudithook(session.audit)
    sys.modules["__main__"] = _Module("__main__", session.look_up, session.defined)  # where unittest.main looks
    for name in ("solution", "main"):
        sys.modules[name] = _Module(name, session.resolve, tuple)


class _Module(ModuleType):
    """A module whose names come from the session."""

    def __init__(self, name: str, find: Callable[[str], Any], names: Callable[[], Iterable[str]]) -> None:
        super().__init__(name)
        self.__dict__["__path__"] = []
        self.__dict__["_assay_find"] = find
        self.__dict__["_assay_names"] = names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.__dict__["_assay_find"](name)
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> Iterable[str]:
        return list(self.__dict__["_assay_names"]())


class Globals(dict):  # type: ignore[type-arg]
    """The tests' global names: what they do not define themselves is the program's, but for builtins.

    CPython looks up globals in a dict's subclass by its `__getitem__`, in functions too, and only then in builtins.
    """

    def __init__(self, resolve: Callable[[str], Any]) -> None:
        super().__init__(__name__=MODULE)
        self._resolve = resolve

    def __missing__(self, name: str) -> Any:
        return self._resolve(name)


class _Asking(Peer):
    """The oracle's end of the channel. The candidate may only ask for calls of what the test gave it."""

    objects: OracleObjects

    def __init__(self, channel: Channel, session: Session) -> None:
        super().__init__(channel, OracleObjects(session, MODULE))
        self._session = session

    def perform(self, operation: str, arguments: list[Any], _capture: bool) -> tuple[bool, Any, str]:
        """See `Peer`."""
        if not arguments or operation not in ("call", "next"):
            raise MalformedError("a question that is never asked")
        try:
            target = self.objects.given(arguments[0])
            positional, keyword = arguments[1:] if operation == "call" else ((), ())
            known = callable(target) if operation == "call" else hasattr(type(target), "__next__")
            if type(positional) is not tuple or not known:
                raise MalformedError("not a call")
            keyword = dict(keyword)
        except (TypeError, ValueError):
            raise MalformedError("a question of another shape") from None
        return self._session.call_back(operation, target, positional, keyword)


def _clean(message: str) -> str:
    return message[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()[:MAX_MESSAGE]


class Session:
    """One run of tests against one candidate."""

    def __init__(self, channel: Channel, plan: Mapping[str, Any], report: Report) -> None:
        self.named = False
        self._channel = channel
        self._peer = _Asking(channel, self)
        self._tests: list[str] = list(plan["tests"])
        self._first: int = plan.get("first", 0)
        self._names = frozenset(plan.get("names") or ())
        self._aliases: dict[str, str] = dict(plan.get("aliases") or {})
        self._prelude: str = plan.get("prelude") or ""
        self._setup: str = plan.get("setup") or ""
        self._report = report
        self._globals = Globals(self.resolve)
        self._globals[MARK] = self._check
        self._scripts: dict[str, Script] = {}
        self._values: set[str] = set()
        """Names that the tests do something else with than calling them."""
        self._cache: dict[str, Any] = {}
        """Names of the program that mean a function, a class or another object."""
        self._plain: set[str] = set()
        """Those that have told nothing: a function, or a class, with which tests do nothing but call it."""
        self._classes: dict[str, bool] = {}
        self._live: deque[list[Any]] = deque(maxlen=16)
        """Containers that came out of the program's objects: what the test does to them is done to the originals."""
        self._standard = (sys.stdin, sys.stdout)

        self._lock = _thread.RLock()
        """Tests may have threads; callbacks run in the thread that waits."""
        self._stuck: Stuck | None = None
        self._lost: CandidateLost | None = None
        self._broken = False
        """Whether the channel can no longer be understood."""
        self._raised: list[BaseException] = []
        """Exceptions of the program, in this test."""
        self._used = False
        """Whether anything has come from the program."""
        self._silent = False
        """Whether the candidate must not be asked, even by a repr."""
        self._checks = 0
        self._asked = 0
        self._seen = False
        """Whether the test did something with a function of the program without calling it."""
        self._items = 0
        self._tainted: set[str] = set()
        """Names that hold, for all that is known, something that setup or an earlier test had from the program."""
        self._unbound: set[str] = set()
        """Names that an earlier test should have bound, but did not get to."""
        self._lacking: set[str] = set()
        """Names in bodies of classes that the program does not have."""
        self._last: tuple[str, Any, Any, Any] | None = None

    def run(self, loaded: Callable[[], None]) -> None:
        """Run setup and tests. Raises `CandidateLost`, `LoadFailed`."""
        scripts = [self._compile(test, f"<test {index}>") for index, test in enumerate(self._tests)]
        self._await_loading()
        loaded()
        prepared = self._run_source(self._needed_prelude(), "<prelude>") if self._prelude else None
        self._protect_names()
        if prepared is None and self._setup:
            prepared = self._run_source(self._setup, "<setup>")
            self._protect_names()
        for index, script in enumerate(scripts):
            if index < self._first:
                if isinstance(script, Script):
                    self._unbound |= script.bound
                continue
            if self._lost is not None:
                raise CandidateLost(index)
            if self._broken:
                self._tell("protocol", "the program broke the channel in an earlier test")
            elif prepared is not None:
                self._tell(*prepared)
            elif isinstance(script, Script):
                self._run_test(index, script)
            else:
                self._tell("broken_test", script)

    # What tests and stands ask for

    def ask(self, operation: str, *arguments: Any) -> Any:
        """Have the candidate do something: returns its answer, or raises the exception that it answers with."""
        if self._lost is not None:
            raise self._lost
        if self._stuck is not None:
            raise self._stuck
        if self._silent:
            raise RuntimeError("the test is over")
        self._asked += operation != "name"
        self._used = True
        if self._live:
            self._push()
        capture = sys.stdout is not self._standard[1]
        if operation == "call" and (sys.stdin is not self._standard[0] or builtins.input is not _BUILTINS["input"]):
            self.refuse("the test replaces standard input")
        good, value, output = self._exchange(operation, arguments, capture)
        if output and capture:
            sys.stdout.write(output)
        if operation == "call":
            self._last = (self._name_of(arguments[0]), arguments[1], arguments[2], value)
        if good:
            if operation in _LIVE and type(value) in _CONTAINERS:
                self._live.append([operation, arguments, value, self._text(value)])
            return value
        if not isinstance(value, BaseException):
            self._fail_protocol("it raised something that is no exception")
        if isinstance(value, (StopIteration, StopAsyncIteration)) and arguments[1:2] != ("__next__",):
            value = RuntimeError(
                "the program raised StopIteration"
            )  # it would end loops of the test, asserts and all
        self._raised.append(value)
        raise value

    def refuse(self, reason: str) -> NoReturn:
        """End the test as unsplittable."""
        raise self._stick("unsplittable", reason)

    def drew(self) -> None:
        """Count an item drawn from an iterator."""
        self._items += 1
        if self._items > stands.MAX_ITEMS:
            raise self._stick("failed", "the program's iterator does not end")

    def has_class(self, name: str) -> bool:
        """Whether the program defines a class of this name."""
        if name not in self._classes:
            named = self.named
            good, value, _ = self._exchange("name", (name,), False)
            self._classes[name] = good and isinstance(value, stands.Mirror)
            self.named = named
        return self._classes[name]

    def call_back(
        self, operation: str, target: Any, positional: tuple[Any, ...], keyword: dict[str, Any]
    ) -> tuple[bool, Any, str]:
        """Call a function that the test gave the program."""
        try:
            if self._peer.depth > MAX_DEPTH:
                raise RecursionError("calls between test and program are nested too deeply")
            if operation == "call":
                return True, target(*positional, **keyword), ""
            for item in target:
                return True, (item,), ""
            return True, (), ""
        except (Stuck, CandidateLost):
            return False, RuntimeError("the test is over"), ""
        except BaseException as error:
            if isinstance(error, AssertionError) and not self._is_raised(error):
                self._stick("failed", self._failure(error))  # the program could swallow it
                error = RuntimeError("the test is over")  # and read in the message what is expected
            return False, error, ""

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Let nothing that the program returned become code here, whatever the test does with it."""
        if not self._used:
            return
        if event in _RUNNING:
            self.refuse(f"the test does {event} after it used the program")
        if event in _COMPILING and sys._getframe(1).f_globals is self._globals and not self._wrote(arguments[0]):
            self.refuse("the test runs as code what it does not contain")

    def _wrote(self, source: Any) -> bool:
        """Whether some source is a string in the tests; a part of them is not enough, as it may be a name's."""
        if isinstance(source, bytes):
            source = source.decode("utf-8", "replace")
        return any(source in script.strings for script in self._scripts.values())

    def _check(self) -> None:
        self._checks += 1

    def look_up(self, name: str) -> Any:
        """A global name of the tests. Raises KeyError."""
        if name not in self._globals:
            raise KeyError(name)
        return self._globals[name]

    def defined(self) -> list[str]:
        """The global names of the tests."""
        return [name for name in self._globals if not name.startswith("__")]

    def resolve(self, name: str) -> Any:
        """The meaning of a name that the tests do not define. Raises KeyError for builtins."""
        asked = name
        if name in self._aliases:
            name = self._aliases[name]
        elif (name in _BUILTINS and name not in self._names) or (name.startswith("__") and name.endswith("__")):
            raise KeyError(name)
        if name in self._cache:
            return self._met(asked, self._cache[name])
        if name in library.MODULES and name not in self._names and self._is_module(name):
            return __import__(name)
        self._peer.objects.asked = name
        try:
            value = self.ask("name", name)
        except NameError:
            if name in self._unbound:
                raise self._stick("failed", f"an earlier test did not get to set {name!r}") from None
            raise self._stick("exit", f"NameError: name {name!r} is not defined") from None
        finally:
            self._peer.objects.asked = ""
        if stands.is_stand(value) or isinstance(value, stands.Mirror):
            self._cache[name] = value
        return self._met(asked, value)

    def _met(self, name: str, value: Any) -> Any:
        """What a name means. A function, or a class, is only asked once it is called; all else has told something."""
        called = isinstance(value, stands.Mirror) or (stands.is_stand(value) and callable(value))
        if called and (name in self._aliases or name not in self._values):
            self._plain.add(name)
        elif called and stands.is_stand(value):
            self._seen = True  # what becomes of it, such as a comparison, may be the program's fault
        else:
            self._asked += 1
        return value

    def _is_module(self, name: str) -> bool:
        """Whether tests use a name as they would use a module, and not as a function."""
        text = "\n".join([self._setup, *self._tests])
        return bool(re.search(rf"\b{name}\s*\.", text)) and not re.search(rf"\b{name}\s*\(", text)

    def _exchange(self, operation: str, arguments: tuple[Any, ...], capture: bool) -> tuple[bool, Any, str]:
        with self._lock:
            try:
                answer = self._peer.ask(operation, arguments, capture)
            except values.ValuesError as error:
                self.refuse(f"the test gives the program something that cannot be sent: {error}")
            except ClosedError:
                self._lost = CandidateLost()
                raise self._lost from None
            except Exception as error:  # callbacks raise nothing here: the answer did this
                self._fail_protocol(str(error))
        if self._stuck is not None:
            raise self._stuck
        return answer

    def _fail_protocol(self, reason: str) -> NoReturn:
        self._broken = True
        raise self._stick("protocol", f"the program answered with no answer: {reason}")

    def _stick(self, status: str, message: str) -> Stuck:
        if self._stuck is None:
            self._stuck = Stuck(status, message)
        return self._stuck

    def _push(self) -> None:
        """Do to the program's containers what the test did to what it has of them."""
        for live in list(self._live):
            operation, arguments, value, before = live
            now = self._text(value)
            if now != before:
                live[3] = now
                self._exchange("refill", (operation, arguments, value), False)

    def _text(self, value: Any) -> bytes | None:
        try:
            return values.dump(values.Packer(MAX_FRAME, self._peer.objects, []).pack(value), MAX_FRAME)
        except values.ValuesError:
            return None

    # Running

    def _await_loading(self) -> None:
        try:
            frame = self._channel.receive()
        except ClosedError:
            raise CandidateLost from None
        except MalformedError as error:
            raise LoadFailed("protocol", str(error)) from None
        if len(frame) != 3 or frame[0] != "loaded" or type(frame[1]) is not bool or type(frame[2]) is not str:
            raise LoadFailed("protocol", "the program sent something else than that it was loaded")
        if not frame[1]:
            raise LoadFailed("exit", _clean(frame[2]))

    def _compile(self, source: str, name: str) -> Script | str:
        try:
            script = Script(source, name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"{name}: {type(error).__name__}: {error}"[:500]
        self._scripts[name] = script
        self._values |= script.values
        return script

    def _needed_prelude(self) -> str:
        """What the tests use of the prelude; all of it where it does not compile."""
        scripts = list(self._scripts.values())
        setup = self._compile(self._setup, "<setup>")
        if isinstance(setup, str):
            return ""  # which ends every test
        bound = frozenset().union(setup.bound, *(script.bound for script in scripts))
        free = frozenset().union(setup.free, *(script.free for script in scripts))
        try:
            names = free - bound - self._names - self._aliases.keys() - _BUILTINS.keys()
            return needed(self._prelude, names, library.MODULES)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return self._prelude

    def _protect_names(self) -> None:
        """Let no stub of the prompt stand for what the program defines."""
        for name in [*self._names, *self._aliases]:
            self._globals.pop(name, None)

    def _run_source(self, source: str, name: str) -> tuple[str, str] | None:
        """Run prelude or setup: None, or the report that every test gets."""
        script = self._compile(source, name)
        if isinstance(script, str):
            return "broken_test", script
        error = self._execute(script)
        if self._lost is not None:
            raise CandidateLost(self._first)
        self._taint(script)
        if self._stuck is not None:
            return self._stuck.status, self._stuck.message
        if error is None:
            return None
        message = f"{name}: {self._failure(error)}"[:500]
        if self._is_raised(error) or self._is_lack(error):
            return "exit", message
        return ("failed" if self._asked or self._seen else "broken_test"), message

    def _run_test(self, index: int, script: Script) -> None:
        error = self._execute(script)
        if self._lost is not None:
            raise CandidateLost(index)
        status, message = self._judge(script, error)
        if status != "ok":
            self._unbound |= script.bound
        self._taint(script)
        self._tell(status, message)

    def _taint(self, script: Script) -> None:
        if self._asked:
            self._tainted |= (script.bound | script.loaded) - self._plain - _BUILTINS.keys()

    def _tell(self, status: str, message: str) -> None:
        self._report(status, _clean(message))

    def _execute(self, script: Script) -> BaseException | None:
        self._stuck = None
        self._checks = self._asked = self._items = 0
        self._last = None
        self._seen = False
        self._raised.clear()
        sys.stdin, sys.stdout = self._standard
        try:
            self._bind_for_classes(script)
            exec(script.code, self._globals)  # noqa: S102 - running tests is what this is for
        except SystemExit as end:
            return end if end.code or self._is_raised(end) else None
        except BaseException as error:
            return error
        return None

    def _bind_for_classes(self, script: Script) -> None:
        """Put what bodies of classes take from the program where they look: in the dict, and not by its method."""
        for name in script.in_classes:
            if name in self._globals or name in _BUILTINS:
                continue
            self._peer.objects.asked = name
            good, value, _ = self._exchange("name", (self._aliases.get(name, name),), False)
            self._peer.objects.asked = ""
            if good:
                self._globals[name] = self._met(name, value)
            else:
                self._lacking.add(name)

    def _judge(self, script: Script, error: BaseException | None) -> tuple[str, str]:
        if self._stuck is not None:
            return self._stuck.status, self._stuck.message
        touched = self._asked or script.loaded & self._tainted
        if error is None:
            if self._checks and touched:
                return "ok", ""
            if self._checks:
                return "broken_test", "the test does not use the program"
            setup = self._scripts.get("<setup>")
            if self._asked and (script.checks or (setup is not None and setup.checks)):
                return "failed", "the test ended without having checked anything"
            return "broken_test", "the test checks nothing"
        message = self._failure(error)
        if self._is_raised(error) or self._is_lack(error):
            return "exit", message
        if isinstance(error, NameError) and getattr(error, "name", "") in self._unbound:
            return "failed", message
        return ("failed" if touched or self._seen else "broken_test"), message

    def _is_raised(self, error: BaseException) -> bool:
        return any(error is raised for raised in self._raised)

    def _is_lack(self, error: BaseException) -> bool:
        """Whether the body of a class found no such name, in the test or in the program."""
        return type(error) is NameError and error.name in self._lacking

    def _failure(self, error: BaseException) -> str:
        """Why a test failed, in a few words, without asking the candidate."""
        self._silent = True
        try:
            return self._describe(error)
        except BaseException:
            return type(error).__name__
        finally:
            self._silent = False

    def _describe(self, error: BaseException) -> str:
        place = self._place(error.__traceback__)
        if self._is_raised(error):
            reason = f"{type(error).__name__}{brief.arguments(error.args)}"
        elif isinstance(error, AssertionError):
            reason = brief.text(error.args[0]) if error.args else ""
        else:
            reason = f"{type(error).__name__}: {brief.text(error.args[0]) if error.args else ''}"
        called = ""
        if self._last is not None:
            name, positional, keyword, value = self._last
            verb = "raised" if isinstance(value, BaseException) else "returned"
            called = f"{name}{brief.arguments(positional, keyword)} {verb} {brief.text(value)}"
        return "; ".join(part for part in (place, reason, called) if part)[:500]

    def _place(self, trace: TracebackType | None) -> str:
        line = ""
        while trace is not None:
            script = self._scripts.get(trace.tb_frame.f_code.co_filename)
            if script is not None:
                line = script.line(trace.tb_lineno)
            trace = trace.tb_next
        return line[:200]

    def _name_of(self, target: Any) -> str:
        for name, value in self._cache.items():
            if value is target:
                return name
        return "a method"
