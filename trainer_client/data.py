"""Rows of a data set: read, checked, held out, ordered, and made into prompt tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainer_client.config import DataSection
from trainer_client.training_errors import DataError

FIELDS = frozenset({"prompt", "messages", "reference", "verifier", "tools", "metadata"})
"""What a row may hold; whatever else it holds is kept in `extra`, for the tasks that name a field of their own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt. `number` counts from 1 in its file, and names the row in errors."""

    number: int
    prompt: str | list[dict[str, Any]]
    reference: Any = None
    verifier: str | None = None
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file: an object on each line, or one JSON array. Raises `DataError` that names row and field."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    rows = [_row(path, number, value) for number, value in _values(path, text)]
    if not rows:
        raise DataError(f'{path}: has no rows; write one JSON object a line, such as {{"prompt": "2+2="}}')
    return rows


def hold_out(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[Row]]:
    """The rows without `count` of them, and those, which the seed chooses. Raises `DataError`."""
    if count >= len(rows):
        raise DataError(f"data.hold_out: {count} of {len(rows)} rows leaves none to train on")
    chosen = set(random.Random(f"held out/{seed}").sample(range(len(rows)), count))  # noqa: S311 (no secret)
    return (
        [row for place, row in enumerate(rows) if place not in chosen],
        [row for place, row in enumerate(rows) if place in chosen],
    )


class Order:
    """An endless order of rows, shuffled anew in each epoch: the row at a position depends on the seed alone.

    So the position, an integer, is all that a checkpoint needs to hold of it.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch: Callable[[int], list[int]] = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        return self._epoch(epoch)[place]

    def _shuffled(self, epoch: int) -> list[int]:
        order = list(range(self._count))
        random.Random(f"order/{self._seed}/{epoch}").shuffle(order)  # noqa: S311 (no secret)
        return order


class PromptEncoder:
    """Prompts as token ids: texts as they are, messages by the chat template of the tokenizer."""

    def __init__(self, tokenizer: Any, section: DataSection, longest: int | None) -> None:
        """`longest`: the tokens of the context that remain for a prompt; None: no bound."""
        bounds = [bound for bound in (section.max_prompt_tokens, longest) if bound is not None]
        self._longest = min(bounds, default=None)
        self._tokenizer = tokenizer
        self._kwargs = section.chat_template_kwargs
        self._drop = section.long_prompts == "drop"

    def encode(self, row: Row) -> list[int]:
        """The ids of a prompt, BOS included where the tokenizer adds one. Raises `DataError`."""
        if isinstance(row.prompt, str):
            ids = list(self._tokenizer(row.prompt)["input_ids"])
            end = self._tokenizer.eos_token_id
            if len(ids) > 1 and ids[-1] == end and not row.prompt.endswith(self._tokenizer.eos_token or "\0"):
                ids.pop()  # some tokenizers end every text, and a prompt goes on
        else:
            ids = self._by_template(row)
        if not ids:
            raise DataError(f"row {row.number}: prompt: has no tokens, and a model needs one to begin with")
        return ids

    def encode_all(self, rows: Sequence[Row]) -> tuple[list[Row], list[list[int]]]:
        """The rows that are used, and their ids. Raises `DataError` at a prompt that is too long, unless dropped."""
        kept = []
        encoded = []
        for row in rows:
            ids = self.encode(row)
            if self._longest is not None and len(ids) > self._longest:
                if self._drop:
                    continue
                raise DataError(
                    f"row {row.number}: prompt: has {len(ids)} tokens, and {self._longest} fit (the context, less "
                    "sampling.max_new_tokens, or data.max_prompt_tokens); shorten it, or set data.long_prompts: drop"
                )
            kept.append(row)
            encoded.append(ids)
        if not kept:
            raise DataError(f"all {len(rows)} prompts have more than {self._longest} tokens")
        return kept, encoded

    def _by_template(self, row: Row) -> list[int]:
        if not self._tokenizer.chat_template:
            raise DataError(f"row {row.number}: messages: this tokenizer has no chat template; give `prompt`, a text")
        try:
            return list(
                self._tokenizer.apply_chat_template(
                    row.prompt, tools=row.tools, add_generation_prompt=True, tokenize=True, return_dict=False,
                    **self._kwargs,
                )
            )  # fmt: skip
        except Exception as error:  # a template is a program, and raises what it likes
            raise DataError(f"row {row.number}: messages: the chat template refuses them: {error}") from error


def _values(path: str | Path, text: str) -> Iterator[tuple[int, Any]]:
    """The numbered values of JSON lines or of a JSON array."""
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), 1)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}: is no JSON array: {error}") from error
        return
    number = 0
    for line, content in enumerate(text.split("\n"), 1):  # splitlines would also break at U+2028 within a text
        if not content.strip():
            continue
        number += 1
        try:
            yield number, json.loads(content)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, row {number} (line {line}): is no JSON: {error}") from error


def _row(path: str | Path, number: int, value: Any) -> Row:
    where = f"{path}, row {number}"
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be an object, and is a {type(value).__name__}")
    prompt, messages = value.get("prompt"), value.get("messages")
    if (prompt is None) == (messages is None):
        raise DataError(f"{where}: needs prompt (a text or messages) or messages, and has "
                        f"{'neither' if prompt is None else 'both'}")  # fmt: skip
    name = "prompt" if messages is None else "messages"
    prompt = prompt if messages is None else messages
    if isinstance(prompt, list):
        _check_messages(f"{where}: {name}", prompt)
    elif not isinstance(prompt, str) or not prompt:
        raise DataError(f"{where}: {name}: must be a text that is not empty, or a list of messages")
    _check(where, value, "verifier", str)
    _check(where, value, "metadata", dict)
    _check(where, value, "tools", list)
    return Row(
        number, prompt, value.get("reference"), value.get("verifier"), value.get("tools"),
        value.get("metadata") or {}, {name: content for name, content in value.items() if name not in FIELDS},
    )  # fmt: skip


def _check(where: str, value: dict[str, Any], name: str, wanted: type) -> None:
    found = value.get(name)
    if found is not None and not isinstance(found, wanted):
        raise DataError(f"{where}: {name}: must be a {wanted.__name__}, and is a {type(found).__name__}")


def _check_messages(where: str, messages: list[Any]) -> None:
    if not messages:
        raise DataError(f"{where}: has no messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise DataError(f"{where}: message {place + 1} must be an object with a `role`")
        if "content" not in message and "tool_calls" not in message:
            raise DataError(f"{where}: message {place + 1} has neither `content` nor `tool_calls`")
