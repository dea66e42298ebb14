"""The special methods that a class may have, and what becomes of each when the object is in the other process."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

ANSWERED: dict[str, Callable[..., Any]] = {
    "__bool__": bool,
    "__bytes__": bytes,
    "__complex__": complex,
    "__delitem__": operator.delitem,
    "__float__": float,
    "__format__": format,
    "__getitem__": operator.getitem,
    "__index__": operator.index,
    "__int__": int,
    "__iter__": iter,
    "__len__": len,
    "__next__": next,
    "__repr__": repr,
    "__reversed__": reversed,
    "__setitem__": operator.setitem,
    "__str__": str,
    "__enter__": lambda value: type(value).__enter__(value),
    "__exit__": lambda value, *error: type(value).__exit__(value, *error),
}
"""The candidate is asked: a test that does this asks the object for something, as a method call does, and gives nothing
away but what it passes itself. What comes back is no more trusted than what a call returns."""

COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__")

_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
OPERATORS = (
    *COMPARISONS,
    *(f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r", "i") if (prefix, name) != ("i", "divmod")),
    *"__contains__ __neg__ __pos__ __abs__ __invert__ __round__ __trunc__ __floor__ __ceil__".split(),
)
"""The candidate is never asked: its object could answer whatever makes the test pass. Where the program's class defines
the method, the test cannot be split; where a plain base does, as in `class Stack(list)`, the oracle does it to the data;
where there is none, there is none here, and Python raises TypeError as it would have."""

CLAIMED = (*(name for name in ANSWERED if name not in ("__repr__", "__str__", "__format__")), *OPERATORS, "__eq__", "__hash__", "__call__")
"""What a class description tells of."""
