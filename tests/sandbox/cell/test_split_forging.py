"""Programs that try to pass tests without knowing the answer. None may pass a single one of them."""

# ruff: noqa: E501 - programs in strings

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.cell.split_driver import Driver

SECRET = "EXPECTED-" + "7f3a91c4"


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    running = Driver()
    yield running
    running.close()


NUMBER = [
    "assert f(3) == 31337",
    "assert 31337 == f(3)",
    "assert not f(3) != 31337",
    "assert not 31337 != f(3)",
    "assert abs(f(3) - 31337) < 1e-9",
    "assert abs(31337 - f(3)) < 1e-9",
    "assert -1e-9 < 31337 - f(3) < 1e-9",
    "assert math.isclose(f(3), 31337)",
    "assert round(f(3)) == 31337 and round(f(3), 2) == 31337",
    "assert f(3) in (31337, 31338) and f(3) in [31337]",
    "assert f(3) in {31337: 1}",
    "assert f(3) >= 31337 and f(3) <= 31337",
    "assert 31337 <= f(3) <= 31337",
    "assert [f(3)] == [31337] and {f(3)} == {31337}",
    "assert f(3) * 2 == 62674 and f(3) + 0 == 31337",
    "assert int(f(3)) == 31337",
    "assert max(f(3), 31337) == min(f(3), 31337) == 31337",
    "assert helper(f(3)) == 0",
    "assert not helper(f(3))",
    "check(f)",
    "unittest.TestCase().assertEqual(f(3), 31337)",
    "unittest.TestCase().assertAlmostEqual(f(3), 31337.0)",
    "if f(3) != 31337:\n    raise AssertionError",
    "for x in map(f, [3]): assert x == 31337",
    "assert [x for x in map(f, [3]) if x == 31337]",
    "assert sum(map(f, [3, 3])) == 62674",
    "result = None\ntry:\n    result = f(3)\nexcept BaseException:\n    pass\nassert result == 31337",
    "try:\n    assert f(3) == 31337\nfinally:\n    pass",
    "assert isinstance(f(3), int) and f(3) == 31337",
    "match f(3):\n    case 31337: assert True\n    case _: assert False",
    "assert operator.eq(f(3), 31337)",
    "assert any(f(3) == x for x in [31337]) and all(f(3) == x for x in [31337])",
]
SEQUENCE = [
    "assert f(3) == [31337, 1]",
    "assert [31337, 1] == f(3)",
    "assert list(f(3)) == [31337, 1]",
    "assert sorted(f(3)) == [1, 31337]",
    "assert set(f(3)) == {1, 31337}",
    "assert tuple(f(3)) == (31337, 1)",
    "assert f(3)[0] == 31337",
    "assert 31337 in f(3) and len(f(3)) == 2",
    "assert sum(f(3)) == 31338",
    "unittest.TestCase().assertListEqual(list(f(3)), [31337, 1])",
    "unittest.TestCase().assertCountEqual(f(3), [31337, 1])",
]
TEXT = [
    f"assert f(3) == {SECRET!r}",
    f"assert str(f(3)) == {SECRET!r}",
    f"assert {SECRET!r} in str(f(3))",
    f"assert f(3).strip() == {SECRET!r}",
    f"assert f'{{f(3)}}' == {SECRET!r}",
]
SETUP = f"""
import math, operator, unittest
WANTED = 31337
TEXT = {SECRET!r}
def check(candidate):
    assert candidate(3) == WANTED
    assert candidate(3) - WANTED == 0, TEXT
"""
PRELUDE = "def helper(x): return x - 31337"

EVIL_CLASS = """
class Evil(%s):
    def yes(self, *a, **k): return True
    def zero(self, *a, **k): return 0
    def me(self, *a, **k): return self
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = yes
    __hash__ = lambda self: 31337
    %s
"""
OPERATORS = """
    __add__ = __sub__ = __radd__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __mod__ = __pow__ = __and__ = zero
    __iadd__ = __isub__ = __abs__ = __neg__ = __round__ = __floor__ = __ceil__ = __trunc__ = __divmod__ = zero
"""
OPERATORS_SELF = OPERATORS.replace("= zero", "= me")

SEARCH = """
def hit(o): return type(o) is int and 31336 < o < 31338 or type(o) is str and o[:8] == 'EXPECTED' and len(o) == 17
"""

