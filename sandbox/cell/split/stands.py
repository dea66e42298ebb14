"""What stands in the oracle for objects and classes of the candidate, and which of their uses are refused.

A class of the program is mirrored by a class made here, whose metaclass is `Mirror` and whose instances are the
handles to its instances, so that `isinstance`, `issubclass`, `type(x) is C` and `except C` do in the oracle what they
would do beside the program. A function of the program is an instance of the mirror of `function`, and so on. An
exception class is mirrored by one that derives from the same builtin exceptions.

- Asked of the candidate: calls, attributes, indexing, len, iteration, truth, str, repr, format, int, float, complex,
  index, bytes, entering and leaving a context. Each is something that a test asks the object for, as it does by
  calling a method, and what comes back is plain data or another handle: as good as any return value, and worth no
  more. An exception that the program's `__exit__` would swallow makes the test unsplittable, lest it swallow an
  assertion.
- Never asked: arithmetic, order, `in`, round, abs and the like. The candidate could answer whatever passes. Where the
  object's class defines the method, the test is unsplittable; where the class has it from a plain base
  (`class Stack(list)`), it is done here to the base's data; where there is none, Python raises TypeError as always.
- `==`: a handle equals itself. Classes that do not define `__eq__` are compared by identity, or by their plain base's
  data. Handles to objects of classes that do define it: unsplittable, since one that always says yes would pass
  `f(3) == Point(1, 2)`. Such a handle and plain data: not equal, as of different types, where tests have used no
  class of the program, and so expected plain data; else unsplittable.
- `hash` goes with `==`.
- What looks inside (inspect, copy, pickle) or derives from the program's classes: unsplittable.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

from . import specials

MAX_ITEMS = 100_000
"""Items drawn from the program's iterators in one test."""

FUNCTIONS = ("function", "builtin", "method")
_KINDS: dict[str, type] = {
    "function": types.FunctionType,
    "builtin": types.BuiltinFunctionType,
    "method": types.MethodType,
    "generator": types.GeneratorType,
    "coroutine": types.CoroutineType,
}
_READABLE = ("__name__", "__qualname__", "__dict__", "__annotations__", "__self__", "__func__", "__members__")
_INSIDE = ("__code__", "__wrapped__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__signature__")
_IN_PLACE = frozenset(name for name in specials.OPERATORS if name.startswith("__i") and name != "__invert__")


class Asker(Protocol):
    """The part of a session that stands need."""

    named: bool
    """Whether a test has used a class of the program."""

    def ask(self, operation: str, *arguments: Any) -> Any:
        """Have the candidate do something."""
        ...

    def refuse(self, reason: str) -> NoReturn:
        """End the test as unsplittable."""
        ...

    def drew(self) -> None:
        """Count an item drawn from an iterator."""
        ...


