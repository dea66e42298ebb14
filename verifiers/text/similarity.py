"""How alike two texts are, from 0 (nothing in common) to 1 (equal).

A measure takes the text and gives a function of a reference, so that what it counts in a long text is counted once,
however many references there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, TypeAlias

from rapidfuzz.distance import Indel, LCSseq, Levenshtein

from verifiers.text.meteor import meteor

Measure = Literal[
    "ratio",
    "levenshtein",
    "token_sort",
    "token_f1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
    "bleu",
    "gleu",
    "meteor",
    "chrf",
]
Against: TypeAlias = Callable[[str], float]
"""The likeness of a text to a reference."""
WORD_ORDERS = 4
"""Longest n-grams of words that `bleu` and `gleu` count."""
CHARACTER_ORDERS = 6
"""Longest n-grams of characters that `chrf` counts."""
BETA_2 = 4.0
"""The square of chrF's beta: recall weighs twice as much as precision."""


def ratio(text: str) -> Against:
    """Twice the longest common subsequence of characters over both lengths: 1 - indel distance / (|a| + |b|)."""
    return lambda reference: Indel.normalized_similarity(text, reference)


def levenshtein(text: str) -> Against:
    """1 - edit distance / max(|a|, |b|), where an edit inserts, deletes or replaces one character."""
    return lambda reference: Levenshtein.normalized_similarity(text, reference)


def token_sort(text: str) -> Against:
    """`ratio` of the two texts with their words in alphabetical order: the order of words does not count."""
    mine = _sorted(text)
    return lambda reference: Indel.normalized_similarity(mine, _sorted(reference))


def token_f1(text: str) -> Against:
    """F1 over the words in both, counted with repetition: SQuAD (arXiv 1606.05250, section 6.1), and ROUGE-1."""
    return _ngram_f1(text, 1)


def rouge_l(text: str) -> Against:
    """ROUGE-L with beta 1: F1 over the longest common subsequence of words (Lin 2004, aclanthology W04-1013)."""
    mine = text.split()

    def against(reference: str) -> float:
        theirs = reference.split()
        number: dict[str, int] = {}
        for word in mine + theirs:
            number.setdefault(word, len(number))
        common = LCSseq.similarity([number[w] for w in mine], [number[w] for w in theirs])
        return _f1(common, len(mine), len(theirs))

    return against


def bleu(text: str) -> Against:
    """BLEU of one sentence: the geometric mean of the precisions of 1- to 4-grams of words, times a penalty for
    texts shorter than the reference (Papineni et al. 2002, aclanthology P02-1040).

    Of a text shorter than four words, the orders that it has count. Where no n-gram of an order is common, half of
    the one before is taken, beginning with one: the exponential smoothing of sacreBLEU (arXiv 1804.08771).
    """
    words = text.split()
    mine = _orders(words, WORD_ORDERS)

    def against(reference: str) -> float:
        expected = reference.split()
        if not words or not expected:
            return 0.0
        theirs = _orders(expected, WORD_ORDERS)
        orders = [n for n in range(WORD_ORDERS) if len(words) > n]
        common = [_common(mine[n], theirs[n]) for n in orders]
        if not common[0]:
            return 0.0
        logs, smoothing = 0.0, 1.0
        for n, count in zip(orders, common, strict=True):
            if not count:
                smoothing /= 2
            logs += math.log((count or smoothing) / (len(words) - n))
        shortness = min(0.0, 1 - len(expected) / len(words))
        return math.exp(shortness + logs / len(orders))

    return against


def gleu(text: str) -> Against:
    """The smaller of precision and recall over all 1- to 4-grams of words: BLEU made for single sentences, as a
    reward (Wu et al., arXiv 1609.08144, section 5)."""
    words = text.split()
    mine, total = _orders(words, WORD_ORDERS), _grams(len(words), WORD_ORDERS)

    def against(reference: str) -> float:
        expected = reference.split()
        theirs = _orders(expected, WORD_ORDERS)
        common = sum(map(_common, mine, theirs))
        return common / max(total, _grams(len(expected), WORD_ORDERS)) if common else 0.0

    return against


def chrf(text: str) -> Against:
    """chrF2: precision and recall of 1- to 6-grams of characters without white space, each the mean over the orders
    that both texts have, joined to an F score in which recall weighs twice (Popovic 2015, aclanthology W15-3049)."""
    characters = "".join(text.split())
    mine = _orders(characters, CHARACTER_ORDERS)

    def against(reference: str) -> float:
        expected = "".join(reference.split())
        orders = min(CHARACTER_ORDERS, len(characters), len(expected))
        if not orders:
            return 0.0
        theirs = _orders(expected, orders)
        common = [_common(mine[n], theirs[n]) for n in range(orders)]
        precision = sum(count / (len(characters) - n) for n, count in enumerate(common)) / orders
        recall = sum(count / (len(expected) - n) for n, count in enumerate(common)) / orders
        return (1 + BETA_2) * precision * recall / (BETA_2 * precision + recall) if precision else 0.0

    return against


def _sorted(text: str) -> str:
    return " ".join(sorted(text.split()))


def _ngram_f1(text: str, n: int) -> Against:
    """ROUGE-n: F1 over n neighbouring words (Lin 2004, aclanthology W04-1013)."""
    words = text.split()
    mine = _counted(words, n)

    def against(reference: str) -> float:
        expected = reference.split()
        return _f1(_common(mine, _counted(expected, n)), len(words) - n + 1, len(expected) - n + 1)

    return against


def _f1(common: int, mine: int, theirs: int) -> float:
    """Harmonic mean of `common / mine` and `common / theirs`; 0 where nothing is common."""
    return 2 * common / (mine + theirs) if common else 0.0


def _orders(units: Sequence[str], orders: int) -> list[Counter[Hashable]]:
    """The n-grams of each order from 1 on."""
    return [_counted(units, n) for n in range(1, orders + 1)]


def _counted(units: Sequence[str], n: int) -> Counter[Hashable]:
    """The n-grams of words, or of the characters of a text."""
    if isinstance(units, str):
        return Counter(units[i : i + n] for i in range(len(units) - n + 1))
    return Counter(units) if n == 1 else Counter(zip(*(units[i:] for i in range(n)), strict=False))


def _common(mine: Counter[Hashable], theirs: Counter[Hashable]) -> int:
    """How many n-grams both have, repeated ones counted; takes time in proportion to the fewer."""
    few, many = (mine, theirs) if len(mine) < len(theirs) else (theirs, mine)
    return sum(min(count, many[gram]) for gram, count in few.items() if gram in many)


def _grams(units: int, orders: int) -> int:
    """How many n-grams of all orders so many units make."""
    return sum(max(0, units - n) for n in range(orders))


MEASURES: dict[Measure, Callable[[str], Against]] = {
    "ratio": ratio,
    "levenshtein": levenshtein,
    "token_sort": token_sort,
    "token_f1": token_f1,
    "rouge_2": lambda text: _ngram_f1(text, 2),
    "rouge_3": lambda text: _ngram_f1(text, 3),
    "rouge_4": lambda text: _ngram_f1(text, 4),
    "rouge_5": lambda text: _ngram_f1(text, 5),
    "rouge_l": rouge_l,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    "chrf": chrf,
}