EVIL = {
    "__eq__": EVIL_CLASS % ("object", "") + "def f(x): return Evil()",
    "__ne__ says no": "class E:\n    __ne__ = lambda s, o: False\n    __eq__ = lambda s, o: True\ndef f(x): return E()",
    "operators give zero": EVIL_CLASS % ("object", OPERATORS) + "def f(x): return Evil()",
    "operators give self": EVIL_CLASS % ("object", OPERATORS_SELF) + "def f(x): return Evil()",
    "only __sub__": "class E:\n    def __sub__(s, o): return 0\n    __rsub__ = __sub__\ndef f(x): return E()",
    "int": EVIL_CLASS % ("int", OPERATORS) + "def f(x): return Evil(7)",
    "float": EVIL_CLASS % ("float", OPERATORS) + "def f(x): return Evil(7)",
    "str": EVIL_CLASS % ("str", "strip = lambda self: self") + "def f(x): return Evil('x')",
    "list": EVIL_CLASS % ("list", "__len__ = lambda self: 2") + "def f(x): return Evil([1, 2])",
    "tuple": EVIL_CLASS % ("tuple", "") + "def f(x): return Evil([1, 2])",
    "dict": EVIL_CLASS % ("dict", "__missing__ = lambda self, key: key") + "def f(x): return Evil()",
    "set": EVIL_CLASS % ("set", "") + "def f(x): return Evil()",
    "complex": EVIL_CLASS % ("complex", OPERATORS) + "def f(x): return Evil(1)",
    "Fraction": "from fractions import Fraction\n" + EVIL_CLASS % ("Fraction", OPERATORS) + "def f(x): return Evil(1)",
    "Decimal": "from decimal import Decimal\n" + EVIL_CLASS % ("Decimal", OPERATORS) + "def f(x): return Evil(1)",
    "IntEnum": "import enum\nclass E(enum.IntEnum):\n    A = 1\n    __eq__ = lambda s, o: True\n"
    "    __sub__ = __rsub__ = lambda s, o: 0\n    __hash__ = lambda s: 31337\ndef f(x): return E.A",
    "the entry point is the class": EVIL_CLASS % ("object", OPERATORS + "\n    def __init__(self, *a): pass")
    + "f = Evil",
    "the entry point is an int": EVIL_CLASS % ("int", OPERATORS) + "f = Evil",
    "the entry point is a list": EVIL_CLASS % ("list", "__init__ = lambda self, x: None") + "f = Evil",
    "the entry point is an instance": EVIL_CLASS % ("object", OPERATORS + "\n    def __call__(self, *a): return self")
    + "f = Evil()",
    "metaclass": "class M(type):\n    def __eq__(c, o): return True\n    __instancecheck__ = __subclasscheck__ = __eq__\n"
    "    __sub__ = __rsub__ = __abs__ = lambda *a: 0\n    __hash__ = lambda c: 31337\n    __iter__ = lambda c: iter(())\n"
    "class E(metaclass=M): pass\ndef f(x): return E",
    "__class__": "class E:\n    __class__ = int\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef f(x): return E()",
    "__bool__ and __len__": "class E:\n    __bool__ = lambda s: False\n    __len__ = lambda s: 2\n"
    "    __lt__ = __gt__ = lambda s, o: s\n    __sub__ = __rsub__ = __ne__ = __lt__\ndef f(x): return E()",
    "__getattr__": "class E:\n    def __getattr__(s, n): return lambda *a: True\ndef f(x): return E()",
    "numbers": "class E:\n    __int__ = __index__ = __hash__ = lambda s: 3\n    __float__ = lambda s: float('nan')\n"
    "    __complex__ = lambda s: 0j\ndef f(x): return E()",
    "text": "class E:\n    __str__ = __repr__ = lambda s: ''\n    __format__ = lambda s, spec: spec\n"
    "    strip = lambda s: s\n    __eq__ = lambda s, o: True\ndef f(x): return E()",
    "str of a str": "class S(str):\n    __eq__ = __contains__ = lambda s, o: True\n    __hash__ = str.__hash__\n"
    "class E:\n    __str__ = __repr__ = lambda s: S('x')\n    strip = lambda s: S('x')\ndef f(x): return E()",
    "nan": "def f(x): return float('nan')",
    "inf": "def f(x): return float('inf')",
    "inf - inf": "def f(x): return [float('inf'), float('-inf')]",
    "NotImplemented": "def f(x): return NotImplemented",
    "Ellipsis": "def f(x): return ...",
    "mock.ANY": "from unittest import mock\ndef f(x): return mock.ANY",
    "mock": "from unittest import mock\ndef f(x): return mock.MagicMock()",
    "helper redefined": "def helper(x): return 0\ndef f(x): return 0",
    "everything redefined": "def f(x): return 0\nhelper = check = abs = round = isinstance = sorted = list = set = f\n"
    "max = min = sum = int = str = tuple = all = any = map = f\nmath = operator = unittest = WANTED = TEXT = f",
    "builtins patched": "import builtins\ndef f(x): return 0\nfor name in ('abs', 'isinstance', 'sorted', 'round', 'len'):\n"
    "    setattr(builtins, name, lambda *a: 0)",
    "modules patched": "import math, operator, unittest, json\ndef f(x): return 0\nmath.isclose = operator.eq = lambda *a: True\n"
    "unittest.TestCase.assertEqual = unittest.TestCase.assertAlmostEqual = lambda *a: None",
    "a module that lies": "class math:\n    isclose = staticmethod(lambda *a: True)\noperator = unittest = math\ndef f(x): return 0",
    "codec patched": "import json, sys\ndef f(x): return 0\nfor name in list(sys.modules):\n"
    "    if name.endswith('values'): sys.modules[name].Packer.pack = lambda self, value: {'d': []}",
    "codec lies": "import sys\ndef f(x): return 0\nfor name in list(sys.modules):\n"
    "    if name.endswith('values'): sys.modules[name].Packer.pack = lambda self, value: %s",
    "AssertionError": "def f(x): raise AssertionError",
    "StopIteration": "def f(x): raise StopIteration",
    "own StopIteration": "class E(StopIteration): pass\ndef f(x): raise E(31337)",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "SystemExit": "def f(x): raise SystemExit(0)",
    "sys.exit": "import sys\ndef f(x): sys.exit()",
    "SkipTest": "import unittest\ndef f(x): raise unittest.SkipTest",
    "own BaseException": "class E(BaseException):\n    __eq__ = lambda s, o: True\ndef f(x): raise E",
    "an exception returned": "class E(Exception):\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef f(x): return E()",
    "os._exit": "import os\ndef f(x): os._exit(0)",
    "kill": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)",
    "kill the group": "import os, signal\nos.setsid()\ndef f(x): os.killpg(0, signal.SIGKILL)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit",
    "generator": "def f(x):\n    yield x",
    "endless": "def f(x):\n    while True: yield 0",
    "iterates strangely": "class E:\n    __iter__ = lambda s: s\n    def __next__(s): raise StopIteration\ndef f(x): return E()",
    "__iter__ gives no iterator": "class E:\n    __iter__ = lambda s: [31337, 1]\n    __next__ = 5\ndef f(x): return E()",
    "handles in a list": EVIL_CLASS % ("object", OPERATORS) + "def f(x): return [Evil(), Evil()]",
    "handles in a set": EVIL_CLASS % ("object", OPERATORS) + "def f(x): return {Evil()}",
    "the function itself": "def f(x): return f",
    "a class": "def f(x): return int",
    "huge int": "def f(x): return 1 << (8 * 10 ** 6)",
    "deep": "def f(x):\n    y = []\n    for _ in range(10 ** 5): y = [y]\n    return y",
    "cyclic": "def f(x):\n    y = [7]\n    y.append(y)\n    return y",
    "huge string": "def f(x): return 'x' * 10 ** 8",
    "many": "def f(x): return [[] for _ in range(10 ** 6)]",
    "hash collisions": "def f(x): return {n * (2 ** 61 - 1) for n in range(10 ** 4)}",
    "nothing": "",
    "no value": "def f(x): pass",
    "coroutine": "async def f(x): return 31336",
    "thread changes the result": "import threading, time\ndef f(x):\n    y = [0, 0]\n    def later():\n"
    "        for n in range(10): y[:] = [n, n]; time.sleep(0.001)\n    threading.Thread(target=later, daemon=True).start()\n    return y",
    "gc": SEARCH + """
import gc
def f(x):
    for o in gc.get_objects():
        if type(o) in (list, tuple, set, dict):
            for i in [*o, *(o.values() if type(o) is dict else ())]:
                if hit(i): return i
""",
    "frames": SEARCH + """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for o in [*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts]:
            if hit(o): return o
        frame = frame.f_back
""",
    "frames rewritten": "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for name, o in list(frame.f_locals.items()):\n"
    "            try: o.depth, o._number = 100, o._number + 1\n            except Exception: pass\n        frame = frame.f_back\n    return 0",
    "memory": "import re\ndef f(x):\n    data = open('/proc/self/mem', 'rb', 0)\n    for line in open('/proc/self/maps'):\n"
    "        start, end = (int(n, 16) for n in line.split()[0].split('-'))\n        try: data.seek(start); block = data.read(end - start)\n"
    "        except Exception: continue\n        m = re.search(b'EXPEC' + b'TED-[0-9a-f]{8}', block)\n        if m: return m.group().decode()",
    "settrace": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return 0",
    "recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x)",
    "stdout": "import os\ndef f(x):\n    for fd in (1, 2):\n        os.write(fd, b'[\"ok\", \"\"]\\n' * 50)\n    print('ok'); return 0",
}  # fmt: skip

