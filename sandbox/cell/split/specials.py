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
"""The candidate is asked: a test that does this asks the object for something, as a method call does, and gives away
nothing but what it passes itself. What comes back is no more trusted than what a call returns."""

COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__")

_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow")
_BITWISE = ("lshift", "rshift", "and", "xor", "or")
_UNARY = ("contains", "neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil")
_ASYNC = ("aiter", "anext", "aenter", "aexit")
OPERATORS = (
    *COMPARISONS,
    *(f"__{prefix}{name}__" for name in (*_BINARY, *_BITWISE) for prefix in ("", "r", "i")),
    *(f"__{name}__" for name in (*_UNARY, *_ASYNC)),
)
"""The candidate is never asked: its object could answer whatever makes the test pass. Where the program's class
defines the method, the test cannot be split; where a plain base does, as in `class Stack(list)`, the oracle does it
to the data; where there is none, there is none here, and Python raises TypeError as it would have."""

CLAIMED = (*ANSWERED, *OPERATORS, "__eq__", "__hash__", "__call__", "__await__")
"""What a class description tells of."""
