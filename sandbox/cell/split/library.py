"""Which parts of the standard library a name of the program may mean: the oracle's own, never the program's."""

from __future__ import annotations

import importlib
from typing import Any

# fmt: off
MODULES = frozenset((
    "abc", "array", "bisect", "cmath", "collections", "copy", "datetime", "decimal", "enum", "fractions",
    "functools", "heapq", "itertools", "json", "math", "numbers", "operator", "random", "re", "statistics",
    "string", "sys", "time", "types", "typing",
))
# fmt: on
"""Those that compute, and do nothing when imported."""


def find(module: str, name: str) -> Any | None:
    """What `module` calls `name`; None where that is not known to be harmless."""
    if module.lstrip("_") not in MODULES or name.startswith("_"):
        return None
    return getattr(importlib.import_module(module.lstrip("_")), name, None)


def name_of(value: Any) -> tuple[str, str] | None:
    """Module and name of a function or class of the standard library; None where it is not one of these."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if type(module) is not str or type(name) is not str or module.lstrip("_") not in MODULES:
        return None
    known = getattr(importlib.import_module(module.lstrip("_")), name, None)
    return (module.lstrip("_"), name) if known is value else None
