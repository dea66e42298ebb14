"""ms-swift (GRPO): an asynchronous outcome reward model.

The lines to write, in a plugin of your own, since ms-swift puts the folder of a plugin first on the import path:

    from swift.rewards import orms
    from trainer_client.adapters.ms_swift import orm
    orms["assay"] = orm("math")

and on the command line `--external_plugins plugin.py --reward_funcs assay`.

ms-swift counts a missing reward as 0 (it sums with `nansum`), so an unscored completion gets the mean of the scored
ones of its prompt, which leaves its advantage at 0, as if it were not there. Where all completions of a prompt are
unscored they are None: all alike, they have no advantage either. Checked against ms-swift 4.6.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from trainer_client.adapters.scoring import reference_column, scored_async
from trainer_client.async_client import AsyncRewardClient
from trainer_client.calls import Verifier
from trainer_client.results import Verdict

DEADLINE_S = 120.0


def orm(
    verifier: Verifier, *, reference: str | None = None, name: str = "Assay", deadline_s: float = DEADLINE_S
) -> type:
    """A class to register in `orms`. `reference` names the dataset's column to compare with, `name` the metric.

    Built here and not at import, because it derives from a class of ms-swift's.
    """
    from swift.rewards import AsyncORM

    async def call(self: Any, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        prompts = columns.get("prompt_id") or [None] * len(completions)
        items = _items(completions, prompts, reference_column(columns, reference), columns.get("messages"))
        async with AsyncRewardClient() as client:  # each batch runs in an event loop of its own
            score = client.score(verifier, items, deadline_s=deadline_s)
            return filled(await scored_async(score, len(items)), prompts)

    return type(name, (AsyncORM,), {"__call__": call, "__doc__": orm.__doc__})


def _items(
    completions: Sequence[Any],
    groups: Sequence[str | None],
    references: Sequence[Any] | None,
    messages: Sequence[Sequence[Any]] | None,
) -> list[dict[str, Any]]:
    size = len(completions)
    conversations = messages or [()] * size
    rows = zip(completions, groups, references or [None] * size, conversations, strict=True)
    return [
        {"completion": text, "group": group, "reference": reference, "prompt": list(talk[:-1]) or None}
        for text, group, reference, talk in rows
    ]


def filled(verdicts: Sequence[Verdict], prompts: Sequence[str | None]) -> list[float | None]:
    """The scores, those that are missing replaced by the mean of the scored ones of the same prompt."""
    known: dict[str | None, list[float]] = defaultdict(list)
    for verdict, prompt in zip(verdicts, prompts, strict=True):
        if verdict.score is not None:
            known[prompt].append(verdict.score)
    means = {prompt: sum(scores) / len(scores) for prompt, scores in known.items()}
    return [
        means.get(prompt) if verdict.score is None else verdict.score
        for verdict, prompt in zip(verdicts, prompts, strict=True)
    ]
