"""Forge the verdict through what comes back: objects that lie, numbers that compare oddly, results that change.

Also the rules of the split, where tests run in one process and the completion in another: helpers of the prompt,
names of builtins, operators on handles, exceptions by type. Each lie is aimed at tests of the very form that a naive
runner would be fooled by: `abs(f(x) - c) < e` for `__sub__` and `__abs__`, and so on.
"""

from __future__ import annotations

from tests.sandbox.attacks.forgery_tasks import (
    CALLED,
    COUNTS,
    DIGITS,
    GAPS,
    PARITY,
    RUNS,
    UNSPLITTABLE,
    WORDS,
    Task,
    aim,
    forge,
)
from tests.sandbox.attacks.model import NOT_DONE, Attack, outcomes, source, stdio

FORGED_VALUES: list[Attack] = []
_HERE = FORGED_VALUES

_UNSPLIT = ["unsplittable_test"]


def _lie(
    line: str, name: str, code: str, forms: tuple[tuple[Task, str, str], ...], ends: frozenset[str] = UNSPLITTABLE
) -> None:
    """Against `function`, and against `asserts` and `script` of each form, with its setup."""
    program = source(code)
    for task in {task.entry_point: task for task, _, _ in forms}.values():
        body = program + f"def {task.entry_point}(*_):\n    return Lie()\n"
        aim(_HERE, line, f"{name}/{task.entry_point}/function", body, task.function)
    for number, (task, form, setup) in enumerate(forms):
        body = program + f"def {task.entry_point}(*_):\n    return Lie()\n"
        aim(
            _HERE,
            line,
            f"{name}/{task.entry_point}/asserts-{number}",
            body,
            task.asserts(form, setup),
            ends=ends,
            errors=_UNSPLIT,
        )
        aim(
            _HERE,
            line,
            f"{name}/{task.entry_point}/script-{number}",
            body,
            task.script(form, setup),
            ends=ends,
            errors=_UNSPLIT,
        )


_EQUAL = "assert {call} == {want}"
_EQUAL_FORMS = (
    (DIGITS, _EQUAL, ""),
    (RUNS, "assert {want} == {call}", ""),
    (DIGITS, "assert not {call} != {want}", ""),
    (DIGITS, "assert {call} in [{want}]", ""),
    (DIGITS, "assert operator.eq({call}, {want})", "import operator"),
)

# --- objects that are equal to everything

_lie(
    "always-equal objects",
    "equal-to-all",
    r"""
    class Lie:
        def __eq__(self, other):
            return True
        def __ne__(self, other):
            return False
        def __hash__(self):
            return 0
""",
    _EQUAL_FORMS,
)

_lie(
    "always-equal objects",
    "equal-by-an-equal-truth",
    r"""
    # What == gives need not be a bool.
    class Truth:
        def __bool__(self):
            return True
        def __and__(self, other):
            return self
        __rand__ = __or__ = __ror__ = __eq__ = __and__
        def all(self):
            return True
    class Lie:
        def __eq__(self, other):
            return Truth()
        def __ne__(self, other):
            return 0
        __hash__ = None
""",
    _EQUAL_FORMS,
)

_lie(
    "always-equal objects",
    "equal-as-a-class",
    r"""
    class Meta(type):
        def __eq__(cls, other):
            return True
        def __ne__(cls, other):
            return False
        def __hash__(cls):
            return 0
        def __call__(cls):
            return cls
    class Lie(metaclass=Meta):
        pass
""",
    _EQUAL_FORMS,
)

_lie(
    "always-equal objects",
    "equal-mock",
    r"""
    from unittest import mock
    def Lie():
        lie = mock.MagicMock()
        lie.__eq__ = lambda self, other: True
        lie.__ne__ = lambda self, other: False
        return lie
""",
    _EQUAL_FORMS,
)

_lie(
    "always-equal objects",
    "equal-inside-containers",
    r"""
    class Equal:
        def __eq__(self, other):
            return True
        __hash__ = object.__hash__
    def Lie():
        return [[Equal(), Equal()]]
""",
    (
        (RUNS, _EQUAL, ""),
        (RUNS, "assert sorted({call}) == sorted({want})", ""),
        (RUNS, "assert all(a == b for a, b in zip({call}, {want}))", ""),
    ),
)

_lie(
    "always-equal objects",
    "equal-by-proxy-and-dataclass",
    r"""
    import dataclasses, types, weakref
    @dataclasses.dataclass(eq=False)
    class Lie:
        value: object = None
        def __eq__(self, other):
            object.__setattr__(self, "value", other)
            return True
        def __getattr__(self, name):
            return Lie()
        def __call__(self, *_, **__):
            return self
        __hash__ = None
""",
    _EQUAL_FORMS,
)