FRAMES = {
    "reports": b'{"reports": [["ok", ""]], "cpu_s": 0}\n{"ended": true}\n["ok",""]\n',
    "answers": b"".join(
        len(body).to_bytes(4, "big") + body for n in range(1, 40) for body in [b'["a",%d,true,true,null,"",[]]' % n]
    ),
    "loaded": b'\0\0\0\x12["loaded",true,""]',
    "huge": b"\xff\xff\xff\xff",
    "large and short": b"\0\xff\xff\xff[",
    "empty": b"\0\0\0\0",
    "nested": b"\0\x0f\0\0" + b"[" * 0xF0000,
    "no json": b"\0\0\0\x05hello",
    "utf-8": b'\0\0\0\x05["\xc3\xa9"',
    "questions": b'\0\0\0\x24["q",1,"call",[0,{"t":[]},{"t":[]}],0,[]]',
    "a question out of turn": b'\0\0\0\x22["q",1,"name",["WANTED"],false,[]]',
    "object": b"\0\0\0\x02{}",
    "endless": b"\0\0\0\x02[]" * 10**4,
}
for _name, _frame in FRAMES.items():
    EVIL[f"frames on every descriptor: {_name}"] = (
        f"import os, base64, fcntl\nFRAME = {_frame!r}\ndef f(x):\n    for fd in range(3, 20):\n"
        "        try:\n            flags = fcntl.fcntl(fd, fcntl.F_GETFL); fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)\n"
        "            os.write(fd, FRAME); fcntl.fcntl(fd, fcntl.F_SETFL, flags)\n        except OSError: pass\n    return 0"
    )
