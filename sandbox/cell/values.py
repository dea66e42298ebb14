"""Plain data as text: what a function returned, on its way out of a process that cannot be trusted.

`encode(value, *, limit_bytes, handles=None) -> bytes` and `decode(data, *, limit_bytes, handles=None) -> object`;
both raise `ValuesError`, and nothing else, for what they refuse. `decode` is safe on hostile bytes: it makes builtin
types and a few value types of the standard library, runs no code that the bytes choose, and takes time and memory in
proportion to their number, which `limit_bytes` bounds.

The text is ASCII JSON. None, booleans, strings, ints of up to 64 bits and finite floats stand for themselves, an
array is a list, and an object with one key is everything else:

    t tuple · s set · fs frozenset · d dict, as pairs · f "nan", "inf", "-inf" · i int, in hex · b bytes, ba
    bytearray, in base64 · c complex · r range · sl slice · e Ellipsis (0), NotImplemented (1) · y builtin type, by
    name · dk dict_keys · di dict_items · dec Decimal · fr Fraction · dt date, datetime, time, timedelta with `refs`
    only: = an object met before, by number · dq deque · od OrderedDict · cn Counter · dd defaultdict · nt namedtuple
    · nd numpy array with `handles` only: whatever other tags they make

Instances of subclasses of these types are encoded as their base's data, read by the base's own methods, so that a
subclass may override what it likes: an IntEnum member is an int, a Counter a dict, a namedtuple a tuple, a deque a
list (where there are no `refs`), a numpy array a list of lists. Generators and other iterators are not plain data:
compared with `==` to a list, which is what a test would do, they differ anyway.
"""

from __future__ import annotations

import binascii
import builtins
import json
import math
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MAX_DEPTH = 100
"""Containers within containers; each takes up to five frames of the interpreter, of a thousand."""
MAX_INT_BITS = 2**20
MAX_ALIKE = 64
"""Members of a set, or keys of a dict, that share their hash with another: more are an attack on the table."""

ARRAY_KINDS = "biufcU"
"""Kinds of numpy's types whose arrays are plain data."""

_WORD = 2**63
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))
_mro_of: Callable[[type], Sequence[type]] = type.__dict__["__mro__"].__get__  # a metaclass may hide the real one
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_NAMED_TYPES = {value: name for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPES_NAMED = {name: value for value, name in _NAMED_TYPES.items()}
_Keys: Any = type({}.keys())
_Items: Any = type({}.items())

Pack = Callable[["Packer", Any], Any]
Unpack = Callable[["Unpacker", Any], Any]


class ValuesError(ValueError):
    """Not plain data, too much of it, or bytes that are no encoded value."""


class Handles:
    """Carries what is not plain data. The base class carries nothing."""

    def wrap(self, value: Any, packer: Packer) -> dict[str, Any] | None:
        """The tagged object for `value`, whose type is no exact plain type; None to treat it as its base's data."""
        return None

    def unwrap(self, tag: str, body: Any, unpacker: Unpacker) -> Any:
        """The value for a tagged object with a tag of the caller's own. `body` is as it came: not checked at all."""
        raise ValuesError(f"the tag {tag[:20]!r} is unknown")


_SHORT = 10**9


def encode(value: Any, *, limit_bytes: int, handles: Handles | None = None) -> bytes:
    """`value` as text of at most `limit_bytes`."""
    # most functions return one of these, and in a fresh fork every page that the packer touches has to be copied
    if value is True or value is False or value is None:
        return b"null" if value is None else b"true" if value else b"false"
    if type(value) is int and -_SHORT < value < _SHORT:
        return b"%d" % value
    return dump(Packer(limit_bytes, handles).pack(value), limit_bytes)


def decode(data: bytes, *, limit_bytes: int, handles: Handles | None = None) -> Any:
    """The value that `data` is the text of."""
    return Unpacker(handles).unpack(load(data, limit_bytes))


def dump(tree: Any, limit_bytes: int) -> bytes:
    """The JSON text of what a packer made."""
    try:
        data = _encoder.encode(tree).encode("ascii")
    except RecursionError:
        raise ValuesError("the value is nested too deeply") from None
    if len(data) > limit_bytes:
        raise ValuesError(f"the value takes {len(data)} bytes, {limit_bytes} are allowed")
    return data


def load(data: bytes, limit_bytes: int) -> Any:
    """Parse JSON text, for an unpacker."""
    if len(data) > limit_bytes:
        raise ValuesError(f"{len(data)} bytes, {limit_bytes} are allowed")
    try:
        return _decoder.decode(data.decode("ascii"))
    except RecursionError:
        raise ValuesError("the value is nested too deeply") from None
    except ValuesError:
        raise
    except ValueError as error:
        raise ValuesError(f"not JSON: {error}"[:200]) from None


def _parse_int(digits: str) -> int:
    if len(digits) > 20:
        raise ValuesError("an int too long for decimal digits")
    return int(digits)


def _parse_constant(name: str) -> Any:
    raise ValuesError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_int=_parse_int, parse_constant=_parse_constant)


