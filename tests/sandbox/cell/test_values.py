"""The codec of plain data: what goes in comes out, and hostile bytes are refused."""

# ruff: noqa: E501, DTZ001 - lists of values

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import json
import math
import sys
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cell import values
from sandbox.cell.values import Packer, Unpacker, ValuesError, decode, encode

LIMIT = 2**20


def trip(value: Any) -> Any:
    return decode(encode(value, limit_bytes=LIMIT), limit_bytes=LIMIT)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(map(same, left.items(), right.items()))
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    return bool(left == right)


PLAIN: list[Any] = [
    None, True, False, 0, -1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**5000, -(10**5000), 0.0, -0.0, 1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"), 1 + 2j, complex("nan"), complex(0, -0.0), "", "é\0\ud800\U0001f600",
    b"", b"\0\xff", bytearray(b"x"), [], [[], [1, "a"]], (), (1,), ((),), set(), {1, "a", (2,)}, frozenset({frozenset()}),
    {}, {1: {"a": [None]}, (1, 2): "x"}, {"t": [1]}, range(0), range(1, 10, -2), range(10**30), slice(None), slice(1, None, 2),
    ..., NotImplemented, int, dict, ValueError, object, {"a": 1}.items(), {"a": 1}.keys(), Decimal("1.50"), Decimal("-0"),
    Decimal("1E+1000"), Decimal("Infinity"), Fraction(1, 3), datetime.date(2020, 2, 29), datetime.timedelta(-1, 5, 7),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 6, fold=1), datetime.time(1, 2, tzinfo=datetime.UTC),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_round_trip(value: Any) -> None:
    assert same(trip(value), value)
    assert encode(value, limit_bytes=LIMIT).isascii()


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.binary(max_size=20)
    | st.text(st.characters(exclude_categories=()), max_size=20)
)  # fmt: skip
KEYS = st.recursive(SCALARS, lambda inner: st.frozensets(inner, max_size=3) | st.tuples(inner, inner), max_leaves=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(KEYS, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_round_trip_of_any(value: Any) -> None:
    again = trip(value)
    assert type(again) is type(value)
    assert encode(again, limit_bytes=LIMIT) == encode(value, limit_bytes=LIMIT) or isinstance(
        value, (set, frozenset, dict, list, tuple)
    )
    refs: list[Any] = []
    tree = json.loads(json.dumps(Packer(LIMIT, None, refs).pack(value)))
    theirs: list[Any] = []
    assert type(Unpacker(None, theirs).unpack(tree)) is type(value)
    assert len(theirs) == len(refs)


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):  # noqa: UP042 - Python 3.9 knows no other
    HI = "hi"


class Liar:
    """What plain types' subclasses override, in vain."""

    def __eq__(self, other: object) -> bool:
        return True

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Any:
        return iter([7] * 3)

    def __str__(self) -> str:
        return "lie"

    def __getitem__(self, _key: Any) -> Any:
        return "lie"

    def items(self) -> Any:
        return [("lie", "lie")]

    __hash__ = None  # type: ignore[assignment]
    __repr__ = __float__ = __int__ = __index__ = __add__ = __abs__ = keys = copy = __iter__


def lying(base: type, *arguments: Any) -> Any:
    return type("Lying", (Liar, base), {})(*arguments)


Point = collections.namedtuple("Point", "x y")

AS_BASE: list[tuple[Any, Any]] = [
    (Level.LOW, 1), (Word.HI, "hi"), (collections.Counter("aab"), {"a": 2, "b": 1}), (Point(1, 2), (1, 2)),
    (collections.defaultdict(int, a=1), {"a": 1}), (collections.deque([1, 2], 5), [1, 2]),
    (lying(list, [1]), [1]), (lying(tuple, [1]), (1,)), (lying(dict, {"a": 1}), {"a": 1}), (lying(set, [1]), {1}),
    (lying(frozenset, [1]), frozenset({1})), (lying(str, "x"), "x"), (lying(int, 5), 5), (lying(float, 1.5), 1.5),
    (lying(bytes, b"x"), b"x"), (lying(bytearray, b"x"), bytearray(b"x")), (memoryview(b"x"), b"x"),
    (lying(complex, 1j), 1j), (lying(Decimal, "1.5"), Decimal("1.5")), (lying(int, 10**30), 10**30),
    (lying(float, "nan"), float("nan")),
]  # fmt: skip


@pytest.mark.parametrize(("value", "base"), AS_BASE, ids=lambda value: type(value).__name__)
def test_subclasses_are_their_bases_data(value: Any, base: Any) -> None:
    assert same(trip(value), base)
    assert same(trip([value]), [base])


def test_ordered_dict_keeps_its_own_order() -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert list(trip(ordered)) == ["b", "a"]


def test_what_is_not_plain() -> None:
    for value in (
        object(),
        lambda: 1,
        iter([]),
        map(int, []),
        zip(),
        (n for n in [1]),
        Liar(),
        json,
        Liar,
        {1: 2}.values(),
    ):
        with pytest.raises(ValuesError, match="not plain data"):
            encode(value, limit_bytes=LIMIT)
        with pytest.raises(ValuesError, match="not plain data"):
            encode([(value,)], limit_bytes=LIMIT)


def test_size_is_bounded_before_it_is_spent() -> None:
    start = time.process_time()
    twice: Any = []
    for _ in range(100):
        twice = [twice, twice]
    cyclic: list[Any] = [1]
    cyclic += [cyclic, cyclic]
    deep: Any = ()
    for _ in range(10**5):
        deep = (deep,)
    for value in (
        twice, cyclic, deep, "x" * (LIMIT + 1), "\0" * LIMIT, [0] * LIMIT, b"x" * LIMIT, 1 << (2**21), {"x": "y" * LIMIT},
    ):  # fmt: skip
        with pytest.raises(ValuesError):
            encode(value, limit_bytes=LIMIT)
    assert time.process_time() - start < 5
    assert len(encode("x" * 100, limit_bytes=102)) == 102
    with pytest.raises(ValuesError):
        encode("x" * 100, limit_bytes=101)


def test_depth() -> None:
    value: Any = {}
    for _ in range(values.MAX_DEPTH - 1):
        value = {1: value}
    assert same(trip(value), value)
    with pytest.raises(ValuesError, match="too deeply"):
        encode({1: value}, limit_bytes=LIMIT)


HOSTILE = [
    b"", b"{", b"nul", b"[1,]", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"[1e999]", b"\xff", b'"\xc3\xa9"', b"{}",
    b'{"t":[],"s":[]}', b'{"zz":1}', b'{"t":1}', b'{"t":{"t":[]}}', b'{"s":[[]]}', b'{"d":[[[],1]]}', b'{"d":[[1]]}',
    b'{"d":[1]}', b'{"d":{"t":[]}}', b'{"f":1}', b'{"f":"x"}', b'{"f":[]}', b'{"i":"x"}', b'{"i":"--1"}', b'{"i":"1_0"}',
    b'{"i":""}', b'{"i":5}', b'{"i":" 1"}', b'{"b":"x"}', b'{"b":5}', b'{"b":"\\u00e9"}', b'{"ba":[]}', b'{"c":[1]}',
    b'{"c":["1",2]}', b'{"r":[0,1,0]}', b'{"r":[0,1]}', b'{"r":["0",1,1]}', b'{"r":[true,1,1]}', b'{"sl":[]}', b'{"e":2}',
    b'{"e":true}', b'{"y":"eval"}', b'{"y":"__import__"}', b'{"y":[]}', b'{"dk":[[]]}', b'{"di":[[1]]}', b'{"dec":"x"}',
    b'{"dec":"sNaN"}', b'{"dec":"1E+999999"}', b'{"dec":1}', b'{"fr":[1,0]}', b'{"fr":[1.5,2]}', b'{"dt":[]}',
    b'{"dt":["system","x"]}', b'{"dt":["date",2020,13,1]}', b'{"dt":["date",2020,1]}', b'{"dt":["timedelta",1e300,0,0]}',
    b'{"dt":["datetime",1,1,1,1,1,1,1,5,null]}', b'{"dt":["datetime",1,1,1,1,1,1,1,0,1e9]}', b'{"dt":{"x":1}}', b'{"dt":5}',
    b'{"=":0}', b'{"dq":[[],null]}', b'{"nt":["a",[],[]]}', b'{"nd":["O",[0],[]]}', b'{"o":1}', b'{"cb":1}',
    b"9" * 5000, b"-" + b"9" * 5000, b"[" * 10**5, b'{"t":[' * 10**4, b'{"d":[[' * 10**4, b"[" * 300 + b"]" * 300,
    b'{"i":"' + b"f" * (2**18 + 10) + b'"}', b'{"dec":"' + b"1" * 200_000 + b'"}',
    b'{"s":[{"i":"' + b'"},{"i":"'.join(f"{(n + 5) * (2**61 - 1):x}".encode() for n in range(10**4)) + b'"}]}',
    b'{"d":[' + b",".join(b'[{"i":"%x"},0]' % ((n + 5) * (2**61 - 1)) for n in range(10**4)) + b"]}",
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:24]))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(ValuesError):
        decode(data, limit_bytes=LIMIT)
    assert time.process_time() - start < 1


