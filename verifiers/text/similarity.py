"""How alike two texts are, from 0 (nothing in common) to 1 (equal)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from rapidfuzz.distance import Indel, LCSseq, Levenshtein

Measure = Literal["ratio", "levenshtein", "token_sort", "token_f1", "rouge_l"]


def ratio(a: str, b: str) -> float:
    """Twice the longest common subsequence of characters over both lengths: 1 - indel distance / (|a| + |b|)."""
    return Indel.normalized_similarity(a, b)


def levenshtein(a: str, b: str) -> float:
    """1 - edit distance / max(|a|, |b|), where an edit inserts, deletes or replaces one character."""
    return Levenshtein.normalized_similarity(a, b)


def token_sort(a: str, b: str) -> float:
    """`ratio` of the two texts with their words in alphabetical order: the order of words does not count."""
    return ratio(" ".join(sorted(a.split())), " ".join(sorted(b.split())))


def token_f1(a: str, b: str) -> float:
    """F1 over the words that both texts have, repeated ones counted (SQuAD, arXiv 1606.05250, section 6.1)."""
    mine, theirs = a.split(), b.split()
    return _f1((Counter(mine) & Counter(theirs)).total(), len(mine), len(theirs))


def rouge_l(a: str, b: str) -> float:
    """ROUGE-L with beta 1: F1 over the longest common subsequence of words (Lin 2004, aclanthology W04-1013)."""
    mine, theirs = a.split(), b.split()
    number: dict[str, int] = {}
    for word in mine + theirs:
        number.setdefault(word, len(number))
    common = LCSseq.similarity([number[w] for w in mine], [number[w] for w in theirs])
    return _f1(common, len(mine), len(theirs))


def _f1(common: int, mine: int, theirs: int) -> float:
    """Harmonic mean of `common / mine` and `common / theirs`; 0 where nothing is common."""
    return 2 * common / (mine + theirs) if common else 0.0


MEASURES: dict[Measure, Callable[[str, str], float]] = {
    "ratio": ratio,
    "levenshtein": levenshtein,
    "token_sort": token_sort,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}