class Packer:
    """Turns values into JSON trees. One packer has one budget of bytes for all that it packs.

    With `refs`, a list, every mutable object is appended to it when first met, and is a reference by its index when
    met again: shared and cyclic structure survives. An `Unpacker` with the same `refs` at its start builds the same
    list.
    """

    def __init__(self, limit_bytes: int, handles: Handles | None = None, refs: list[Any] | None = None) -> None:
        self.refs = refs
        self._handles = handles
        self._left = self._limit = limit_bytes
        self._depth = 0
        self._index = {} if refs is None else {id(value): index for index, value in enumerate(refs)}

    def pack(self, value: Any) -> Any:
        """The tree of one value."""
        kind = type(value)
        self._left -= 2
        if kind is str:
            self._left -= len(value)
            self._check()
            return value
        if value is None or kind is bool:
            return value
        if kind is int and -_WORD < value < _WORD:
            return value
        if kind is float and math.isfinite(value):
            return value
        self._check()
        if kind in _MUTABLE and self.refs is not None:
            return self._shared(value, _PACK[kind])
        pack = _PACK.get(kind)
        if pack is not None:
            return self.nested(pack, value)
        if self._handles is not None:
            if id(value) in self._index:
                return {"=": self._index[id(value)]}
            tree = self._handles.wrap(value, self)
            if tree is not None:
                self._left -= 40
                return tree
        return self.as_base(value)

    def contents(self, value: Any) -> Any:
        """The tree of a mutable object that both sides have in `refs`; `Unpacker.refill` takes it."""
        pack = _PACK.get(type(value))
        if pack is None:
            pack = _find(type(value))[0]
        return self.nested(pack, value)

    def items(self, values: Iterable[Any]) -> list[Any]:
        """The trees of several values."""
        pack = self.pack
        return [pack(value) for value in values]

    def pairs(self, values: Iterable[tuple[Any, Any]]) -> list[Any]:
        """The trees of keys and values."""
        pack = self.pack
        return [[pack(key), pack(value)] for key, value in values]

    def spend(self, size: int) -> None:
        """Take `size` bytes from the budget."""
        self._left -= size
        self._check()

    def adopt(self, value: Any) -> dict[str, int] | None:
        """Enter a mutable object into `refs`; the reference to it if it was there already."""
        if self.refs is None:
            return None
        index = self._index.get(id(value))
        if index is not None:
            return {"=": index}
        self._index[id(value)] = len(self.refs)
        self.refs.append(value)  # which also keeps it alive, and so its id its own
        return None

    def _shared(self, value: Any, pack: Pack) -> Any:
        return self.adopt(value) or self.nested(pack, value)

    def nested(self, pack: Pack, value: Any) -> Any:
        """`pack(self, value)`, one level deeper."""
        if self._depth >= MAX_DEPTH:
            raise ValuesError("the value is nested too deeply")
        self._depth += 1
        try:
            return pack(self, value)
        except RecursionError:
            raise ValuesError("the value is nested too deeply") from None
        finally:
            self._depth -= 1

    def as_base(self, value: Any) -> Any:
        """The tree of an instance of a subclass of a plain type, without its handle."""
        pack, mutable = _find(type(value))
        if mutable:
            return self._shared(value, pack)
        return self.nested(pack, value)

    def _check(self) -> None:
        if self._left < 0:
            raise ValuesError(f"the value takes more than {self._limit} bytes")