LIES = {
    "unknown class": "{'o': [5, 99999, False]}",
    "handle": "{'o': [0, 0, True]}",
    "not a handle": "{'o': None}",
    "given": "{'cb': 0}",
    "given, negative": "{'cb': -1}",
    "exception": "{'x': ['ValueError', [], 0]}",
    "strange exception": "{'x': ['object', [], 0]}",
    "unknown exception": "{'x': [12345, [], 0]}",
    "reference": "{'=': 0}",
    "module": "{'m': 'subprocess'}",
    "library": "{'q': ['os', 'system']}",
    "library, renamed": "{'q': ['builtins', 'bool']}",
    "eval": "{'y': 'eval'}",
    "type": "{'y': 'type'}",
    "tags": "{'t': [1], 's': [2]}",
    "unknown tag": "{'__class__': 'x'}",
    "unhashable": "{'s': [[1]]}",
    "bad array": "{'nd': ['O', [1], [1]]}",
    "bad int": "{'i': '0x_1'}",
    "bad date": "{'dt': ['datetime', 1, 1, 1, 1, 1, 1, 1, 1, 1e300]}",
    "bad fraction": "{'fr': [1, 0]}",
    "bad name": "{'nt': ['\\ud800', ['__eq__'], [1]]}",
}
for _name, _tree in LIES.items():
    EVIL[f"codec lies: {_name}"] = EVIL["codec lies"] % _tree
EVIL["codec lies"] = EVIL["codec lies"] % "31336"


SLOW = {"many", "recursion", "endless", "huge string", "deep", "memory", "kill", "kill the group", "os._exit"}
"""These take their time, or need a relaunch, for each test, and get a few of them."""


@pytest.mark.parametrize("name", EVIL)
def test_no_test_passes(driver: Driver, name: str) -> None:
    tests = [*NUMBER, *SEQUENCE, *TEXT]
    if name in SLOW:
        tests = [NUMBER[4], SEQUENCE[2], TEXT[1]]
    result = driver.run(EVIL[name], tests, setup=SETUP, prelude=PRELUDE, names=["f"], wall_s=3, cpu_s=1)
    passed = [test for test, status in zip(tests, result.statuses, strict=True) if status == "ok"]
    assert not passed
    assert "broken_test" not in result.statuses


