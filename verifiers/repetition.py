"""`repetition`: how much of a completion repeats what it has said before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind
from verifiers.invisible import without_invisible

MAX_CHARS = 1_000_000
"""Characters whose n-grams are counted; longer completions get the lowest score."""
INLINE_UNITS = 65_536
"""Characters times n whose n-grams of words are counted in a few milliseconds; of characters, half as many."""


class RepetitionConfig(KindConfig):
    """What is counted, and how the share of repetition becomes a score."""

    n: int = Field(4, ge=1, le=20, description="Length of the n-grams.")
    unit: Literal["words", "characters"] = Field(
        "words", description="`words`: between white space; `characters`: for languages written without spaces."
    )
    scale: Literal["penalty", "bonus"] = Field(
        "penalty", description="`penalty`: the score goes from 0 down to -1; `bonus`: from 1 down to 0."
    )
    ignore_case: bool = Field(False, description="Whether n-grams that differ in letter case only are the same.")


@register
class Repetition(DirectKind[RepetitionConfig]):
    """Score how much the completion repeats itself: the share of its n-grams that have occurred before.

    The score is 0 for a completion that never says the same n words twice, and comes close to -1 for a loop. Add it
    to the reward for the answer.

    ## Configuration
    The penalty is 1 - distinct n-grams / all n-grams: seq-rep-n of Welleck et al.
    ([arXiv 1908.04319](https://arxiv.org/abs/1908.04319), section 6), which is 1 less distinct-n of Li et al.
    ([arXiv 1510.03055](https://arxiv.org/abs/1510.03055)). With `ignore_case` it is the repetition penalty of
    [arXiv 2502.03373](https://arxiv.org/abs/2502.03373) (appendix C.2) and open-r1, before their weight. Characters
    that nobody sees, such as zero-width spaces, are left out first: they would make one word into many.

    ## Reference
    Not read.

    ## Outcomes
    `scored`; `detail.repeated` is the share. `output_exceeded`, with the lowest score, for over 1,000,000 characters.

    ## Limits
    A completion of fewer than n units, an empty one too, repeats nothing and gets the best score: combine this kind
    with one that looks at the answer. The share grows with length in any language, so long completions are better
    compared with a larger `n`.
    """

    kind: ClassVar[str] = "repetition"
    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = RepetitionConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Every word here is a new one."), 0.0),
        Example(Item(completion="wait no so wait wait no so wait wait no so"), -0.5),
        Example(Item(completion="Go on. go on. GO ON."), -0.6, {"n": 2, "ignore_case": True}),
        Example(Item(completion="哈哈哈哈哈"), 0.25, {"n": 2, "unit": "characters", "scale": "bonus"}),
    )

    def __init__(self, config: RepetitionConfig) -> None:
        super().__init__(config)
        self.fault_score = self._score(1.0)

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        units = len(item.text) * self.config.n
        return units * (2 if self.config.unit == "characters" else 1) > INLINE_UNITS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        text = item.text
        if len(text) > MAX_CHARS:
            detail = {"stage": "ngrams", "limit": MAX_CHARS}
            return Verdict(Outcome.OUTPUT_EXCEEDED, self.fault_score, detail)
        text = without_invisible(text)
        if self.config.ignore_case:
            text = text.casefold()
        share = repeated_share(text.split() if self.config.unit == "words" else text, self.config.n)
        return Verdict(Outcome.SCORED, self._score(share), {"stage": "ngrams", "repeated": round(share, 6)})

    def _score(self, share: float) -> float:
        return (1.0 if self.config.scale == "bonus" else 0.0) - share


def repeated_share(units: Sequence[str], n: int) -> float:
    """Share of the n-grams of `units` that have occurred before, from 0 to below 1; 0 where there is none."""
    total = len(units) - n + 1
    if total <= 0:
        return 0.0
    distinct = len(set(zip(*(units[i:] for i in range(n)), strict=False)))
    return 1 - distinct / total
