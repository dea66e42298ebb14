"""The model that tells languages apart. Importing this module loads it: some 0.7 s and 65 MB.

Only guarded workers import it, once, before they fork. Nothing is fetched and nothing is random.
"""

from __future__ import annotations

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from verifiers.instructions.languages import CODES, TWINS

_IDENTIFIER = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
_IDENTIFIER.set_languages([code for code in (*CODES, *TWINS) if code in _IDENTIFIER.labels])


def most_likely(text: str) -> tuple[str, float]:
    """The language that a text is most likely in, and how likely: 0 to 1."""
    shares: dict[str, float] = {}
    for code, share in _IDENTIFIER.rank(text):
        code = TWINS.get(code, code)
        shares[code] = shares.get(code, 0.0) + share
    code = max(shares, key=lambda code: shares[code])
    return code, shares[code]