class Mirror(type):
    """The type of the classes that stand for classes of the program."""

    _assay: Asker
    _assay_class: int

    def __new__(mcs, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> Mirror:
        """Only for `Stand`, and for a test that derives a class from one of the program's."""
        for base in bases:
            if isinstance(base, Mirror):
                base._assay.refuse(f"the test derives the class {name!r} from one of the program's")
        return super().__new__(mcs, name, bases, names)

    def __call__(cls, *positional: Any, **keyword: Any) -> Any:
        return cls._assay.ask("call", cls, positional, tuple(keyword.items()))

    def __getattr__(cls, name: str) -> Any:
        if name == "_assay" or not _is_readable(cls._assay, name):
            raise AttributeError(name)
        return cls._assay.ask("get", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        cls._assay.ask("set", cls, name, value)

    def __delattr__(cls, name: str) -> None:
        cls._assay.ask("delete", cls, name)

    def __iter__(cls) -> Iterator[Any]:
        return cls._assay.ask("special", cls, "__iter__", ())  # type: ignore[no-any-return]

    def __len__(cls) -> int:
        return cls._assay.ask("special", cls, "__len__", ())  # type: ignore[no-any-return]

    def __getitem__(cls, key: Any) -> Any:
        return cls._assay.ask("special", cls, "__getitem__", (key,))

    def __bool__(cls) -> bool:
        return True

    def __contains__(cls, value: Any) -> bool:
        if not isinstance(type(value), Mirror):
            cls._assay.refuse("`in` a class of the program")
        return any(value is member for member in cls)

    def __repr__(cls) -> str:
        return f"<class {cls.__name__!r}>"


class Stand(metaclass=Mirror):
    """A handle: stands for one object of the candidate."""

    __slots__ = ("_assay_based", "_assay_number")

    _assay: Asker
    _assay_number: int
    _assay_based: bool
    """Whether its class derives from a plain type."""
    _assay_kind = ""
    _assay_equality = ""
    """Whence its class has `__eq__`: "own", "inherited", "" for nowhere."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return _KINDS.get(self._assay_kind) or type(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_assay") or not _is_readable(self._assay, name):
            raise AttributeError(name)
        return self._assay.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._assay.ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._assay.ask("delete", self, name)

    def __repr__(self) -> str:
        return self._assay.ask("special", self, "__repr__", ())  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return self._assay.ask("special", self, "__str__", ())  # type: ignore[no-any-return]

    def __format__(self, spec: str) -> str:
        return self._assay.ask("special", self, "__format__", (spec,))  # type: ignore[no-any-return]

    def __dir__(self) -> Any:
        return self._assay.refuse("dir() of an object of the program")

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self._assay.refuse("copying an object of the program")

    def __copy__(self) -> Any:
        return self if self._assay_kind in FUNCTIONS else self.__reduce_ex__(2)

    def __deepcopy__(self, _memo: Any) -> Any:
        return self.__copy__()


def make_class(
    session: Asker,
    number: int,
    name: str,
    bases: tuple[type, ...],
    kind: str,
    own: frozenset[str],
    inherited: frozenset[str],
) -> Mirror:
    """The mirror of a class that has these special methods of its own, and these from a plain base."""
    equality = "own" if "__eq__" in own else "inherited" if "__eq__" in inherited else ""
    names: dict[str, Any] = {
        "__slots__": (),
        "__module__": "solution",
        "__doc__": property(lambda stand: session.ask("get", stand, "__doc__")),
        "_assay": session,
        "_assay_class": number,
        "_assay_kind": kind,
        "_assay_equality": equality,
        "__eq__": _equal if equality else object.__eq__,
        "__hash__": None if "unhashable" in own else _hash if equality else object.__hash__,
    }
    for special in specials.ANSWERED:
        if special in own or special in inherited:
            names[special] = _answered(special)
    for special in specials.OPERATORS:
        if special in own:
            names[special] = _refused(special)
        elif special in inherited:
            names[special] = _refused(special) if special in _IN_PLACE else _computed(special)
    if "__call__" in own or "__call__" in inherited:
        names["__call__"] = _call
    if "__await__" in own:
        names["__await__"] = _await
    if kind == "coroutine":
        names.update(send=_send, throw=_close, close=_close)
    try:
        return type.__new__(Mirror, name, bases or (Stand,), names)
    except TypeError:  # bases that do not go together
        return type.__new__(Mirror, name, (Stand,), names)


def make_error_class(session: Asker, number: int, name: str, bases: tuple[type, ...], own: frozenset[str]) -> Mirror:
    """The mirror of an exception class."""
    names: dict[str, Any] = {
        "__module__": "solution",
        "_assay": session,
        "_assay_class": number,
        "__getattr__": _error_attribute,
    }
    if "__str__" in own:
        names["__str__"] = lambda error: session.ask("special", error, "__str__", ())
    try:
        return type.__new__(Mirror, name, bases, names)
    except TypeError:
        return type.__new__(Mirror, name, bases[:1], names)


def make_stand(kind: Mirror, number: int, based: bool) -> Any:
    """A handle to the object of this number."""
    stand: Any = object.__new__(kind)  # type: ignore[arg-type]
    object.__setattr__(stand, "_assay_number", number)
    object.__setattr__(stand, "_assay_based", based)
    return stand


def is_stand(value: Any) -> bool:
    """Whether `value` is a handle to an object, not to a class or an exception."""
    return type(type(value)) is Mirror and not isinstance(value, BaseException)


def data_of(value: Any) -> Any:
    """A value; the data of its plain base if it is a handle to an instance of a subclass of a plain type."""
    if is_stand(value) and value._assay_based:
        return value._assay.ask("data", value)
    return value


def _is_readable(session: Asker, name: str) -> bool:
    if name in _INSIDE:
        session.refuse(f"the test looks at {name} of an object of the program")
    return name in _READABLE or not (name.startswith("__") and name.endswith("__"))


def _error_attribute(error: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return type(error)._assay.ask("get", error, name)


def _answered(name: str) -> Callable[..., Any]:
    def special(self: Stand, *arguments: Any) -> Any:
        if name == "__next__":
            self._assay.drew()
        if name == "__exit__":
            return _exit(self, *arguments)
        return self._assay.ask("special", self, name, arguments)

    return special


def _exit(self: Stand, kind: Any, error: Any, _trace: Any) -> bool:
    if isinstance(error, BaseException) and not isinstance(error, Exception):
        return False
    if isinstance(error, AssertionError):
        error = AssertionError()  # its message may tell what the test expects
    if self._assay.ask("special", self, "__exit__", (kind, error, None)) and error is not None:
        self._assay.refuse("the program's __exit__ would swallow an exception of the test")
    return False


def _refused(name: str) -> Callable[..., Any]:
    def special(self: Stand, *_arguments: Any) -> Any:
        return self._assay.refuse(f"{name} of an object of the program's class {type(self).__name__!r}")

    return special


def _computed(name: str) -> Callable[..., Any]:
    def special(self: Stand, *arguments: Any) -> Any:
        data = data_of(self)
        method = getattr(type(data), name, None)
        if method is None:
            return NotImplemented
        return method(data, *map(data_of, arguments))

    return special


def _equal(self: Stand, other: Any) -> Any:
    if self is other:
        return True
    if is_stand(other):
        if "own" in (self._assay_equality, other._assay_equality):
            self._assay.refuse("== of two objects of the program")
    elif self._assay_equality == "own" and self._assay.named:
        self._assay.refuse(f"== of an object of the program's class {type(self).__name__!r} and other data")
    if self._assay_equality == "inherited" and (not is_stand(other) or other._assay_based):
        return data_of(self) == data_of(other)
    return NotImplemented


def _hash(self: Stand) -> int:
    if self._assay_equality == "own":
        if self._assay.named:
            self._assay.refuse(f"hash of an object of the program's class {type(self).__name__!r}")
        return object.__hash__(self)
    return hash(data_of(self))


def _call(self: Stand, *positional: Any, **keyword: Any) -> Any:
    return self._assay.ask("call", self, positional, tuple(keyword.items()))


def _send(self: Stand, _value: Any) -> Any:
    raise StopIteration(self._assay.ask("await", self))


def _await(self: Stand) -> Any:
    return self._assay.ask("await", self)
    yield


def _close(self: Stand, *error: Any) -> Any:
    if error:
        raise error[0]
