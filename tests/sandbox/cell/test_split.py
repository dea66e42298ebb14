"""What tests may do with a program in another process, and what becomes of them."""

# ruff: noqa: E501 - programs in strings

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.cell.split_driver import Driver


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    running = Driver()
    yield running
    running.close()


PROGRAM = '''
import collections, enum, math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, wraps

LIMIT = 3
REGISTRY = {}

class Node:
    def __init__(self, data, left=None):
        self.data, self.left, self.children = data, left, []

class Stack:
    """A stack."""
    SIZE = 10
    def __init__(self): self.items = []
    def push(self, item): self.items.append(item)
    def pop(self):
        if not self.items: raise IndexError("pop from empty stack")
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __getitem__(self, index): return self.items[index]
    def __repr__(self): return f"Stack({self.items})"
    @property
    def top(self): return self.items[-1]
    @staticmethod
    def of(*items):
        made = Stack()
        made.items = list(items)
        return made
    @classmethod
    def empty(cls): return cls()

class Tall(Stack): pass
class MyList(list):
    def second(self): return self[1]
class Money(int):
    def cents(self): return self * 100
class Color(enum.Enum): RED = 1; BLUE = 2
class Level(enum.IntEnum): LOW = 1; HIGH = 2
Point = collections.namedtuple("Point", "x y")
@dataclass
class Pair: a: int; b: int
class Vector:
    def __init__(self, x): self.x = x
    def __add__(self, other): return Vector(self.x + other.x)
    def __eq__(self, other): return self.x == getattr(other, "x", other)
    def __hash__(self): return hash(self.x)
class AppError(Exception):
    def __init__(self, code): super().__init__(f"code {code}"); self.code = code
class Missing(AppError, KeyError): pass

class Managed:
    def __init__(self): self.log = []
    def __enter__(self): self.log.append("in"); return self
    def __exit__(self, *error): self.log.append("out")

def add(a, b=1, *rest, **named): return a + b + sum(rest) + sum(named.values())
def fail(code): raise Missing(code)
def divide(a, b): return a / b
def sort_in_place(xs): xs.sort()
def update(d): d["new"] = [1]; del d["old"]
def deep(x): x["a"][0].append(9); return x["a"]
def identity(x): return x
def share(xs): return [xs, xs]
def apply(f, *args): return f(*args)
def swallow(f):
    try: return f()
    except Exception as error: return str(error)
def countdown(n):
    while n: yield n; n -= 1
def naturals():
    n = 0
    while True: yield n; n += 1
def lazily(f, xs): return map(f, xs)
def total(items): return sum(items)
def say(text): print(text)
def twice(f):
    @wraps(f)
    def wrapper(*args, **kwargs): return 2 * f(*args, **kwargs)
    return wrapper
@lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def types(): return [1, True, 1.5, None, "s", b"b", (1,), {1}, frozenset({2}), {3: 4}, 1j, range(3), ..., int, slice(1)]
def fill(tree): tree.value = 7; tree.left.value += 1; return tree
def leaves(tree): return 1 if tree is None or tree.left is None else leaves(tree.left)
async def later(x): return x + 1
def word_count(words): return Counter(words)
def adder(n): return lambda x: x + n
def keys(d): return d.keys()
def popleft(q): return q.popleft()
def big(): return 10 ** 5000
def ask(): return input()
def last(): return Node(5)
def stop(): raise StopIteration
def leave(): raise SystemExit(0)
def remember(name, value): REGISTRY[name] = value
'''

