"""Settled signals of the service as rows for KTO: `{prompt | messages, completion, label, metadata}`.

They are written into a file first, because outcomes go on arriving while a run trains, and a run that is resumed must
find the rows that it began with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from trainer_client.training_errors import DataError

PAGE = "1000"


class Service(Protocol):
    """What is needed of `RewardClient`."""

    def request(self, method: str, path: str, *, params: dict[str, str] | None = None) -> Any:
        """The JSON answer. Raises `AssayError`."""


def write_labels(
    client: Service, out: Path, *, run: str | None = None, verifier: str | None = None, good_from: float = 0.5
) -> tuple[int, int]:
    """Write a row for each settled outcome; how many were written, and how many left out.

    An outcome is good from the score `good_from` on. One that has no score is left out, and one of which prompt or
    completion is not kept, or is nothing that `read_labelled` can read. Raises `DataError` where no row is left, and
    `AssayError`.
    """
    lines, left_out = [], 0
    for settled in _settled(client, run, verifier):
        line = None if settled["score"] is None else _line(client, settled, good_from)
        if line is None:
            left_out += 1
        else:
            lines.append(line)
    if not lines:
        why = f"{left_out} have no score, or no text that was kept" if left_out else "none is settled"
        raise DataError(f"there are no signals to learn from: {why}; look at GET /signals")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(b"".join(lines))
    return len(lines), left_out


def _settled(client: Service, run: str | None, verifier: str | None) -> Iterator[dict[str, Any]]:
    selected = {name: value for name, value in (("run", run), ("verifier", verifier)) if value is not None}
    cursor: str | None = None
    while True:
        params = {"limit": PAGE, **selected, **({"cursor": cursor} if cursor is not None else {})}
        page = client.request("GET", "/signals", params=params)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _line(client: Service, settled: dict[str, Any], good_from: float) -> bytes | None:
    """The row of an outcome, from the item that was kept with its verdict."""
    item = client.request("GET", f"/scores/{settled['score_id']}")["item"]
    if item is None or not item["prompt"] or not _is_answer(item["completion"]):
        return None
    row = {
        "prompt" if isinstance(item["prompt"], str) else "messages": item["prompt"],
        "completion": item["completion"],
        "label": settled["score"] >= good_from,
        "metadata": {"score_id": settled["score_id"], "score": settled["score"], "source": settled["source"]},
    }
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which the service keeps and no tokenizer takes
        return None


def _is_answer(completion: Any) -> bool:
    """Whether it is a text, or one message with a text: of several messages KTO cannot tell whose are the model's."""
    if isinstance(completion, list) and len(completion) == 1:
        completion = completion[0].get("content")
    return isinstance(completion, str) and completion != ""