@given(st.binary(max_size=50) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(ValuesError):
        decode(data, limit_bytes=LIMIT)


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*values._UNPACK, *values._UNPACK_RICH, "o"]), inner, min_size=1, max_size=1
        )
    ),
    max_leaves=15,
)


@given(TREES)
def test_any_tree(tree: Any) -> None:
    data = json.dumps(tree).encode()
    for unpacker in (Unpacker(), Unpacker(None, []), Unpacker(None, [[], {}])):
        with contextlib.suppress(ValuesError):
            unpacker.unpack(values.load(data, LIMIT))


def test_too_large_to_decode() -> None:
    with pytest.raises(ValuesError, match="allowed"):
        decode(b"[1, 2]", limit_bytes=5)


def test_digit_limit_of_the_interpreter_is_no_obstacle() -> None:
    assert sys.get_int_max_str_digits() < 10**4
    assert trip(3**20000) == 3**20000


def test_shared_and_cyclic_structure_with_refs() -> None:
    inner: list[Any] = [1]
    value: dict[Any, Any] = {"a": inner, "b": (inner, collections.deque([inner], 3)), "c": collections.Counter("a")}
    value["self"] = value
    mine: list[Any] = []
    tree = json.loads(json.dumps(Packer(LIMIT, None, mine).pack(value)))
    theirs: list[Any] = []
    copy = Unpacker(None, theirs).unpack(tree)
    assert copy["self"] is copy
    assert copy["a"] is copy["b"][0] is copy["b"][1][0]
    assert type(copy["b"][1]) is collections.deque
    assert copy["b"][1].maxlen == 3
    assert type(copy["c"]) is collections.Counter
    assert [type(each) for each in mine] == [type(each) for each in theirs]

    copy["a"].append(copy)
    copy["b"][1].append(2)
    copy["c"]["z"] = 5
    packer = Packer(LIMIT, None, list(theirs))
    contents = json.loads(json.dumps([packer.contents(each) for each in theirs]))
    unpacker = Unpacker(None, mine)
    for each, new in zip(list(mine), contents, strict=True):
        unpacker.refill(each, new)
    assert inner == [1, value]
    assert inner[1] is value
    assert value["b"][1][1] == 2
    assert value["c"]["z"] == 5


def test_refill_refuses_other_types() -> None:
    for value, tree in (
        ([], {"d": []}),
        ({}, []),
        (set(), {"d": []}),
        (bytearray(), {"b": ""}),
        ((), []),
        ({}, {"d": 1}),
    ):
        with pytest.raises(ValuesError):
            Unpacker(None, [value]).refill(value, tree)


def test_namedtuples_with_refs_can_be_read_by_name() -> None:
    tree = json.loads(json.dumps(Packer(LIMIT, None, []).pack(Point(1, [2]))))
    copy = Unpacker(None, []).unpack(tree)
    assert copy == (1, [2])
    assert copy.x == 1
    assert repr(copy) == "Point(x=1, y=[2])"


def test_special_floats_and_zero() -> None:
    assert math.copysign(1, trip(-0.0)) == -1
    assert math.isnan(trip(float("nan")))