PASSING = {
    "plain": "assert add(1, 2) == 3 and add(1) == 2 and add(1, 2, 3, k=4) == 10 and add(*[1], **{'b': 5}) == 6",
    "types": """
for made, wanted in zip(types(), [1, True, 1.5, None, 's', b'b', (1,), {1}, frozenset({2}), {3: 4}, 1j, range(3), ..., int, slice(1)]):
    assert type(made) is type(wanted) and made == wanted""",
    "big int": "assert big() == 10 ** 5000",
    "isinstance": "assert isinstance(add(1, 2), int) and type(identity([])) == list and identity('x').upper() == 'X'",
    "exception by type": """
try:
    divide(1, 0)
    assert False
except ZeroDivisionError as error:
    assert str(error) == 'division by zero'""",
    "own exception": """
try:
    fail(5)
    assert False
except Missing as error:
    assert error.code == 5 and 'code 5' in str(error) and error.args == ('code 5',)""",
    "own exception by base": """
for base in (KeyError, LookupError, Exception, AppError):
    try:
        fail(5)
        assert False
    except base:
        pass""",
    "unittest raises": """
import unittest
case = unittest.TestCase()
with case.assertRaises(ZeroDivisionError):
    divide(1, 0)
case.assertAlmostEqual(divide(1, 3), 0.3333333333)""",
    "argument sorted": "xs = [3, 1, 2]; ys = xs; sort_in_place(xs); assert xs == [1, 2, 3] and ys is xs",
    "argument updated": "d = {'old': 0}; assert update(d) is None and d == {'new': [1]}",
    "nested argument": """
inner = [1]; x = {'a': [inner]}
assert deep(x) is x['a'] and inner == [1, 9] and x['a'][0] is inner""",
    "identity": "xs = [1]; assert identity(xs) is xs and share(xs)[0] is xs and share(xs)[1] is xs",
    "cycle": "xs = [1]; xs.append(xs); assert identity(xs) is xs",
    "key function": "assert apply(sorted, [3, 1, 2]) == [1, 2, 3] and apply(lambda a, b: a * b, 3, 4) == 12",
    "library function": "import math, operator; assert apply(math.sqrt, 9) == 3 and apply(operator.add, 1, 2) == 3",
    "callback exception": """
def bad(): raise ValueError('no')
assert swallow(bad) == 'no'
class Own(Exception): pass
def worse(): raise Own('x')
try:
    apply(worse)
    assert False
except Own as error:
    assert str(error) == 'x'""",
    "re-entrant": "assert apply(lambda n: add(n, apply(lambda m: m * 2, n)), 5) == 15",
    "candidate as key": "assert sorted([3, 1, 2], key=add) == [1, 2, 3] and list(map(add, [1, 2])) == [2, 3]",
    "candidate to candidate": "assert apply(add, 1, 2) == 3 and apply(Stack.of, 1, 2)[1] == 2",
    "generator": "assert list(countdown(3)) == [3, 2, 1] and next(countdown(2)) == 2 and sum(countdown(3)) == 6",
    "infinite generator": "import itertools; assert list(itertools.islice(naturals(), 3)) == [0, 1, 2]",
    "StopIteration of next": """
g = countdown(1); next(g)
try:
    next(g)
    assert False
except StopIteration:
    pass""",
    "inspect generator": "import inspect; assert inspect.isgenerator(countdown(1)) and inspect.isfunction(add)",
    "lazy map": "assert list(lazily(lambda x: x + 1, [1, 2])) == [2, 3] and set(lazily(str, [1])) == {'1'}",
    "iterator given": "assert total(iter([1, 2])) == 3 and total(x * x for x in range(4)) == 14",
    "object": """
s = Stack()
s.push(1); s.push('two')
assert len(s) == 2 and s.top == 'two' and s.pop() == 'two' and list(s) == [1] and s[0] == 1 and s
assert repr(s) == 'Stack([1])' and str(s) == 'Stack([1])' and f'{s}' == 'Stack([1])'
s.pop()
assert not s""",
    "object's exception": """
try:
    Stack().pop()
    assert False
except IndexError as error:
    assert 'empty' in str(error)""",
    "class": """
assert isinstance(Stack(), Stack) and type(Stack()) is Stack and type(Stack()) == Stack
assert issubclass(Tall, Stack) and isinstance(Tall(), Stack) and not isinstance(Stack(), Tall)
assert Stack.SIZE == 10 and Stack.__name__ == 'Stack' and Stack().__class__.__name__ == 'Stack'
assert Stack.of(1, 2).top == 2 and len(Stack.empty()) == 0 and not isinstance(3, Stack)
assert hasattr(Stack(), 'push') and not hasattr(Stack(), 'fly') and callable(Stack().push)""",
    "attributes": """
n = Node(1); n.left = Node(2); n.left.left = Node(3)
assert n.left.left.data == 3 and n.left.left.left is None and n.left is n.left
n.data = [5]; assert n.data == [5]
del n.data; assert not hasattr(n, 'data')""",
    "live attribute": """
n = Node(1)
n.children.append(Node(2)); n.children.append(4)
assert len(n.children) == 2 and n.children[0].data == 2 and n.children[1] == 4
s = Stack(); s.items.extend([1, 2]); assert s.pop() == 2""",
    "globals": "assert LIMIT == 3; remember('a', 1); assert REGISTRY == {'a': 1}; REGISTRY.clear(); assert REGISTRY == {}",
    "program's imports": "assert math.floor(2.5) == 2 and Counter('aab')['a'] == 2 and word_count(['a', 'a']) == Counter(a=2)",
    "list subclass": "m = MyList([1, 2]); assert m.second() == 2 and m == [1, 2] and m + [3] == [1, 2, 3] and 2 in m",
    "int subclass": "m = Money(5); assert m.cents() == 500 and m == 5 and m + 1 == 6 and m < 6",
    "enum": """
assert Color.RED.value == 1 and Color.RED is Color.RED and Color.RED == Color(1) and Color.RED != Color.BLUE
assert len(Color) == 2 and [c.name for c in Color] == ['RED', 'BLUE'] and Level.HIGH > 1 and Level.LOW == 1
assert {Color.RED: 1}[Color['RED']] == 1""",
    "namedtuple": "p = Point(1, y=2); assert p == (1, 2) and p.x == 1 and p[1] == 2 and identity(p).y == 2",
    "dataclass": "p = Pair(1, b=2); assert p.a == 1 and p.b == 2 and identity(p) is p and 'a=1' in repr(p)",
    "context manager": "with Managed() as m:\n    assert m.log == ['in']\nassert m.log == ['in', 'out']",
    "prints": """
import contextlib, io
out = io.StringIO()
with contextlib.redirect_stdout(out):
    say('hé'); print('own')
assert out.getvalue() == 'hé\\nown\\n'""",
    "decorator": "@twice\ndef three(x): return 3 * x\nassert three(2) == 12 and three.__name__ == 'three'",
    "names": "assert add.__name__ == 'add' and Stack.of.__name__ == 'of'",
    "closures": "plus = adder(3); assert plus(4) == 7 and callable(plus)",
    "caches": "assert [fib(n) for n in range(8)] == [0, 1, 1, 2, 3, 5, 8, 13]",
    "async": """
import asyncio
assert asyncio.run(later(1)) == 2
async def main(): return await later(2) + sum(await asyncio.gather(later(3), later(4)))
assert asyncio.run(main()) == 12""",
    "deque": "from collections import deque; q = deque([1, 2]); assert popleft(q) == 1 and q == deque([2])",
    "dict views": "assert keys({1: 2}) == {1: 3}.keys() and keys({1: 2}) == {1}",
    "values": """
import datetime, decimal, fractions
for value in (datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc),
              decimal.Decimal('1.50'), fractions.Fraction(1, 3), datetime.timedelta(1), float('inf'), 2 ** 100):
    assert identity(value) == value and type(identity(value)) is type(value)""",
    "nan": "import math; assert math.isnan(identity(float('nan'))) and math.isclose(divide(1, 3), 1 / 3)",
    "strings": "for s in ['\\ud800', '\\0', 'é' * 1000, '\\U0001f600']: assert identity(s) == s",
    "threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool: assert list(pool.map(add, range(50))) == list(range(1, 51))""",
    "from import": "from solution import add as plus, Stack as S\nassert plus(1, 2) == 3 and len(S()) == 0",
    "class body": """
import unittest
class TestIt(unittest.TestCase):
    three = add(1, 2)
    def test_add(self): self.assertEqual(add(1, 2), self.three)
    def test_fail(self):
        with self.assertRaises(KeyError): fail(1)
unittest.main()""",
    "exits": """
try:
    leave()
    assert False
except SystemExit as end:
    assert end.code == 0""",
    "if raise": "if add(1, 2) != 3:\n    raise AssertionError('no')",
    "own code": "assert eval('add(1, 2)') == 3; exec('y = add(2, 2)'); assert y == 4",
    "own modules": "from collections import namedtuple; P = namedtuple('P', 'a b'); assert add(*P(1, 2)) == 3",
    "late dataclass": """
assert add(1, 2) == 3
from dataclasses import dataclass
@dataclass
class D:
    a: int
assert add(D(1).a) == 2""",
    "helper": "def verify(x): return apply(lambda: x) == x\nassert verify(4)",
    "match": "match add(1, 2):\n    case int(): assert True\n    case _: assert False",
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_passing(driver: Driver, name: str) -> None:
    assert driver.run(PROGRAM, [PASSING[name]]).reports == [("ok", "")]


OTHER = {
    "wrong value": ("failed", "assert add(1, 2) == 4"),
    "wrong type": ("failed", "assert add(1, 2) == '3'"),
    "object for a number": ("failed", "assert last() == 5"),
    "function for a number": ("failed", "assert adder(1) - 1 < 5"),
    "generator for a list": ("failed", "assert countdown(2) == [2, 1]"),
    "none for a number": ("failed", "assert abs(say('') - 3) < 1"),
    "test's own error after a call": ("failed", "assert add(1, 2)[0] == 1"),
    "raises": ("exit", "assert divide(1, 0) == 1"),
    "raises its own": ("exit", "fail(3); assert True"),
    "raises StopIteration": ("exit", "assert list(map(lambda x: stop(), [1])) == []"),
    "exits": ("exit", "leave(); assert True"),
    "name missing": ("exit", "assert unheard(1) == 1"),
    "missing name swallowed": ("exit", "try:\n    unheard(1)\nexcept:\n    pass\nassert True"),
    "nothing reached": ("failed", "for x in identity([]): assert x"),
    "broken syntax": ("broken_test", "assert ("),
    "broken before any call": ("broken_test", "assert add(1 / 0)"),
    "nul": ("broken_test", "assert '\0'"),
    "no check": ("broken_test", "add(1, 2)"),
    "nothing": ("broken_test", "pass"),
    "no program": ("broken_test", "for x in []: assert add(1)"),
    "eval": ("unsplittable", "wanted = 2; assert eval(identity('not wanted')[4:]) == wanted"),
    "exec, swallowed": ("unsplittable", "try:\n    exec(identity('x') + '= 1')\nexcept:\n    pass\nassert True"),
    "pickle": ("unsplittable", "import pickle; assert pickle.loads(identity(b'cposix\\nsystem\\n.')) is not None"),
    "command": ("unsplittable", "import os; assert os.system(identity('true')) == 0"),
    "two objects": ("unsplittable", "assert Pair(1, 2) == Pair(1, 2)"),
    "two objects, swallowed": ("unsplittable", "try:\n    Pair(1, 2) == Pair(1, 2)\nexcept:\n    pass\nassert True"),
    "source": ("unsplittable", "import inspect; assert 'return' in inspect.getsource(add)"),
    "derived": ("unsplittable", "class Mine(Stack): pass\nassert Mine().pop"),
    "copied": ("unsplittable", "import copy; assert copy.deepcopy(Stack())"),
    "file given": ("unsplittable", "import re; assert identity(re.compile('x')) == 1"),
    "object given": ("unsplittable", "class A:\n    def m(self): pass\nassert identity(A())"),
    "input": ("unsplittable", "import builtins; builtins.input = lambda *a: 'x'; assert ask() == 'x'"),
    "sum": ("unsplittable", "assert (Vector(1) + Vector(2)).x == 3"),
    "equal to a number": ("unsplittable", "assert Vector(1) == 1"),
    "hash": ("unsplittable", "assert Vector(1) in {Vector(1)}"),
    "unhashable": ("failed", "assert Pair(1, 2) in {Pair(1, 2)}"),
    "program not used": ("broken_test", "assert 1 + 1 == 2"),
    "program not called": ("broken_test", "assert add or True"),
}


@pytest.mark.parametrize("name", OTHER)
def test_not_passing(driver: Driver, name: str) -> None:
    status, test = OTHER[name]
    assert driver.run(PROGRAM, [test]).statuses == [status]


def test_statuses_come_in_order_and_tests_share_their_names(driver: Driver) -> None:
    tests = [
        "x = add(1, 2); xs.append(x); assert x == 3",
        "assert x == 3 and xs == [3]",
        "y = divide(1, 0)",
        "assert y == 1",
        "assert x == 3",
    ]
    assert driver.run(PROGRAM, tests, setup="xs = []").statuses == ["ok", "ok", "exit", "failed", "ok"]


def test_message_says_what_was_called(driver: Driver) -> None:
    ((status, message),) = driver.run(PROGRAM, ["assert add(1, b=2) == 4"]).reports
    assert status == "failed"
    assert message == "assert add(1, b=2) == 4; add(1, b=2) returned 3"
    ((_, message),) = driver.run("def f(x): return '\\ud800' * 10000", ["assert f('y' * 10000) == 4"]).reports
    assert len(message) <= 500
    message.encode()


def test_builtin_names_are_the_programs_only_as_entry_points(driver: Driver) -> None:
    program = "def sum(a, b): return a + b\ndef len(x): return 3"
    assert driver.run(program, ["assert sum(1, 2) == 3"], names=["sum"]).passed
    assert driver.run(program, ["assert sum([1, 2]) == 3 and len([]) == 0"]).statuses == ["broken_test"]
    assert driver.run(program, ["assert len([]) == 3"], names=["sum"]).statuses == ["broken_test"]


def test_prelude_binds_helpers_but_no_entry_point(driver: Driver) -> None:
    prelude = "import math\ndef helper(x): return x * 2\ndef f(x):\n    '''A stub.'''\n"
    program = "def helper(x): return 0\ndef f(x): return x * 3"
    test = "assert helper(candidate(2)) == 12 and f(1) == 3 and math.sqrt(4) == 2"
    assert driver.run(program, [test], prelude=prelude, names=["f"], aliases={"candidate": "f"}).passed


def test_objects_of_the_prompts_classes(driver: Driver) -> None:
    tree = "class Tree:\n    def __init__(self, value, left=None): self.value, self.left = value, left\n"
    tests = [
        "t = Tree(1, Tree(2)); assert fill(t) is t and t.value == 7 and t.left.value == 3",
        "assert leaves(Tree(1, Tree(2))) == 1 and leaves(None) == 1",
        "t = Tree(1); t.left = t; assert identity(t) is t",
        "assert identity(Tree) is not None",
    ]
    assert driver.run(PROGRAM + tree, tests, prelude=tree).passed


def test_setup_that_fails(driver: Driver) -> None:
    tests = ["assert add(1, 2) == 3", "assert True"]
    assert driver.run(PROGRAM, tests, setup="x = 1 / 0").statuses == ["broken_test"] * 2
    assert driver.run(PROGRAM, tests, setup="x = (").statuses == ["broken_test"] * 2
    assert driver.run(PROGRAM, tests, setup="x = divide(1, 0)").statuses == ["exit"] * 2
    assert driver.run(PROGRAM, tests, setup="x = unheard(1)").statuses == ["exit"] * 2


def test_programs_that_do_not_load(driver: Driver) -> None:
    for program in ("def f(", "raise ValueError('x')", "import sys; sys.exit(0)", "import nothing_such", "x = '\0'"):
        assert driver.run(program, ["assert f(1) == 1"]).load is not None
    assert driver.run("import os; os._exit(0)", ["assert f(1) == 1"]).load == ("lost", "while loading")


def test_candidate_that_dies_loses_one_test(driver: Driver) -> None:
    program = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x"
    tests = [f"assert f({n}) == {n}" for n in range(4)]
    assert driver.run(program, tests).statuses == ["ok", "lost", "ok", "ok"]
    swallowing = "try:\n    f(1)\nexcept:\n    pass\nassert True"
    assert driver.run(program, [swallowing, "assert f(2) == 2"]).statuses == ["lost", "ok"]


def test_no_tests(driver: Driver) -> None:
    assert not driver.run("def f(x): return x", []).passed


def test_check_without_asserts_is_broken(driver: Driver) -> None:
    program = "def f(x): return x"
    for body in ("pass", "return\n    assert candidate(1) == 2", "for x in []: assert candidate(x)"):
        setup = f"def check(candidate):\n    {body}"
        result = driver.run(program, ["check(candidate)"], setup=setup, aliases={"candidate": "f"}, names=["f"])
        assert result.statuses == ["broken_test"]


def test_a_call_is_cheap(driver: Driver) -> None:
    result = driver.run("def f(x): return x", ["for n in range(5000): assert f(n) == n"])
    assert result.passed
    assert result.cpu_s / 5000 < 0.001  # a fork costs more than that, a call a twentieth
