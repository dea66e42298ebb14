"""Whether what a program wrote is what was expected.

Output is compared as bytes. Every comparison looks at no more of the output than the expected text has, so that a
flood costs nothing.
"""

from __future__ import annotations

import math
import re

from verifiers.code.reference import Compare

INLINE_BYTES = {"exact": math.inf, "lines": 65_536, "tokens": 65_536, "float": 4_096}
"""Bytes of an expected text with which output is compared in a millisecond or two, by comparison."""
MAX_NUMBER = 1_000
"""Bytes of a token that is read as a number; a longer one is compared as text."""

_NUMBER = re.compile(rb"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?")


def same_output(output: bytes, expected: bytes, compare: Compare, tolerance: float) -> bool:
    """Whether `output` is `expected` under a comparison; `tolerance` is that of `float`.

    `exact`: to the last byte. `lines`: line by line, without white space at their ends and empty lines at the end.
    `tokens`: what stands between white space. `float`: tokens, numbers among them by value.
    """
    if at_a_glance(output, expected, compare):
        return True
    match compare:
        case "exact":
            return False
        case "lines":
            return _same_lines(output, expected)
        case "tokens":
            tokens = expected.split()
            return output.split(None, len(tokens)) == tokens
        case "float":
            tokens = expected.split()
            found = output.split(None, len(tokens))  # one more than expected, where there are more
            return len(found) == len(tokens) and all(
                token == other or _close(token, other, tolerance) for token, other in zip(found, tokens, strict=True)
            )


def at_a_glance(output: bytes, expected: bytes, compare: Compare) -> bool:
    """Whether both are the same text, but for white space at the end where the comparison ignores it."""
    return output == expected or (compare != "exact" and output.rstrip() == expected.rstrip())


def _same_lines(output: bytes, expected: bytes) -> bool:
    output, expected = output.rstrip(), expected.rstrip()
    if output.count(b"\n") != expected.count(b"\n"):
        return False
    lines = zip(output.split(b"\n"), expected.split(b"\n"), strict=True)
    return all(line.rstrip() == other.rstrip() for line, other in lines)


def _close(token: bytes, expected: bytes, tolerance: float) -> bool:
    if len(token) > MAX_NUMBER or not (_NUMBER.fullmatch(token) and _NUMBER.fullmatch(expected)):
        return False
    number, wanted = float(token), float(expected)
    if math.isinf(number) or math.isinf(wanted):
        return False
    return abs(number - wanted) <= tolerance * max(1.0, abs(wanted))
