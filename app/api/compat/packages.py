"""Which Python packages a program needs, where its protocol has no field for them."""

from __future__ import annotations

from collections.abc import Collection


def named_packages(offered: Collection[str], texts: Collection[bytes]) -> frozenset[str]:
    """The packages whose name some text holds: whoever imports one names it."""
    return frozenset(name for name in offered if any(name.encode() in text for text in texts))
