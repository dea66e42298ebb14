"""The candidate's side: runs the program and does to its objects what the oracle asks for.

The program can reach everything in this process, so nothing here protects anything: it only serves honest programs
well. What keeps a dishonest one out is all on the oracle's side.
"""

from __future__ import annotations

import _thread
import builtins
import importlib
import io
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from .. import values
from . import specials
from .channel import MAX_TEXT, Channel, ClosedError, MalformedError
from .peer import Objects, Peer

_BUILTINS = dict(vars(builtins))
_KINDS = {
    types.FunctionType: "function",
    types.BuiltinFunctionType: "builtin",
    types.MethodType: "method",
    types.GeneratorType: "generator",
    types.CoroutineType: "coroutine",
}


def serve(channel_fd: int, load: Callable[[], dict[str, Any]]) -> None:
    """Load the program, tell the oracle whether that worked, and answer calls until its end closes."""
    channel = Channel(channel_fd)
    try:
        try:
            names = load()
        except BaseException as error:
            channel.send(["loaded", False, _describe(error)])
            return
        candidate = Candidate(channel, names)
        channel.send(["loaded", True, ""])
        while True:
            candidate.answer(channel.receive())
    except (ClosedError, MalformedError):
        return


def _describe(error: BaseException) -> str:
    try:
        lines = traceback.format_exception_only(type(error), error)
        return "".join(lines).strip()[-500:]
    except BaseException:
        return type(error).__name__


class _Library:
    """Something of the standard library that the program imported by its own name."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class _Data:
    """An instance of a subclass of a plain type, to be sent as that type's data."""

    def __init__(self, value: Any) -> None:
        self.value = value