def is_plain_type(kind: type) -> bool:
    """Whether instances of `kind` are encoded as data."""
    try:
        _find(kind)
    except ValuesError:
        return False
    return True


def is_exact_type(kind: type) -> bool:
    """Whether `kind` itself, not just a base of it, is a type that the codec knows."""
    return kind in _PACK or kind in (str, bool, type(None)) or _known(kind) is not None


def _find(kind: type) -> tuple[Pack, bool]:
    """How to pack instances of a type that is not packed as it is, and whether they are mutable."""
    for base in _mro_of(kind):
        if base in _PACK:
            return _PACK[base], base in _MUTABLE
        if base is str:
            return _pack_str, False
        known = _known(base)
        if known is not None:
            return known
    raise ValuesError(f"an object of type {_name_of(kind)[:80]!r} is not plain data")


def _known(base: type) -> tuple[Pack, bool] | None:
    """How to pack one of the value types of modules that may not be loaded."""
    module = type.__dict__["__module__"].__get__(base)
    try:
        known = _LIBRARY.get((module, _name_of(base)))
    except TypeError:  # a class may put anything into its __module__
        return None
    if known is None or getattr(sys.modules.get(module), _name_of(base), None) is not base:
        return None
    return known


def _pack_str(packer: Packer, value: str) -> Any:
    return packer.pack(str.__getitem__(value, slice(None)))


