"""Short texts of values for messages. They never ask the candidate."""

from __future__ import annotations

import reprlib
from typing import Any

from . import stands


class _Brief(reprlib.Repr):
    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, stands.Mirror) or type(type(x)) is stands.Mirror:
            name = x.__name__ if isinstance(x, type) else type(x).__name__
            return f"<{name}>"
        return super().repr1(x, level)


_brief = _Brief()
_brief.maxstring = _brief.maxother = 60


def text(value: Any) -> str:
    """A value in some 60 characters."""
    try:
        return value[:200] if type(value) is str else _brief.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def arguments(positional: Any, keyword: Any = ()) -> str:
    """Arguments of a call, in parentheses."""
    parts = [_brief.repr(value) for value in positional]
    parts += [f"{name}={_brief.repr(value)}" for name, value in keyword]
    return f"({', '.join(parts)})"