class CandidateObjects(Objects):
    """The program's objects, by number, and stubs for the oracle's functions."""

    def __init__(self, names: dict[str, Any], stub: Callable[[int, str], Any], pull: Callable[[int], Any]) -> None:
        super().__init__()
        self.names = names
        self.constructed: dict[int, Any] = {}
        """Instances of subclasses of plain types that the test made: it wants them whole, methods and all."""
        self._stub = stub
        self._pull = pull
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._classes: dict[int, int] = {}
        self._foreign: dict[int, tuple[int, Any]] = {}
        """What belongs to the oracle, by id: its number there, and the stand-in."""
        self._stubs: dict[int, Any] = {}

    def wrap(self, value: Any, packer: values.Packer) -> dict[str, Any] | None:
        """See `values.Handles`."""
        kind = type(value)
        if id(value) in self._foreign:
            return {"cb": self._foreign[id(value)][0]}
        if kind is _Library:
            return {"q": [value.module, value.name]}
        if kind is _Data:
            return packer.as_base(value.value)  # type: ignore[no-any-return]
        if issubclass(kind, type):
            if _BUILTINS.get(value.__name__) is value:
                return None
            return {"k": self._class(value)}
        if issubclass(kind, BaseException):
            return packer.nested(self.pack_error, value)  # type: ignore[no-any-return]
        if kind is types.ModuleType and value.__name__ == value.__name__.partition(".")[0]:
            return {"m": value.__name__}
        based = values.is_plain_type(kind)
        if (
            based
            and id(value) not in self.constructed
            and not _is_enum(kind)
            and not _is_array_of_objects(kind, value)
        ):
            return None
        return {"o": [self._number(value), self._class(kind), based]}

    def unwrap(self, tag: str, body: Any, unpacker: values.Unpacker) -> Any:
        """See `values.Handles`."""
        if tag in ("o", "k"):
            return self._objects[body]
        if tag == "bf":
            return _BUILTINS[body]
        if tag == "sf":
            return getattr(importlib.import_module(body[0]), body[1])
        if tag in ("cb", "it"):
            return self._remote(tag, *body)
        if tag == "x":
            name, trees, number = body
            return self._foreign_error(name, trees, number, unpacker)
        if tag == "n":
            return self.names[body]
        if tag == "j":
            name, trees = body
            return self._instance(name, trees, unpacker)
        return super().unwrap(tag, body, unpacker)

    def pack_error(self, packer: values.Packer, error: BaseException) -> Any:
        """See `Objects`."""
        if id(error) in self._foreign:
            return {"xo": self._foreign[id(error)][0]}
        kind = type(error)
        try:
            arguments = packer.items(error.args)
        except values.ValuesError:
            arguments = [_describe(error)[:500]]
        if _BUILTINS.get(kind.__name__) is kind:
            return {"x": [kind.__name__, arguments, 0]}
        return {"x": [self._class(kind), arguments, self._number(error)]}

    def contents(self, packer: values.Packer, value: Any) -> Any:
        """See `Objects`."""
        if values.is_exact_type(type(value)):
            return super().contents(packer, value)
        return {"j": packer.pairs(vars(value).items())}

    def _number(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return number

    def _class(self, kind: type) -> int:
        number = self._number(kind)
        if number not in self._classes:
            self._classes[number] = number
            bases: list[Any] = []
            parents: tuple[type, ...] = type.__dict__["__bases__"].__get__(kind)
            for base in parents:
                if _BUILTINS.get(base.__name__) is not base:
                    bases.append(self._class(base))
                elif issubclass(base, BaseException):
                    bases.append(base.__name__)
            own, inherited = _specials(kind)
            name = type.__dict__["__name__"].__get__(kind)
            self.news.append([number, name, bases, _KINDS.get(kind, ""), own, inherited])
        return number

    def _remote(self, tag: str, number: int, name: str) -> Any:
        if number not in self._stubs:
            stub = self._stub(number, name) if tag == "cb" else _pulled(self._pull, number)
            self._stubs[number] = stub
            self._foreign[id(stub)] = number, stub
        return self._stubs[number]

    def _foreign_error(self, name: str, trees: Any, number: int, unpacker: values.Unpacker) -> BaseException:
        arguments = unpacker.items(trees)
        kind = _BUILTINS[name]
        try:
            error: BaseException = kind(*arguments)
        except Exception:
            error = kind.__new__(kind)
            error.args = tuple(arguments)
        self._foreign[id(error)] = number, error
        return error

    def _instance(self, name: str, trees: Any, unpacker: values.Unpacker) -> Any:
        kind: Any = self.names.get(name)
        if not isinstance(kind, type):
            kind = type(name, (), {})
        value = unpacker.adopt(kind.__new__(kind))
        value.__dict__.update(unpacker.pairs(trees))
        return value


def _pulled(pull: Callable[[int], Any], number: int) -> Iterator[Any]:
    while True:
        item = pull(number)
        if not item:
            return
        yield item[0]


def _is_enum(kind: type) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(kind, enum.Enum)


def _is_array_of_objects(kind: type, value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(kind, numpy.ndarray) and value.dtype.kind not in values.ARRAY_KINDS


def _specials(kind: type) -> tuple[list[str], list[str]]:
    """The special methods of a class: those that its own code defines, and those that it has from a plain type."""
    own: list[str] = []
    inherited: list[str] = []
    for name in specials.CLAIMED:
        for base in type.__dict__["__mro__"].__get__(kind):
            if base is object or name not in type.__dict__["__dict__"].__get__(base):
                continue
            if name == "__hash__" and type.__dict__["__dict__"].__get__(base)[name] is None:
                own.append("unhashable")
            else:
                (inherited if values.is_exact_type(base) else own).append(name)
            break
    return own, inherited


class Candidate(Peer):
    """Does what the oracle asks for."""

    objects: CandidateObjects

    def __init__(self, channel: Channel, names: dict[str, Any]) -> None:
        super().__init__(channel, CandidateObjects(names, self._stub, self._pull))
        self._thread = _thread.get_ident()

    def perform(self, operation: str, arguments: list[Any], capture: bool) -> tuple[bool, Any, str]:
        """See `Peer`."""
        if capture:
            return self._captured(operation, arguments)
        try:
            return True, getattr(self, f"do_{operation}")(*arguments), ""
        except BaseException as error:
            return False, error, ""

    def _captured(self, operation: str, arguments: list[Any]) -> tuple[bool, Any, str]:
        real, sys.stdout = sys.stdout, io.StringIO()
        try:
            good, value, _ = self.perform(operation, arguments, False)
            output = sys.stdout.getvalue() if isinstance(sys.stdout, io.StringIO) else ""
            return good, value, output[:MAX_TEXT]
        finally:
            sys.stdout = real

    def do_name(self, name: str) -> Any:
        """What the program calls `name`."""
        names = self.objects.names
        if name not in names:
            raise NameError(f"name {name!r} is not defined")
        value = names[name]
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and module != names.get("__name__") and getattr(value, "__name__", None) == name:
            known = sys.modules.get(module)
            if module != "builtins" and getattr(known, name, None) is value:
                return _Library(module, name)
        return value

    def do_call(self, target: Any, positional: tuple[Any, ...], keyword: tuple[tuple[str, Any], ...]) -> Any:
        """Call something."""
        value = target(*positional, **dict(keyword))
        if isinstance(target, type) and not values.is_exact_type(type(value)) and values.is_plain_type(type(value)):
            self.objects.constructed[id(value)] = value
        return value

    def do_get(self, target: Any, name: str) -> Any:
        """An attribute."""
        return getattr(target, name)

    def do_set(self, target: Any, name: str, value: Any) -> None:
        """Set an attribute."""
        setattr(target, name, value)

    def do_delete(self, target: Any, name: str) -> None:
        """Delete an attribute."""
        delattr(target, name)

    def do_special(self, target: Any, name: str, arguments: tuple[Any, ...]) -> Any:
        """Do what has a special method."""
        return specials.ANSWERED[name](target, *arguments)

    def do_data(self, target: Any) -> Any:
        """The plain data of an instance of a subclass of a plain type."""
        return _Data(target)

    def do_refill(self, operation: str, arguments: tuple[Any, ...], contents: Any) -> None:
        """Give a container that the test changed its new contents. It was once the answer to this question."""
        container = getattr(self, f"do_{operation}")(*arguments)
        if isinstance(container, (list, bytearray)):
            container[:] = contents
        elif isinstance(container, (dict, set)):
            container.clear()
            container.update(contents)

    def do_await(self, target: Any) -> Any:
        """Run a coroutine to its end."""
        import asyncio

        async def run() -> Any:
            return await target

        return asyncio.run(run())

    def _ask_back(self, operation: str, *arguments: Any) -> Any:
        if not self.depth or _thread.get_ident() != self._thread:
            raise RuntimeError("this function can only be called while a test waits for a call, and from its thread")
        try:
            good, value, _ = self.ask(operation, arguments)
        except values.ValuesError as error:
            raise ValueError(str(error)) from None
        if not good:
            raise value
        return value

    def _stub(self, number: int, name: str) -> Callable[..., Any]:
        def remote(*positional: Any, **keyword: Any) -> Any:
            return self._ask_back("call", number, positional, tuple(keyword.items()))

        remote.__name__ = remote.__qualname__ = name
        return remote

    def _pull(self, number: int) -> Any:
        return self._ask_back("next", number)