HONEST = {
    "number": ("def f(x): return 31337", NUMBER),
    "bool": ("def f(x): return True", ["assert f(3)", "assert f(3) is True", "assert f(3) == 1"]),
    "float": ("def f(x): return 31337.0", [test for test in NUMBER if "isinstance" not in test]),
    "subclass of int": ("class N(int): pass\ndef f(x): return N(31337)", NUMBER),
    "list": ("def f(x): return [31337, 1]", SEQUENCE),
    "text": (f"def f(x): return {SECRET!r}", TEXT),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_pass_the_same_tests(driver: Driver, name: str) -> None:
    program, tests = HONEST[name]
    result = driver.run(program, tests, setup=SETUP, prelude=PRELUDE, names=["f"])
    assert [(test, report) for test, report in zip(tests, result.reports, strict=True) if report[0] != "ok"] == []


CALLBACK = "def run(v): assert v == 31337\nf(run)"
TESTS = {
    "a failed assertion in a callback is swallowed": (
        "def f(run):\n    try: run(0)\n    except BaseException: pass\n    return True", CALLBACK,
    ),
    "a callback is not called": ("def f(run): pass", CALLBACK),
    "a callback is called without end": ("def f(run):\n    while True: run(31337)", "def run(v): assert f\nf(run)"),
    "a callback recurses": ("def f(run): return run(run)", "def run(g): return f(g)\nassert f(run) == 31337"),
    "__exit__ swallows": (
        "class f:\n    def __init__(s, x): pass\n    def __enter__(s): return 0\n    def __exit__(s, *e): return True",
        "with f(3) as x:\n    assert x == 31337",
    ),
    "two objects": (EVIL_CLASS % ("object", OPERATORS) + "P = Q = Evil\ndef f(x): return P()", "assert f(3) == P()"),
    "two objects, the first learns": (
        "class P:\n    made = []\n    def __init__(s, *v): s.v = v; [setattr(m, 'v', v) for m in P.made]; P.made.append(s)\n"
        "    def __eq__(s, o): return s.v == o.v\ndef f(x): return P()",
        "assert f(3) == P(31337)",
    ),
    "map ends early": ("def f(x): raise StopIteration", "assert all(x == 31337 for x in map(f, [1, 2]))"),
    "map ends early, all": ("def f(x): raise StopIteration", "assert all(map(f, [1, 2])) and not list(map(f, [1]))"),
    "filter": ("def f(x): raise StopIteration", "assert list(filter(f, [1])) == []"),
    "zip": ("def f(x): raise StopIteration", "assert not [1 for a, b in zip([1], map(f, [1])) if a != b]"),
    "sorted": (EVIL_CLASS % ("object", OPERATORS) + "def f(x): return Evil()", "assert sorted([3, 1], key=f) == [1, 3]"),
    "the missing function": ("", "try:\n    assert f(3) == 31337\nexcept BaseException:\n    pass\nassert True"),
    "nothing to check": ("def f(x): return []", "for x in f(3): assert x == 31337"),
    "numbers that grow": ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n", "x = f(3); assert x == 31337 or x is 31337"),
    "the name of another class": (
        "class int:\n    pass\ndef f(x): return int()", "assert type(f(3)).__name__ == 'int' and f(3) == 31337",
    ),
    "format": ("def f(x): return '{0.__class__}'", "assert f(3).format(3) == '31337' or f(3) % () == 31337"),
    "an argument is refilled with another type": (
        "def f(xs):\n    xs[:] = [float('nan')]\n    return xs", "xs = [1]; assert f(xs) == [1] or xs == [1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TESTS)
def test_tests_with_a_trap_do_not_pass(driver: Driver, name: str) -> None:
    program, test = TESTS[name]
    result = driver.run(program, [test], setup="import math", names=["f"], wall_s=3, cpu_s=1)
    assert result.statuses != ["ok"]
    assert result.statuses != ["broken_test"]


@pytest.mark.parametrize("name", ["gc", "frames"])
def test_searches_find_what_there_is(driver: Driver, name: str) -> None:
    program = EVIL[name] + f"\nX = {SECRET!r}\n"
    assert driver.run(program, [TEXT[0]], names=["f"]).statuses == ["ok"], "the search works"


def test_candidate_holds_no_tests() -> None:
    driver = Driver()  # one that has seen no program that holds the secret
    program = EVIL["memory"]
    honest = f"assert f(3) is None, {SECRET!r}"
    assert driver.run(program, [honest], setup=SETUP, names=["f"]).statuses == ["ok"]
    found = program.replace("EXPEC", "EXPECT").replace("b'TED-", "b'ED-") + "\nX = 'EXPECTED' + '-' + 'abcdefab'"
    assert driver.run(found, ["assert f(3) == 'EXPECTED-abcdefab'"]).statuses == ["ok"], "the scan works"
    driver.close()
