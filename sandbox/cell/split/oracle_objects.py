"""How objects look that cross the oracle's side of the channel."""

from __future__ import annotations

import builtins
import types
from typing import Any

from .. import values
from . import library, stands
from .channel import MalformedError
from .peer import Objects

MAX_CLASSES = 2000
MAX_GIVEN = 100_000
_BUILTINS = dict(vars(builtins))
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class OracleObjects(Objects):
    """Stands for the program's objects, and the test's own objects that the program was given, by number."""

    def __init__(self, session: Any, module: str) -> None:
        super().__init__()
        self.asked = ""
        """The name that the candidate is being asked for."""
        self._session = session
        self._module = module
        self._classes: dict[int, stands.Mirror] = {}
        self._stands: dict[int, Any] = {}
        self._given: list[Any] = []
        self._numbers: dict[int, int] = {}

    def given(self, number: Any) -> Any:
        """What the candidate was given by this number."""
        if type(number) is not int or not 0 <= number < len(self._given):
            raise values.ValuesError("an object that was never given")
        return self._given[number]

    def learn(self, news: list[Any]) -> None:
        """See `Objects`."""
        for each in news:
            if type(each) is not list or len(each) != 6:
                raise MalformedError("a class description of another shape")
            number, name, bases, kind, own, inherited = each
            if type(number) is not int or type(name) is not str or type(kind) is not str or type(bases) is not list:
                raise MalformedError("a class description of another shape")
            if number in self._classes or len(self._classes) >= MAX_CLASSES:
                raise MalformedError("a class described twice, or too many")
            self._classes[number] = self._make_class(
                number, name.replace("\0", "")[:100], bases[:20], kind, _names(own), _names(inherited)
            )

    def wrap(self, value: Any, packer: values.Packer) -> dict[str, Any] | None:
        """See `values.Handles`."""
        kind: Any = type(value)
        if type(kind) is stands.Mirror:
            return {"o": value._assay_number}
        if kind is stands.Mirror:
            return {"k": value._assay_class}
        if isinstance(value, BaseException):
            return packer.nested(self.pack_error, value)  # type: ignore[no-any-return]
        if isinstance(value, type):
            return self._wrap_class(value)
        name: Any = getattr(value, "__name__", None)
        if kind is types.BuiltinFunctionType and _BUILTINS.get(name) is value:
            return {"bf": name}
        if kind in _FUNCTIONS or not values.is_plain_type(kind):
            known = library.name_of(value) if kind in _FUNCTIONS else None
            return {"sf": list(known)} if known else self._wrap_object(value, packer)
        return None

    def unwrap(self, tag: str, body: Any, unpacker: values.Unpacker) -> Any:
        """See `values.Handles`."""
        if tag == "o":
            number, kind, based = body
            if type(number) is not int or type(based) is not bool:
                raise values.ValuesError("not a handle")
            if number not in self._stands:
                self._stands[number] = stands.make_stand(self._classes[kind], number, based)
            return self._stands[number]
        if tag == "k":
            self._session.named = True
            return self._classes[body]
        if tag == "x":
            known, trees, given = body
            return self._error(known, trees, given, unpacker)
        if tag in ("cb", "xo"):
            return self.given(body)
        if tag in ("q", "m") and self.asked:
            return self._library(tag, body)
        return super().unwrap(tag, body, unpacker)

    def pack_error(self, packer: values.Packer, error: BaseException) -> Any:
        """See `Objects`."""
        if isinstance(type(error), stands.Mirror):
            number = getattr(error, "_assay_number", None)
            if number is not None:
                return {"o": number}
        name = next(base.__name__ for base in type(error).__mro__ if _BUILTINS.get(base.__name__) is base)
        try:
            arguments = packer.items(error.args)
        except values.ValuesError:
            arguments = []
        return {"x": [name, arguments, self._give(error)]}

    def contents(self, packer: values.Packer, value: Any) -> Any:
        """See `Objects`."""
        if values.is_plain_type(type(value)):
            return super().contents(packer, value)
        return {"j": packer.pairs(vars(value).items())}

    def refill(self, unpacker: values.Unpacker, value: Any, tree: Any) -> None:
        """See `Objects`."""
        if values.is_plain_type(type(value)):
            super().refill(unpacker, value, tree)
            return
        if type(tree) is not dict or list(tree) != ["j"]:
            raise values.ValuesError("an object's contents are of another type")
        pairs = unpacker.pairs(tree["j"])
        if not all(type(name) is str for name, _ in pairs):
            raise values.ValuesError("an attribute without a name")
        attributes = vars(value)
        attributes.clear()
        attributes.update(pairs)

    def _give(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            if len(self._given) >= MAX_GIVEN:
                raise values.ValuesError("the test gives the program too many objects")
            number = self._numbers[id(value)] = len(self._given)
            self._given.append(value)
        return number

    def _wrap_class(self, value: type) -> dict[str, Any] | None:
        if _BUILTINS.get(value.__name__) is value:
            return None
        known = library.name_of(value)
        if known:
            return {"sf": list(known)}
        if value.__module__ == self._module and self._session.has_class(value.__name__):
            return {"n": value.__name__}
        raise values.ValuesError(f"the test's class {value.__name__!r}")

    def _wrap_object(self, value: Any, packer: values.Packer) -> dict[str, Any]:
        kind = type(value)
        if kind.__module__ == self._module and not callable(value):
            return packer.adopt(value) or packer.nested(self._pack_instance, value)
        if hasattr(kind, "__next__"):
            return {"it": [self._give(value), ""]}
        if callable(value):
            name = getattr(value, "__name__", "")
            return {"cb": [self._give(value), name if type(name) is str else ""]}
        raise values.ValuesError(f"an object of type {kind.__name__!r}")

    def _pack_instance(self, packer: values.Packer, value: Any) -> dict[str, Any]:
        kind = type(value)
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is not dict:
            raise values.ValuesError(f"an object of the test's class {kind.__name__!r}, which has slots")
        if not self._session.has_class(kind.__name__) and any(_has_methods(base) for base in kind.__mro__[:-1]):
            raise values.ValuesError(f"an object of the test's class {kind.__name__!r}, which has methods")
        return {"j": [kind.__name__, packer.pairs(attributes.items())]}

    def _make_class(
        self, number: int, name: str, bases: list[Any], kind: str, own: frozenset[str], inherited: frozenset[str]
    ) -> stands.Mirror:
        errors: list[type] = []
        others: list[type] = []
        for base in bases:
            known: Any = self._classes.get(base) if type(base) is int else _error_type(base)
            if known is None:
                raise MalformedError("a class with unknown bases")
            (errors if issubclass(known, BaseException) else others).append(known)
        if errors:
            return stands.make_error_class(self._session, number, name, tuple(errors), own)
        return stands.make_class(self._session, number, name, tuple(others), kind, own, inherited)

    def _error(self, kind: Any, trees: Any, number: Any, unpacker: values.Unpacker) -> BaseException:
        arguments = unpacker.items(trees)
        known: Any = self._classes.get(kind) if type(kind) is int else _error_type(kind)
        if known is None or not issubclass(known, BaseException) or type(number) is not int:
            raise values.ValuesError("not an exception")
        mirrored = type(known) is stands.Mirror
        error: Any
        try:
            error = known.__new__(known, *arguments) if mirrored else known(*arguments)
        except Exception:
            error = RuntimeError(known.__name__, *arguments)
        if mirrored:
            error.args = tuple(arguments)
            error._assay_number = number
        return error  # type: ignore[no-any-return]

    def _library(self, tag: str, body: Any) -> Any:
        module, name = (body, self.asked) if tag == "m" else body
        if type(module) is not str or name != self.asked:
            raise values.ValuesError("not of the standard library")
        if tag == "q":
            found = library.find(module, name)
        else:
            found = __import__(module) if module in library.MODULES or module == "numpy" else None
        if found is None:
            self._session.refuse(f"the test uses {name!r} as the program imported it, from {module[:50]!r}")
        return found


def _names(body: Any) -> frozenset[str]:
    if type(body) is not list or len(body) > 200 or not all(type(name) is str for name in body):
        raise MalformedError("a class description of another shape")
    return frozenset(body)


def _error_type(name: Any) -> type | None:
    known = _BUILTINS.get(name) if type(name) is str else None
    if not isinstance(known, type) or not issubclass(known, BaseException):
        return None
    return RuntimeError if issubclass(known, GeneratorExit) else known


def _has_methods(kind: type) -> bool:
    return any(callable(value) and not name.startswith("__") for name, value in vars(kind).items())