def _pack_int(packer: Packer, value: int) -> Any:
    value = int.__index__(value) if type(value) is int else int.__add__(value, 0)
    if -_WORD < value < _WORD:
        return value
    bits = value.bit_length()
    if bits > MAX_INT_BITS:
        raise ValuesError(f"an int of {bits} bits, {MAX_INT_BITS} are allowed")
    packer.spend(bits // 4)
    return {"i": format(value, "x")}


def _pack_float(_packer: Packer, value: float) -> Any:
    value = float.__float__(value)
    if math.isfinite(value):
        return value
    return {"f": "nan" if value != value else "inf" if value > 0 else "-inf"}


def _pack_complex(packer: Packer, value: complex) -> Any:
    parts = (complex.__dict__[name].__get__(value) for name in ("real", "imag"))
    return {"c": [_pack_float(packer, part) for part in parts]}


def _pack_list(packer: Packer, value: list[Any]) -> Any:
    return packer.items(list.__iter__(value))


def _pack_tuple(packer: Packer, value: tuple[Any, ...]) -> Any:
    items = packer.items(tuple.__iter__(value))
    if packer.refs is not None and type(value) is not tuple:
        fields = getattr(type(value), "_fields", None)
        if type(fields) is tuple and len(fields) == len(items) and all(type(field) is str for field in fields):
            return {"nt": [_name_of(type(value)), list(fields), items]}
    return {"t": items}


def _pack_set(packer: Packer, value: set[Any]) -> Any:
    return {"s": packer.items(set.__iter__(value))}


def _pack_frozenset(packer: Packer, value: frozenset[Any]) -> Any:
    return {"fs": packer.items(frozenset.__iter__(value))}


def _pack_dict(packer: Packer, value: dict[Any, Any]) -> Any:
    return {"d": packer.pairs(dict.items(value))}


def _base64(packer: Packer, value: bytes) -> str:
    packer.spend(len(value) * 4 // 3)
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _pack_bytes(packer: Packer, value: bytes) -> Any:
    return {"b": _base64(packer, bytes.__getitem__(value, slice(None)))}


def _pack_bytearray(packer: Packer, value: bytearray) -> Any:
    return {"ba": _base64(packer, bytes(bytearray.__getitem__(value, slice(None))))}


def _pack_memoryview(packer: Packer, value: memoryview) -> Any:
    try:
        return {"b": _base64(packer, memoryview.tobytes(value))}
    except ValueError as error:
        raise ValuesError(str(error)) from None


def _pack_range(packer: Packer, value: range) -> Any:
    return {"r": packer.items((value.start, value.stop, value.step))}


def _pack_slice(packer: Packer, value: slice) -> Any:
    return {"sl": packer.items((value.start, value.stop, value.step))}


def _pack_type(_packer: Packer, value: type) -> Any:
    name = _NAMED_TYPES.get(value)
    if name is None:
        raise ValuesError(f"the class {_name_of(value)[:80]!r} is not plain data")
    return {"y": name}


def _pack_keys(packer: Packer, value: Any) -> Any:
    return {"dk": packer.items(value)}


def _pack_items(packer: Packer, value: Any) -> Any:
    return {"di": packer.pairs(value)}


_MUTABLE = {list, dict, set, bytearray}
_PACK: dict[type, Pack] = {
    int: _pack_int,
    float: _pack_float,
    complex: _pack_complex,
    list: _pack_list,
    tuple: _pack_tuple,
    set: _pack_set,
    frozenset: _pack_frozenset,
    dict: _pack_dict,
    bytes: _pack_bytes,
    bytearray: _pack_bytearray,
    memoryview: _pack_memoryview,
    range: _pack_range,
    slice: _pack_slice,
    type(...): lambda _packer, _value: {"e": 0},
    type(NotImplemented): lambda _packer, _value: {"e": 1},
    _Keys: _pack_keys,
    _Items: _pack_items,
}


def _pack_builtin_class(packer: Packer, value: Any) -> Any:
    return _pack_type(packer, value)


def _pack_deque(packer: Packer, value: Any) -> Any:
    base = sys.modules["collections"].deque
    items = packer.items(base.__iter__(value))
    return items if packer.refs is None else {"dq": [items, base.__dict__["maxlen"].__get__(value)]}


def _pack_ordered(packer: Packer, value: Any) -> Any:
    base = sys.modules["collections"].OrderedDict
    return {"d" if packer.refs is None else "od": packer.pairs(base.items(value))}


def _pack_counter(packer: Packer, value: Any) -> Any:
    return {"d" if packer.refs is None else "cn": packer.pairs(dict.items(value))}


def _pack_defaultdict(packer: Packer, value: Any) -> Any:
    pairs = packer.pairs(dict.items(value))
    if packer.refs is None:
        return {"d": pairs}
    factory = sys.modules["collections"].defaultdict.__dict__["default_factory"].__get__(value)
    return {"dd": [_NAMED_TYPES.get(factory) if isinstance(factory, type) else None, pairs]}


def _pack_decimal(packer: Packer, value: Any) -> Any:
    base = sys.modules["decimal"].Decimal
    text = base.__str__(value)
    if base.is_nan(value):
        text = "NaN"
    packer.spend(len(text))
    return {"dec": text}


def _pack_fraction(packer: Packer, value: Any) -> Any:
    return {"fr": packer.items((operator.index(value.numerator), operator.index(value.denominator)))}


def _offset(value: Any) -> float | None:
    offset = value.utcoffset()
    return None if offset is None else float(offset.total_seconds())


def _pack_datetime(_packer: Packer, value: Any) -> Any:
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return {"dt": ["datetime", *parts, value.fold, _offset(value)]}


def _pack_date(_packer: Packer, value: Any) -> Any:
    return {"dt": ["date", value.year, value.month, value.day]}


def _pack_time(_packer: Packer, value: Any) -> Any:
    parts = (value.hour, value.minute, value.second, value.microsecond)
    return {"dt": ["time", *parts, value.fold, _offset(value)]}


def _pack_timedelta(_packer: Packer, value: Any) -> Any:
    return {"dt": ["timedelta", value.days, value.seconds, value.microseconds]}


def _pack_array(packer: Packer, value: Any) -> Any:
    base = sys.modules["numpy"].ndarray
    if packer.refs is None:
        return packer.pack(base.tolist(value))
    shape = list(base.__dict__["shape"].__get__(value))
    flat = base.tolist(base.reshape(value, (-1,)))
    return {"nd": [str(base.__dict__["dtype"].__get__(value).str), shape, packer.items(flat)]}


def _pack_scalar(packer: Packer, value: Any) -> Any:
    plain = sys.modules["numpy"].generic.item(value)
    if type(plain) is type(value):
        raise ValuesError(f"an object of type {_name_of(type(value))!r} is not plain data")
    return packer.pack(plain)


_LIBRARY: dict[tuple[str, str], tuple[Pack, bool]] = {
    ("builtins", "type"): (_pack_builtin_class, False),
    ("collections", "deque"): (_pack_deque, True),
    ("collections", "OrderedDict"): (_pack_ordered, True),
    ("collections", "Counter"): (_pack_counter, True),
    ("collections", "defaultdict"): (_pack_defaultdict, True),
    ("decimal", "Decimal"): (_pack_decimal, False),
    ("fractions", "Fraction"): (_pack_fraction, False),
    ("datetime", "datetime"): (_pack_datetime, False),
    ("datetime", "date"): (_pack_date, False),
    ("datetime", "time"): (_pack_time, False),
    ("datetime", "timedelta"): (_pack_timedelta, False),
    ("numpy", "ndarray"): (_pack_array, True),
    ("numpy", "generic"): (_pack_scalar, False),
}


class Unpacker:
    """Turns JSON trees, of which nothing is trusted, into values. `handles` and `refs` are as the `Packer`'s."""

    def __init__(self, handles: Handles | None = None, refs: list[Any] | None = None) -> None:
        self.refs = refs
        self._handles = handles
        self._depth = 0

    def unpack(self, tree: Any) -> Any:
        """The value of one tree."""
        kind = type(tree)
        if kind is str or kind is int or tree is None or kind is bool:
            return tree
        if kind is float:
            if not math.isfinite(tree):
                raise ValuesError("a float out of range")
            return tree
        if self._depth >= MAX_DEPTH:
            raise ValuesError("the value is nested too deeply")
        self._depth += 1
        try:
            if kind is list:
                return self._fill(self.adopt([]), tree)
            if len(tree) != 1:
                raise ValuesError("a tagged object must have one key")
            ((tag, body),) = tree.items()
            unpack = _UNPACK.get(tag)
            if unpack is None and self.refs is not None:
                unpack = _UNPACK_RICH.get(tag)
            if unpack is not None:
                return unpack(self, body)
            if self._handles is None:
                raise ValuesError(f"the tag {tag[:20]!r} is unknown")
            return self._handles.unwrap(tag, body, self)
        except ValuesError:
            raise
        except RecursionError:
            raise ValuesError("the value is nested too deeply") from None
        except Exception as error:  # whatever hostile data makes a constructor raise
            raise ValuesError(f"malformed: {error}"[:200]) from None
        finally:
            self._depth -= 1

    def adopt(self, value: Any) -> Any:
        """Enter a new mutable object into `refs`."""
        if self.refs is not None:
            self.refs.append(value)
        return value

    def refill(self, value: Any, tree: Any) -> None:
        """Give a mutable object the contents that `Packer.contents` packed."""
        self._depth += 1
        try:
            for base in _mro_of(type(value)):
                refill = _REFILL.get((type.__dict__["__module__"].__get__(base), _name_of(base)))
                if refill is not None:
                    refill(self, value, tree)
                    return
            raise ValuesError("contents of an object that is not mutable")
        except ValuesError:
            raise
        except Exception as error:
            raise ValuesError(f"malformed: {error}"[:200]) from None
        finally:
            self._depth -= 1

    def items(self, trees: Any) -> list[Any]:
        """The values of an array of trees."""
        if type(trees) is not list:
            raise ValuesError("an array is missing")
        unpack = self.unpack
        return [unpack(tree) for tree in trees]

    def pairs(self, trees: Any) -> list[tuple[Any, Any]]:
        """The keys and values of an array of pairs."""
        if type(trees) is not list:
            raise ValuesError("an array is missing")
        unpack = self.unpack
        pairs = [(unpack(key), unpack(value)) for key, value in trees]
        _check_hashes([key for key, _ in pairs])
        return pairs

    def _fill(self, value: list[Any], trees: list[Any]) -> list[Any]:
        unpack = self.unpack
        for tree in trees:  # one by one, as a reference to it may come before its end
            value.append(unpack(tree))  # noqa: PERF401
        return value


def _check_hashes(keys: list[Any]) -> list[Any]:
    """Refuse keys made to collide, which would take a table quadratic time."""
    if len(keys) > MAX_ALIKE and len(keys) - len({hash(key) for key in keys}) > MAX_ALIKE:
        raise ValuesError("too many keys with equal hashes")
    return keys


def _bytes_of(body: Any) -> bytes:
    if type(body) is not str:
        raise ValuesError("a string is missing")
    return binascii.a2b_base64(body.encode("ascii"))


def _exactly(unpacker: Unpacker, body: Any, count: int) -> list[Any]:
    items = unpacker.items(body)
    if len(items) != count:
        raise ValuesError(f"{len(items)} parts, {count} are needed")
    return items


def _unpack_float(_unpacker: Unpacker, body: Any) -> float:
    if body not in ("nan", "inf", "-inf"):
        raise ValuesError("not a special float")
    return float(body)


def _unpack_int(_unpacker: Unpacker, body: Any) -> int:
    if type(body) is not str or body.strip("-0123456789abcdef") or len(body) > MAX_INT_BITS // 4 + 2:
        raise ValuesError("not an int in hex")
    return int(body, 16)


def _unpack_complex(unpacker: Unpacker, body: Any) -> complex:
    parts = _exactly(unpacker, body, 2)
    if not all(type(part) in (float, int) for part in parts):
        raise ValuesError("not a complex number")
    return complex(*parts)


def _unpack_range(unpacker: Unpacker, body: Any) -> range:
    parts = _exactly(unpacker, body, 3)
    if not all(type(part) is int for part in parts):
        raise ValuesError("not a range")
    return range(*parts)


def _unpack_slice(unpacker: Unpacker, body: Any) -> slice:
    return slice(*_exactly(unpacker, body, 3))


def _unpack_set(unpacker: Unpacker, body: Any) -> set[Any]:
    value = unpacker.adopt(set())
    value.update(_check_hashes(unpacker.items(body)))
    return value  # type: ignore[no-any-return]


def _unpack_frozenset(unpacker: Unpacker, body: Any) -> frozenset[Any]:
    return frozenset(_check_hashes(unpacker.items(body)))


def _unpack_dict(unpacker: Unpacker, body: Any) -> dict[Any, Any]:
    value = unpacker.adopt({})
    value.update(unpacker.pairs(body))
    return value  # type: ignore[no-any-return]


def _unpack_bytearray(unpacker: Unpacker, body: Any) -> bytearray:
    return unpacker.adopt(bytearray(_bytes_of(body)))  # type: ignore[no-any-return]


def _unpack_singleton(_unpacker: Unpacker, body: Any) -> Any:
    if type(body) is not int or body not in (0, 1):
        raise ValuesError("not a singleton")
    return (..., NotImplemented)[body]


def _unpack_type(_unpacker: Unpacker, body: Any) -> type:
    if type(body) is not str or body not in _TYPES_NAMED:
        raise ValuesError("not a builtin type")
    return _TYPES_NAMED[body]


def _unpack_decimal(_unpacker: Unpacker, body: Any) -> Any:
    from decimal import Decimal

    if type(body) is not str or len(body) > 100_000 or "s" in body.lower():
        raise ValuesError("not a Decimal")
    value = Decimal(body)
    if value.is_finite() and abs(value.adjusted()) > 100_000:  # int() of it, or a sum, would fill the memory
        raise ValuesError("a Decimal out of range")
    return value


def _unpack_fraction(unpacker: Unpacker, body: Any) -> Any:
    from fractions import Fraction

    parts = _exactly(unpacker, body, 2)
    if not all(type(part) is int for part in parts) or any(part.bit_length() > 20_000 for part in parts):
        raise ValuesError("not a Fraction")
    return Fraction(*parts)


def _unpack_datetime(_unpacker: Unpacker, body: Any) -> Any:
    import datetime

    name, *parts = body
    if not all(part is None or type(part) in (int, float) for part in parts):
        raise ValuesError("not a date or time")
    if name in ("date", "timedelta") and len(parts) == 3:
        return getattr(datetime, name)(*parts)
    if (name, len(parts)) not in (("datetime", 9), ("time", 6)):
        raise ValuesError("not a date or time")
    *numbers, fold, offset = parts
    zone = None if offset is None else datetime.timezone(datetime.timedelta(seconds=offset))
    return getattr(datetime, name)(*numbers, tzinfo=zone, fold=fold)


def _unpack_reference(unpacker: Unpacker, body: Any) -> Any:
    refs = unpacker.refs or []
    if type(body) is not int or not 0 <= body < len(refs):
        raise ValuesError("a reference to nothing")
    return refs[body]


def _maxlen(body: Any) -> int | None:
    if body is not None and (type(body) is not int or body < 0):
        raise ValuesError("not a maximal length")
    return body


def _unpack_deque(unpacker: Unpacker, body: Any) -> Any:
    from collections import deque

    items, maxlen = body
    value = unpacker.adopt(deque(maxlen=_maxlen(maxlen)))
    value.extend(unpacker.items(items))
    return value


def _unpack_ordered(unpacker: Unpacker, body: Any) -> Any:
    from collections import OrderedDict

    value = unpacker.adopt(OrderedDict())
    value.update(unpacker.pairs(body))
    return value


def _unpack_counter(unpacker: Unpacker, body: Any) -> Any:
    from collections import Counter

    value = unpacker.adopt(Counter())
    dict.update(value, unpacker.pairs(body))
    return value


_FACTORIES: dict[str, type] = {kind.__name__: kind for kind in (int, float, str, list, dict, set, bool, tuple)}


def _unpack_defaultdict(unpacker: Unpacker, body: Any) -> Any:
    from collections import defaultdict

    factory, pairs = body
    value = unpacker.adopt(defaultdict(_FACTORIES.get(factory) if factory else None))
    value.update(unpacker.pairs(pairs))
    return value


class Record(tuple):  # type: ignore[type-arg]
    """Base of what a namedtuple becomes: a tuple whose fields can also be read by name."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self))  # noqa: B905 - unknown to Python 3.9

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))  # noqa: B905 - unknown to Python 3.9
        return f"{type(self).__name__}({fields})"


def _unpack_namedtuple(unpacker: Unpacker, body: Any) -> Any:
    name, fields, trees = body
    items = unpacker.items(trees)
    if type(name) is not str or type(fields) is not list or len(fields) != len(items) or len(fields) > 100:
        raise ValuesError("not a namedtuple")
    for field in fields:
        if type(field) is not str or not field.isidentifier() or field.startswith("_"):
            raise ValuesError("not a namedtuple")
    members: dict[str, Any] = {field: property(operator.itemgetter(n)) for n, field in enumerate(fields)}
    members["__slots__"] = ()
    members["_fields"] = tuple(fields)
    return type(name.replace("\0", "")[:80], (Record,), members)(items)


def _unpack_array(unpacker: Unpacker, body: Any) -> Any:
    dtype, shape, trees = body
    items = unpacker.items(trees)
    if type(dtype) is not str or len(dtype) > 8 or dtype.lstrip("<>|=")[:1] not in tuple(ARRAY_KINDS):
        raise ValuesError("not a plain array")
    if type(shape) is not list or not all(type(size) is int and size >= 0 for size in shape):
        raise ValuesError("not a shape")
    if dtype.lstrip("<>|=").startswith("U") and len(items) * int(dtype.lstrip("<>|=U") or 0) > 2**22:
        raise ValuesError("an array too large")
    try:
        import numpy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValuesError("there is no numpy here") from None
    return unpacker.adopt(numpy.array(items, dtype=dtype).reshape(shape))


_UNPACK: dict[str, Unpack] = {
    "t": lambda unpacker, body: tuple(unpacker.items(body)),
    "s": _unpack_set,
    "fs": _unpack_frozenset,
    "d": _unpack_dict,
    "f": _unpack_float,
    "i": _unpack_int,
    "b": lambda _unpacker, body: _bytes_of(body),
    "ba": _unpack_bytearray,
    "c": _unpack_complex,
    "r": _unpack_range,
    "sl": _unpack_slice,
    "e": _unpack_singleton,
    "y": _unpack_type,
    "dk": lambda unpacker, body: dict.fromkeys(_check_hashes(unpacker.items(body))).keys(),
    "di": lambda unpacker, body: dict(unpacker.pairs(body)).items(),
    "dec": _unpack_decimal,
    "fr": _unpack_fraction,
    "dt": _unpack_datetime,
}
_UNPACK_RICH: dict[str, Unpack] = {
    "=": _unpack_reference,
    "dq": _unpack_deque,
    "od": _unpack_ordered,
    "cn": _unpack_counter,
    "dd": _unpack_defaultdict,
    "nt": _unpack_namedtuple,
    "nd": _unpack_array,
}


def _body(tree: Any, *tags: str) -> Any:
    if type(tree) is dict and len(tree) == 1:
        ((tag, body),) = tree.items()
        if tag in tags:
            return body
    raise ValuesError("an object's contents are of another type")


def _refill_list(unpacker: Unpacker, value: Any, tree: Any) -> None:
    list.__setitem__(value, slice(None), unpacker.items(tree))


def _refill_dict(unpacker: Unpacker, value: Any, tree: Any) -> None:
    body = _body(tree, "d", "cn", "dd")
    pairs = unpacker.pairs(body[1] if "dd" in tree else body)
    dict.clear(value)
    dict.update(value, pairs)


def _refill_ordered(unpacker: Unpacker, value: Any, tree: Any) -> None:
    pairs = unpacker.pairs(_body(tree, "od"))
    base = sys.modules["collections"].OrderedDict
    base.clear(value)
    for key, item in pairs:
        base.__setitem__(value, key, item)


def _refill_set(unpacker: Unpacker, value: Any, tree: Any) -> None:
    items = _check_hashes(unpacker.items(_body(tree, "s")))
    set.clear(value)
    set.update(value, items)


def _refill_bytearray(_unpacker: Unpacker, value: Any, tree: Any) -> None:
    bytearray.__setitem__(value, slice(None), _bytes_of(_body(tree, "ba")))


def _refill_deque(unpacker: Unpacker, value: Any, tree: Any) -> None:
    items = unpacker.items(_body(tree, "dq")[0])
    base = sys.modules["collections"].deque
    base.clear(value)
    base.extend(value, items)


def _refill_array(unpacker: Unpacker, value: Any, tree: Any) -> None:
    _body(tree, "nd")
    new = Unpacker(unpacker._handles, []).unpack(tree)
    if new.shape != value.shape:
        raise ValuesError("an array changed its shape")
    value[...] = new


_REFILL: dict[tuple[str, str], Callable[[Unpacker, Any, Any], None]] = {
    ("builtins", "list"): _refill_list,
    ("builtins", "dict"): _refill_dict,
    ("builtins", "set"): _refill_set,
    ("builtins", "bytearray"): _refill_bytearray,
    ("collections", "OrderedDict"): _refill_ordered,
    ("collections", "Counter"): _refill_dict,
    ("collections", "defaultdict"): _refill_dict,
    ("collections", "deque"): _refill_deque,
    ("numpy", "ndarray"): _refill_array,
}
