"""METEOR: words aligned by their form and by their stem, and a penalty for those that stand in another order.

Source: Banerjee and Lavie 2005 (aclanthology W05-0909), with the parameters that are NLTK's defaults, but without the
synonyms of WordNet, which is data of its own. As in METEOR's own program (`MeteorScorer`), texts whose words are all
the same and in the same order have no penalty: they score 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import Stemmer

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""Weight of recall against precision; power and weight of the penalty."""
MAX_WORD = 64
"""Characters of a word that has a stem; what is longer is no word of any language."""

_PORTER = Stemmer.Stemmer("porter")
_Places = Mapping[str, list[int]]
"""Where each word, or each stem, stands, in order."""


def meteor(text: str) -> Callable[[str], float]:
    """The METEOR score of the text, as a function of a reference. Words stand between white space."""
    words = text.split()
    forms = _places(enumerate(words))
    stems = _places((place, stem(word)) for place, word in enumerate(words))

    def against(reference: str) -> float:
        expected = reference.split()
        matches = _aligned(forms, stems, expected)
        if not matches:
            return 0.0
        precision, recall = len(matches) / len(words), len(matches) / len(expected)
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        steps = ((b - a, d - c) for (a, c), (b, d) in pairwise(matches))
        chunks = 1 + sum(step != (1, 1) for step in steps)
        if chunks == 1 and len(matches) == len(words) == len(expected):
            return 1.0
        penalty: float = GAMMA * (chunks / len(matches)) ** BETA
        return mean * (1 - penalty)

    return against


def _aligned(forms: _Places, stems: _Places, expected: list[str]) -> list[tuple[int, int]]:
    """Places of words that are matched, in order: equal ones first, then those of one stem.

    Of several places the last one is matched with the last, as NLTK does. Takes time in proportion to the reference.
    """
    matches: list[tuple[int, int]] = []
    for word, places in _places(enumerate(expected)).items():
        matches += zip(reversed(forms.get(word, ())), reversed(places), strict=False)
    taken = {mine for mine, _ in matches}
    matched = {theirs for _, theirs in matches}
    left = ((place, stem(word)) for place, word in enumerate(expected) if place not in matched)
    for root, places in _places(left).items():
        free = (place for place in reversed(stems.get(root, ())) if place not in taken)
        matches += zip(free, reversed(places), strict=False)
    return sorted(matches)


def _places(words: Iterable[tuple[int, str]]) -> _Places:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, word in words:
        found[word].append(place)
    return found


def stem(word: str) -> str:
    """The stem of an English word (Porter 1980)."""
    if len(word) > MAX_WORD:
        return word
    try:
        stemmed: str = _PORTER.stemWord(word)
    except UnicodeEncodeError:  # a lone surrogate, which is in no word
        return word
    return stemmed