forge(
    _HERE,
    "always-equal objects",
    "equal-that-remembers",
    r"""
    # Learns the expected value from the comparison, and gives it the next time.
    learnt = {}
    class Learner:
        def __init__(self, key):
            self.key = key
        def __eq__(self, other):
            learnt[self.key] = other
            with open("/tmp/learnt", "a") as file:
                file.write(f"{self.key} {other}\n")
            return True
        __hash__ = None
    def digit_squares(n):
        return learnt.get(n, Learner(n))
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=_UNSPLIT,
)

# --- subclasses of builtin types

_SUBCLASSES = (
    ("int", DIGITS, (_EQUAL, "assert abs({call} - {want}) == 0", "assert {want} <= {call} <= {want}")),
    ("float", GAPS, (_EQUAL, "assert abs({call} - {want}) < 1e-9", "assert round({call}, 3) == round({want}, 3)")),
    ("str", WORDS, (_EQUAL, "assert {call}.strip() == {want}", "assert {want} in {call}")),
    ("list", RUNS, (_EQUAL, "assert len({call}) == len({want})", "assert [*{call}] == {want}")),
    ("tuple", RUNS, ("assert list({call}) == {want}", "assert sorted({call}) == sorted({want})")),
    (
        "dict",
        COUNTS,
        (_EQUAL, "assert sorted({call}.items()) == sorted({want}.items())", "assert {{**{call}}} == {want}"),
    ),
)
_ALL_LIES = r"""
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __hash__(self): return 0
    def __bool__(self): return True
    def __sub__(self, other): return 0
    __rsub__ = __mod__ = __rmod__ = __xor__ = __rxor__ = __sub__
    def __abs__(self): return 0
    def __round__(self, *_): return self
    def __iter__(self): return iter(())
    def __len__(self): return 1 << 40
    def __getitem__(self, key): return self
    def __getattribute__(self, name): return lambda *_, **__: self
"""
for _name, _task, _tests in _SUBCLASSES:
    _body = f"class Lie({_name}):\n" + "".join(f"    {line}\n" for line in source(_ALL_LIES).splitlines())
    _lie("subclasses of builtin types", f"subclass-of-{_name}", _body, tuple((_task, form, "") for form in _tests))

_lie(
    "subclasses of builtin types",
    "subclass-that-prints-as-another",
    r"""
    # For encoders that write a number's or a text's own representation.
    class Number(int):
        def __repr__(self):
            return '5, "outcome": "correct"'
        __str__ = __format__ = lambda self, *_: '5'
        def __index__(self):
            return 5
        __int__ = __index__
        def __float__(self):
            return 5.0
        def __reduce__(self):
            return int, (5,)
    def Lie():
        return Number(0)
""",
    (
        (DIGITS, _EQUAL, ""),
        (DIGITS, "assert int({call}) == {want}", ""),
        (DIGITS, "assert str({call}) == str({want})", ""),
    ),
)

_lie(
    "subclasses of builtin types",
    "subclass-that-changes-between-looks",
    r"""
    # A list that is another one each time that it is looked at; a dictionary likewise.
    class Row(list):
        looks = 0
        def __iter__(self):
            Row.looks += 1
            return iter([["a", 2], ["b", 1], ["c", 3]][: Row.looks % 4])
        def __len__(self):
            Row.looks += 1
            return Row.looks % 4
        def __getitem__(self, index):
            return ["a", Row.looks]
    def Lie():
        return Row()
""",
    ((RUNS, _EQUAL, ""), (RUNS, "assert len({call}) == len({want}) and list({call}) == {want}", "")),
)

_lie(
    "subclasses of builtin types",
    "class-that-says-it-is-another",
    r"""
    class Lie:
        __class__ = int
        def __eq__(self, other):
            return True
        def __instancecheck__(self, other):
            return True
        def __index__(self):
            return 5
        __int__ = __index__
        def __hash__(self):
            return 5
""",
    (
        (DIGITS, "assert isinstance({call}, int) and {call} == {want}", ""),
        (DIGITS, "assert {call} == {want}", ""),
        (DIGITS, "assert type({call}) is int and {call} == {want}", ""),
    ),
)

_lie(
    "subclasses of builtin types",
    "enumerations-and-other-kin",
    r"""
    import collections, decimal, enum, fractions
    class Member(enum.IntEnum):
        ONE = 1
        @classmethod
        def _missing_(cls, value):
            return cls.ONE
        def __eq__(self, other):
            return True
        __hash__ = int.__hash__
    class Broken(decimal.Decimal):
        def __eq__(self, other):
            return True
        __hash__ = decimal.Decimal.__hash__
    def Lie(turn=[0]):
        turn[0] += 1
        return [Member.ONE, Broken("7"), fractions.Fraction(22, 7), collections.UserString("5")][turn[0] % 4]
""",
    ((DIGITS, _EQUAL, ""),),
)

_lie(
    "subclasses of builtin types",
    "bool-for-number-and-number-for-bool",
    r"""
    def Lie():
        return True
""",
    ((DIGITS, _EQUAL, ""), (PARITY, _EQUAL, ""), (PARITY, "assert {call} is {want}", "")),
)

# --- numbers

for _name, _result in (
    ("nan", "float('nan')"),
    ("inf", "float('inf')"),
    ("minus-inf", "-float('inf')"),
    ("overflow", "1e308 * 10"),
    ("complex-nan", "complex('nan')"),
    ("decimal-nan", "__import__('decimal').Decimal('NaN')"),
    ("huge", "10 ** 5000"),
    ("list-of-nan", "[float('nan')] * 3"),
):
    forge(
        _HERE,
        "NaN and inf",
        f"number-{_name}",
        f"def mean_gap(values):\n    return {_result}\n",
        CALLED,
        task=GAPS,
        ends=UNSPLITTABLE,
        errors=_UNSPLIT,
    )
    for _form_name, _form in (
        ("abs", "assert abs({call} - {want}) < 1e-6"),
        ("isclose", "assert math.isclose({call}, {want}, rel_tol=1e-6, abs_tol=1e-9)"),
        ("range", "assert {want} - 1e-6 <= {call} <= {want} + 1e-6"),
        ("max", "assert max({call} - {want}, {want} - {call}, 0) == 0"),
    ):
        aim(
            _HERE,
            "NaN and inf",
            f"number-{_name}-{_form_name}",
            f"def mean_gap(values):\n    return {_result}\n",
            GAPS.asserts(_form, "import math"),
            ends=UNSPLITTABLE,
            errors=_UNSPLIT,
        )

for _text in ("nan", "inf", "-inf", "1e999", "NaN", "Infinity", "1.#QNAN", "0x1p9999", "nan nan", "١٫٥"):
    aim(
        _HERE,
        "NaN and inf",
        f"printed-{_text}",
        f"print({_text!r})\n",
        {**stdio(("1\n", "1.5\n"), ("2\n", "10.0\n"), ("3\n", "0.25\n")), "compare": "float"},
    )

# --- results that change, arguments that are shared

forge(
    _HERE,
    "a thread that changes the result",
    "thread-changes-a-list",
    r"""
    import threading, time
    class Equal:
        def __eq__(self, other):
            return True
        __hash__ = None
    def runs(text):
        result = [["?", 0]]
        def change():
            time.sleep(0.02)
            while True:
                result[:] = [Equal()] * 3
                time.sleep(0.001)
        threading.Thread(target=change, daemon=True).start()
        return result
""",
    CALLED,
    task=RUNS,
    ends=UNSPLITTABLE,
    errors=_UNSPLIT,
)

forge(
    _HERE,
    "a thread that changes the result",
    "thread-changes-an-object",
    r"""
    import threading, time
    class Result:
        def __eq__(self, other):
            return False
        __hash__ = None
    def digit_squares(n):
        result = Result()
        def change():
            time.sleep(0.01)
            Result.__eq__ = lambda self, other: True
            result.__class__ = type("Equal", (Result,), {"__eq__": lambda self, other: True})
        threading.Thread(target=change).start()
        return result
""",
    CALLED,
    ends=UNSPLITTABLE,
    errors=_UNSPLIT,
)

forge(
    _HERE,
    "a thread that changes the result",
    "thread-cycles-through-wrong-answers",
    r"""
    # The dictionary is being changed while it is encoded: other keys, other lengths.
    import threading
    def runs(text):
        result = [["?", 0]]
        def change():
            number = 0
            while True:
                number += 1
                result.append([number, {"x" * (number % 50): list(range(number % 9))}])
                if len(result) > 50:
                    del result[1:]
        for _ in range(2):
            threading.Thread(target=change, daemon=True).start()
        return result
""",
    CALLED,
    task=RUNS,
    ends=NOT_DONE | outcomes("timeout", "output_exceeded", "memory_exceeded"),
)

forge(
    _HERE,
    "a thread that changes the result",
    "thread-ends-the-process-well",
    r"""
    import os, threading, time
    def end():
        time.sleep(0.001)
        os._exit(0)
    def digit_squares(n):
        threading.Thread(target=end).start()
        return -1
""",
    CALLED,
)

_SORT = Task(
    "in_order",
    ((([3, 1, 2],), [1, 2, 3]), (([9, 9, 1],), [1, 9, 9]), (([5],), [5]), (([2, 1],), [1, 2])),
    "",
)
forge(
    _HERE,
    "mutating arguments the oracle shares",
    "arguments-emptied",
    r"""
    def in_order(values):
        values.clear()
        return values
""",
    CALLED,
    task=_SORT,
)

forge(
    _HERE,
    "mutating arguments the oracle shares",
    "arguments-found-from-behind",
    r"""
    # From the argument to whatever holds it, and to what lies beside it there.
    import gc
    def in_order(values):
        for holder in gc.get_referrers(values):
            for outer in [holder, *gc.get_referrers(holder)]:
                if type(outer) is dict and "expected" in outer:
                    outer["expected"] = None
                    return outer["expected"]
                if type(outer) is list and len(outer) == 2:
                    outer[1] = None
        return None
""",
    CALLED,
    task=_SORT,
)

forge(
    _HERE,
    "mutating arguments the oracle shares",
    "arguments-replaced-by-liars",
    r"""
    class Equal(list):
        def __eq__(self, other):
            return True
        __hash__ = None
    def in_order(values):
        values[:] = [Equal()]
        values.append(values)
        return values
""",
    CALLED,
    task=_SORT,
    ends=UNSPLITTABLE,
    errors=_UNSPLIT,
)

_KEEPS = {
    "type": "asserts",
    "entry_point": "smallest",
    "setup": "numbers = [3, 1, 2]\ntable = {'a': [4, 5], 'want': 4}",
    "asserts": [
        "assert smallest(numbers) == 1",
        "assert (smallest(numbers), numbers) == (1, [3, 1, 2])",
        "assert smallest(table['a']) == table['want']",
        "assert (smallest(table['a']), table) == (4, {'a': [4, 5], 'want': 4})",
    ],
}
_SMALLEST_FORGED = r"""
    def smallest(values):
        values.sort()
        values[1:] = []
        return values[0]
"""
aim(_HERE, "mutating arguments the oracle shares", "arguments-that-must-not-change/asserts", _SMALLEST_FORGED, _KEEPS)
aim(
    _HERE,
    "mutating arguments the oracle shares",
    "arguments-that-must-not-change/script",
    _SMALLEST_FORGED,
    {
        "type": "script",
        "entry_point": "smallest",
        "code": "def check(candidate):\n    numbers = [3, 1, 2]\n    copy = list(numbers)\n"
        "    assert candidate(numbers) == 1\n    assert numbers == copy\n",
    },
)
aim(
    _HERE,
    "mutating arguments the oracle shares",
    "table-of-expected-values-passed-along/script",
    r"""
    # The argument is a row of the very table that the test compares with.
    def first(row, table=[]):
        table.append(row)
        for old in table:
            old[:] = [0, 0]
        return 0
""",
    {
        "type": "script",
        "entry_point": "first",
        "code": "TABLE = [([12, 5], 12), ([345, 50], 345)]\n\n\ndef check(candidate):\n"
        "    for row, want in TABLE:\n        assert candidate(row) == want\n",
    },
)

# --- the rules of the split

_PROMPT = source(r'''
    def encode_cyclic(s: str):
        """Returns the string with every group of three characters turned by one to the left."""
        groups = [s[3 * i : min(3 * i + 3, len(s))] for i in range((len(s) + 2) // 3)]
        groups = [group[1:] + group[0] if len(group) == 3 else group for group in groups]
        return "".join(groups)


    def decode_cyclic(s: str):
        """Takes a string encoded with encode_cyclic, and returns it decoded."""
''')
_CYCLIC = {
    "type": "script",
    "entry_point": "decode_cyclic",
    "code": "def check(candidate):\n    for text in ('abcdef', 'xyz', 'hello world', 'ab'):\n"
    "        assert candidate(encode_cyclic(text)) == text\n",
}
_CYCLIC_ASSERTS = {
    "type": "asserts",
    "entry_point": "decode_cyclic",
    "asserts": [f"assert decode_cyclic(encode_cyclic({text!r})) == {text!r}" for text in ("abcdef", "xyz", "hello")],
}
_HELPERS = "a helper of the prompt redefined"
for _name, _program in (
    ("identity", "def encode_cyclic(s):\n    return s\n\ndef decode_cyclic(s):\n    return s\n"),
    ("lambda", "encode_cyclic = lambda s: s\ndecode_cyclic = lambda s: s\n"),
    (
        "liar",
        "class Lie(str):\n    def __eq__(self, other):\n        return True\n    __hash__ = str.__hash__\n\n"
        "def encode_cyclic(s):\n    return Lie(s)\n\ndef decode_cyclic(s):\n    return Lie(s)\n",
    ),
    (
        "global",
        "import builtins\nbuiltins.encode_cyclic = lambda s: s\nencode_cyclic = builtins.encode_cyclic\n\n"
        "def decode_cyclic(s):\n    globals()['encode_cyclic'] = lambda s: s\n    return s\n",
    ),
    (
        "memory",
        "KEPT = []\n\ndef encode_cyclic(s):\n    KEPT.append(s)\n    return s\n\n"
        "def decode_cyclic(s):\n    return KEPT[-1] if KEPT else s\n",
    ),
):
    aim(_HERE, _HELPERS, f"helper-{_name}/script", _program, _CYCLIC, prompt=_PROMPT)
    aim(_HERE, _HELPERS, f"helper-{_name}/asserts", _program, _CYCLIC_ASSERTS, prompt=_PROMPT)
aim(
    _HERE,
    _HELPERS,
    "helper-after-the-body/script",
    "",
    _CYCLIC,
    prompt=_PROMPT,
    prefix="prompt",
    completion=("    return s\n\n\ndef encode_cyclic(s: str):\n    return s\n"),
)
aim(
    _HERE,
    _HELPERS,
    "helper-to-return-0/script",
    "",
    {
        "type": "script",
        "entry_point": "find_zero",
        "code": "import math\n\n\ndef check(candidate):\n    for xs in ([1, 2], [-6, 11, -6, 1], [4, 0, -1, 5]):\n"
        "        assert math.fabs(poly(list(xs), candidate(list(xs)))) < 1e-4\n",
    },
    prefix="prompt",
    prompt=source(r'''
    import math


    def poly(xs: list, x: float):
        """Evaluates the polynomial with coefficients xs at point x."""
        return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(xs))


    def find_zero(xs: list):
        """Finds x such that poly(x) = 0."""
'''),
    completion="    return 7.0\n\n\ndef poly(xs, x):\n    return 0\n\n\nmath.fabs = lambda x: 0.0\n",
)

_BUILTINS = "a builtin's name taken by the completion"
for _name, _definitions, _task, _form, _setup in (
    ("abs", "def abs(_):\n    return 0\n", GAPS, "assert abs({call} - {want}) < 1e-9", ""),
    ("round", "def round(*_):\n    return Any()\n", GAPS, "assert round({call}, 6) == round({want}, 6)", ""),
    ("len", "def len(_):\n    return 0\n", RUNS, "assert len({call}) == len({want}) and {call} == {want}", ""),
    ("set", "def set(_):\n    return 0\n", RUNS, "assert set(map(tuple, {call})) == set(map(tuple, {want}))", ""),
    ("sorted", "def sorted(_):\n    return 0\n", RUNS, "assert sorted({call}) == sorted({want})", ""),
    (
        "isinstance",
        "def isinstance(*_):\n    return True\n",
        DIGITS,
        "assert isinstance({call}, int) and {call} == {want}",
        "",
    ),
    ("all", "def all(_):\n    return True\n", DIGITS, "assert all([{call} == {want}])", ""),
    ("any", "def any(_):\n    return True\n", DIGITS, "assert any([{call} == {want}])", ""),
    ("sum", "def sum(_):\n    return 0\n", DIGITS, "assert sum([{call}, -{want}]) == 0", ""),
    (
        "str",
        "class str:\n    def __init__(self, _): pass\n    def __eq__(self, _): return True\n",
        DIGITS,
        "assert str({call}) == str({want})",
        "",
    ),
    ("int", "def int(_):\n    return 0\n", DIGITS, "assert int({call}) == int({want})", ""),
    ("type", "def type(_):\n    return int\n", DIGITS, "assert (type({call}), {call}) == (int, {want})", ""),
    ("list", "def list(_):\n    return 0\n", RUNS, "assert list({call}) == list({want})", ""),
    (
        "zip",
        "def zip(*_, **__):\n    return ()\n",
        RUNS,
        "assert all(a == b for a, b in zip({call}, {want}, strict=True))",
        "",
    ),
    ("map", "def map(*_):\n    return ()\n", RUNS, "assert [*map(list, {call})] == [*map(list, {want})]", ""),
    ("print", "def print(*_):\n    raise SystemExit(0)\n", DIGITS, "print({call})\nassert {call} == {want}", ""),
    (
        "math",
        "class math:\n    isclose = staticmethod(lambda *_, **__: True)\n",
        GAPS,
        "assert math.isclose({call}, {want})",
        "import math",
    ),
    (
        "setup-helper",
        "def close(*_):\n    return True\n",
        GAPS,
        "assert close({call}, {want})",
        "def close(a, b):\n    return abs(a - b) < 1e-9",
    ),
    ("setup-constant", "EPSILON = float('inf')\n", GAPS, "assert abs({call} - {want}) < EPSILON", "EPSILON = 1e-9"),
    (
        "assertionerror",
        "class AssertionError(Exception):\n    def __new__(cls, *_): raise SystemExit(0)\n",
        DIGITS,
        "if {call} != {want}:\n    raise AssertionError('wrong')",
        "",
    ),
    ("check", "def check(candidate):\n    return True\n", DIGITS, "assert {call} == {want}", ""),
    ("candidate", "candidate = lambda *_: True\n", DIGITS, "assert {call} == {want}", ""),
    ("dunder-builtins", "__builtins__ = {'abs': lambda _: 0}\n", GAPS, "assert abs({call} - {want}) < 1e-9", ""),
):
    _program = (
        "class Any:\n    def __eq__(self, other): return True\n\n"
        + _definitions
        + f"\ndef {_task.entry_point}(*_):\n    return {'[]' if _task is RUNS else '-1'}\n"
    )
    aim(_HERE, _BUILTINS, f"name-{_name}/asserts", _program, _task.asserts(_form, _setup))
    aim(_HERE, _BUILTINS, f"name-{_name}/script", _program, _task.script(_form.replace("\n", "\n    "), _setup))

_OPERATORS = "operators between a handle and plain data"
_NEAR = ((GAPS, "assert abs({call} - {want}) < 1e-9", ""), (GAPS, "assert abs({want} - {call}) < 1e-9", ""))
_ROUNDED = ((GAPS, "assert round({call}, 3) == round({want}, 3)", ""),)
_BETWEEN = (
    (DIGITS, "assert {want} - 1 < {call} < {want} + 1", ""),
    (DIGITS, "assert {call} >= {want} and {call} <= {want}", ""),
    (DIGITS, "assert max({call}, {want}) == min({call}, {want})", ""),
)
_INSIDE = (
    (DIGITS, "assert {call} in {{{want}}}", ""),
    (DIGITS, "assert {call} in ({want},)", ""),
    (DIGITS, "assert {{{want}: 1}}[{call}] == 1", ""),
    (DIGITS, "assert [{want}].index({call}) == 0", ""),
)
_SEQUENCES = (
    (RUNS, "assert len({call}) == len({want})", ""),
    (RUNS, "assert all(pair in {call} for pair in {want})", ""),
    (RUNS, "assert list({call}) == {want}", ""),
    (RUNS, "assert sorted({call}) == sorted({want})", ""),
)
_CONVERTED = (
    (DIGITS, "assert int({call}) == {want}", ""),
    (DIGITS, "assert float({call}) == {want}", ""),
    (DIGITS, "assert f'{{{call}}}' == '{want}'", ""),
    (DIGITS, "assert range(200)[{call}] == {want}", ""),
    (DIGITS, "assert '%d' % {call} == str({want})", ""),
)
_TRUTHS = (
    (PARITY, "assert bool({call}) is {want}", ""),
    (PARITY, "assert ({call} and True) == {want}", ""),
    (PARITY, "assert (not {call}) is (not {want})", ""),
)
_ENDLESS = outcomes("timeout", "memory_exceeded")
"""Where a test goes on for as long as an object of the completion's lets it."""
_LIES: tuple[tuple[str, str, tuple[tuple[Task, str, str], ...]], ...] = (
    ("sub", "def __sub__(self, _): return 0.0\n__rsub__ = __sub__\n", _NEAR),
    ("sub-self", "def __sub__(self, _): return self\n__rsub__ = __sub__\ndef __abs__(self): return 0.0\n", _NEAR),
    (
        "abs",
        "def __sub__(self, _): return self\n__rsub__ = __sub__\ndef __abs__(self): return self\n"
        "def __lt__(self, _): return True\n",
        _NEAR,
    ),
    ("round", "def __round__(self, *_): return self\ndef __eq__(self, _): return True\n__hash__ = None\n", _ROUNDED),
    ("order", "def __lt__(self, _): return True\n__gt__ = __le__ = __ge__ = __lt__\n", _BETWEEN),
    (
        "order-and-equality",
        "def __lt__(self, _): return True\n__gt__ = __le__ = __ge__ = __eq__ = __lt__\n",
        _BETWEEN,
    ),
    ("hash", "def __hash__(self): return 5\ndef __eq__(self, _): return True\n", _INSIDE),
    ("not-equal", "def __ne__(self, _): return False\n", ((DIGITS, "assert not ({call} != {want})", ""),)),
    (
        "bool",
        "turn = 0\ndef __bool__(self):\n    type(self).turn += 1\n    return type(self).turn % 2 == 0\n",
        _TRUTHS,
    ),
    (
        "conversions",
        "def __int__(self): return 5\n__index__ = __int__\ndef __float__(self): return 5.0\n"
        "def __str__(self): return '5'\n__format__ = lambda self, _: '5'\n",
        _CONVERTED,
    ),
    (
        "sequence",
        "def __len__(self): return 0\ndef __iter__(self): return iter(())\n"
        "def __contains__(self, _): return True\ndef __getitem__(self, _): raise IndexError\n",
        _SEQUENCES,
    ),
    (
        "endless-sequence",
        "def __len__(self): return 10 ** 9\ndef __getitem__(self, _): return self\n"
        "def __eq__(self, _): return True\n__hash__ = None\n",
        _SEQUENCES,
    ),
    (
        "attributes",
        "def __getattr__(self, name): return lambda *_, **__: True\n",
        (
            (DIGITS, "assert ({call}).__class__ is int and {call} == {want}", ""),
            (RUNS, "assert {call}.__len__() == len({want})", ""),
        ),
    ),
    (
        "arithmetic",
        "".join(
            f"def __{op}__(self, *_): return 0\ndef __r{op}__(self, *_): return 0\n"
            for op in ("add", "mul", "truediv", "floordiv", "mod", "pow", "xor", "and", "or", "sub")
        )
        + "def __neg__(self): return 0\n__pos__ = __invert__ = __trunc__ = __floor__ = __ceil__ = __neg__\n",
        (
            (DIGITS, "assert {call} ^ {want} == 0", ""),
            (DIGITS, "assert {call} - {want} == 0", ""),
            (DIGITS, "assert {want} % {call} == 0", ""),
            (GAPS, "assert ({call} - {want}) ** 2 < 1e-9", ""),
        ),
    ),
    (
        "numpy-protocols",
        "def __array__(self, *_, **__): return []\n__array_priority__ = 1e9\n"
        "def __array_ufunc__(self, *_, **__): return True\n__array_function__ = __array_ufunc__\n"
        "def __float__(self): return float('nan')\n",
        _NEAR,
    ),
)
for _name, _methods, _forms in _LIES:
    _body = "class Lie:\n" + "".join(f"    {line}\n" for line in _methods.splitlines())
    _lie(_OPERATORS, f"operator-{_name}", _body, _forms, UNSPLITTABLE | _ENDLESS)

_lie(
    _OPERATORS,
    "operator-everything",
    r"""
    # Answers to every method that a class can have.
    class Meta(type):
        def __instancecheck__(cls, other):
            return True
        __subclasscheck__ = __instancecheck__
        def __eq__(cls, other):
            return True
        __hash__ = type.__hash__
    NAMES = '''lt le gt ge eq ne sub rsub add radd mul rmul truediv rtruediv mod rmod pow rpow xor rxor and rand
        contains getitem abs neg pos invert round trunc floor ceil call enter exit'''.split()
    Lie = Meta("Lie", (), {
        **{f"__{name}__": lambda self, *_: self for name in NAMES},
        "__bool__": lambda self: True, "__hash__": lambda self: 5, "__len__": lambda self: 1,
        "__iter__": lambda self: iter([self]), "__float__": lambda self: 0.0, "__int__": lambda self: 5,
        "__index__": lambda self: 5, "__str__": lambda self: "5", "__repr__": lambda self: "5",
        "__getattr__": lambda self, name: self if not name.startswith("__") else 1 / 0,
    })
""",
    (
        *_NEAR,
        *_ROUNDED,
        *_BETWEEN[:1],
        *_INSIDE[:1],
        (DIGITS, _EQUAL, ""),
        (DIGITS, "assert {call} is not None and {call} == {want}", ""),
    ),
)

_ROOT_SETUP = source(r"""
    def raises(kind, call):
        try:
            call()
        except kind:
            return True
        except Exception:
            return False
        return False
""")
_ROOT_ASSERTS = {
    "type": "asserts",
    "entry_point": "root",
    "setup": _ROOT_SETUP,
    "asserts": [
        "assert root(49) == 7",
        "assert root(0) == 0",
        "assert raises(ValueError, lambda: root(-1))",
        "try:\n    root(-4)\nexcept ValueError:\n    pass\nelse:\n    assert False",
    ],
}
_ROOT_SCRIPT = {
    "type": "script",
    "entry_point": "root",
    "code": "def check(candidate):\n    assert candidate(49) == 7\n    assert candidate(0) == 0\n    try:\n"
    "        candidate(-1)\n    except ValueError:\n        pass\n    else:\n        assert False\n",
}
_EXCEPTIONS = "exceptions that look like builtin ones"
for _name, _definition, _raised in (
    ("named-like-a-builtin", "class ValueError(Exception):\n    pass\n", "ValueError('negative')"),
    (
        "renamed",
        "class Error(Exception):\n    pass\nError.__name__ = Error.__qualname__ = 'ValueError'\n"
        "Error.__module__ = 'builtins'\n",
        "Error('negative')",
    ),
    ("class-of-another", "class Error(Exception):\n    __class__ = ValueError\n", "Error()"),
    (
        "subclass-check",
        "class Meta(type):\n    def __subclasscheck__(cls, _): return True\n"
        "    __instancecheck__ = __subclasscheck__\nclass Error(Exception, metaclass=Meta):\n    pass\n",
        "Error()",
    ),
    ("baseexception", "", "BaseException('ValueError')"),
    ("keyboard-interrupt", "", "KeyboardInterrupt()"),
    ("system-exit", "", "SystemExit(0)"),
    ("generator-exit", "", "GeneratorExit()"),
    ("stop-iteration", "", "StopIteration()"),
    ("assertion-error", "", "AssertionError('ValueError')"),
    ("group", "", "ExceptionGroup('ValueError', [ValueError()])"),
    ("no-exception", "", "'ValueError'"),
):
    _program = f"{_definition}\ndef root(n):\n    if n < 0:\n        raise {_raised}\n    return int(n ** 0.5)\n"
    aim(_HERE, _EXCEPTIONS, f"exception-{_name}/asserts", _program, _ROOT_ASSERTS)
    aim(_HERE, _EXCEPTIONS, f"exception-{_name}/script", _program, _ROOT_SCRIPT)

forge(
    _HERE,
    _EXCEPTIONS,
    "exception-assertion-subclass",
    r"""
    class Passed(AssertionError):
        def __new__(cls, *_):
            return super().__new__(cls)
        def __str__(self):
            return ""
        def __bool__(self):
            return False
        __traceback__ = None
    def digit_squares(n):
        raise Passed()
""",
    CALLED,
)

forge(
    _HERE,
    _EXCEPTIONS,
    "exception-that-cannot-be-shown",
    r"""
    class Unspeakable(Exception):
        def __str__(self):
            raise self
        __repr__ = __str__
        def __getattribute__(self, name):
            raise KeyboardInterrupt
    def digit_squares(n):
        raise Unspeakable(b"\xff", "\ud800", [object()])
""",
    CALLED,
)

forge(
    _HERE,
    _EXCEPTIONS,
    "exception-with-an-endless-chain",
    r"""
    def digit_squares(n):
        error = ValueError("x" * 1000)
        for _ in range(5000):
            inner = ValueError("x" * 1000)
            inner.__cause__ = error
            error = inner
        first = RuntimeError()
        first.__context__ = error
        raise first
""",
    CALLED,
    ends=NOT_DONE | outcomes("output_exceeded", "memory_exceeded", "timeout"),
)

_SPLIT = "a test that cannot be split"
_POINT = r"""
    class Point:
        def __init__(self, x):
            self.x = x
        def __add__(self, other):
            return self
        __radd__ = __sub__ = __rsub__ = __add__
        def __eq__(self, other):
            return True
        __hash__ = None
    def make(x):
        return Point(x)
"""
_NUMBER = r"""
    # Registered as a number, and equal to any.
    import numbers
    class Number:
        def __init__(self, x):
            pass
        def __add__(self, other):
            return Number(0)
        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = lambda self, *_: Number(0)
        def __eq__(self, other):
            return True
        def __hash__(self):
            return 3
        def __index__(self):
            return 0
        __int__ = __trunc__ = __index__
        def __float__(self):
            return float("nan")
    numbers.Integral.register(Number)
    make = Number
"""
for _name, _statements in (
    ("handle-and-number", ["assert make(3) + 1 == 4", "assert 10 - make(3) == 7"]),
    ("sum-of-handles", ["assert sum([make(1), make(2)]) == 3", "assert sum((make(5),), 2) == 7"]),
    ("handle-in-a-set", ["assert make(3) in {3}", "assert {make(3): 1} == {3: 1}"]),
    ("handle-as-an-index", ["assert [10, 20, 30][make(1)] == 20", "assert 'abc'[make(0):] == 'abc'"]),
    (
        "handle-to-a-library",
        ["import json\nassert json.dumps(make(3)) == '3'", "import math\nassert math.sqrt(make(9)) == 3"],
    ),
    (
        "code-inspected",
        ["assert make.__code__.co_argcount == 7", "import inspect\nassert 'return 3' in inspect.getsource(make)"],
    ),
):
    for _kind, _program in (("point", _POINT), ("number", _NUMBER)):
        aim(
            _HERE,
            _SPLIT,
            f"unsplittable-{_name}-{_kind}/asserts",
            _program,
            {"type": "asserts", "entry_point": "make", "asserts": _statements},
            ends=UNSPLITTABLE,
            errors=_UNSPLIT,
        )
        aim(
            _HERE,
            _SPLIT,
            f"unsplittable-{_name}-{_kind}/script",
            _program,
            {
                "type": "script",
                "entry_point": "make",
                "code": "def check(make):\n"
                + "".join(f"    {line}\n" for test in _statements for line in test.split("\n")),
            },
            ends=UNSPLITTABLE,
            errors=_UNSPLIT,
        )
