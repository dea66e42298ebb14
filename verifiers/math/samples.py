"""The values that symbols stand for when two expressions are compared.

Fixed by the symbol's name, so that every process gives the same verdict. Close points (`UNIT`) tell most expressions
apart. Functions that agree only on a range, such as `|x+10|` and `x+10`, are told apart by distant ones (`FAR`),
beyond every number in the two expressions, or by those between (`WIDE`), at which each symbol takes 64 values.
"""

from __future__ import annotations

import zlib
from fractions import Fraction
from functools import lru_cache

from verifiers.math.expression import Tree

UNIT = (0, 1, 2, 3)
"""Points between 1/4 and 2 in size: all positive, all negative, each symbol with its own sign, and the mirror."""
MIDDLE = (4, 5)
"""Whole numbers between 23 and 70 in size: all negative, and all positive."""
FAR = (6, 7)
"""Points beyond every number in the two expressions: all negative, and all positive."""
WIDE = tuple(range(8, 72))
"""Points at which each symbol runs through 32 sizes from 1/50 to 3,000, with both signs, in an order of its own."""
MAX_FAR_BITS = 256
"""Bits of the largest distance; numbers beyond are not outdistanced."""
_STEP = 32
_SIZES = tuple(Fraction(int(20_011 * 1.47**step), 1_000_003) for step in range(len(WIDE) // 2))

_NEGATIVE = (1, 4, 6)
_ITS_OWN_SIGN = 2
_MIRRORED = {3: 2, 5: 4, 7: 6}
"""Points whose symbols are the negatives of those of another: of two symbols, each is the greater one somewhere."""


@lru_cache(maxsize=4096)
def sample(name: str, point: int, far_bits: int) -> Fraction:
    """The value of a symbol at a point; at `FAR` points between `2**far_bits` and four times that."""
    if point in _MIRRORED:
        return -sample(name, _MIRRORED[point], far_bits)
    seed = zlib.crc32(f"{name}:{point}".encode("utf-8", "surrogatepass"))
    if point in UNIT:
        value = Fraction(2503 + seed % 17000, 10007)
    elif point in WIDE:
        return _wide(zlib.crc32(name.encode("utf-8", "surrogatepass")), point - WIDE[0])
    elif point in MIDDLE:
        value = Fraction(23 + seed % 48)
    else:
        value = (1 + Fraction(seed % 30_011, 10007)) * 2**far_bits
    negative = point in _NEGATIVE or (point == _ITS_OWN_SIGN and seed & 1 << 30)
    return -value if negative else value


def _wide(seed: int, step: int) -> Fraction:
    """Each size with both signs, in an order and with a first sign that differ from symbol to symbol."""
    place = (step * (2 * seed + 1) + (seed >> 6)) % len(WIDE)
    size = place % len(_SIZES)
    negative = (place < len(_SIZES)) ^ (seed >> size & 1)
    return -_SIZES[size] if negative else _SIZES[size]


def far_bits(*trees: Tree) -> int:
    """Bits beyond which no quotient of products of the numbers in the trees lies, at most `MAX_FAR_BITS`."""
    return far_bits_of(sum(map(number_bits, trees)))


def far_bits_of(bits: int) -> int:
    """The same, of the sum of the trees' `number_bits`; in steps, so that values at far points can be shared."""
    return min(-(-(bits + 4) // _STEP) * _STEP, MAX_FAR_BITS)


def number_bits(tree: Tree) -> int:
    """Bits of all numbers in a tree."""
    if tree[0] == "number":
        return max(int(tree[1].numerator).bit_length(), int(tree[1].denominator).bit_length()) + 1
    return sum(number_bits(part) for part in tree[1:] if isinstance(part, tuple))
