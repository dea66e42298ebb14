"""Rows of a data set: read, checked, held out, ordered, and made into prompt tokens."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainer_client.config import DataSection
from trainer_client.heldout import prompt_key
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
        with Path(path).open(encoding="utf-8-sig") as lines:  # a byte order mark is no part of the first row
            rows = [_row(path, number, value) for number, value in _values(path, lines)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text ({error}); save the rows as JSON, one object a line") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise DataError(f'{path}: has no rows; write one JSON object a line, such as {{"prompt": "2+2="}}')
    return rows


def hold_out(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[Row]]:
    """The rows without `count` of them, and those, which the seed chooses. Raises `DataError`.

    Other rows with the prompt of a held-out one are in neither: what is held out is never trained on.
    """
    chosen = set(random.Random(f"held out/{seed}").sample(range(len(rows)), min(count, len(rows))))  # noqa: S311 (no secret)
    held_out = [row for place, row in enumerate(rows) if place in chosen]
    prompts = {prompt_key(row) for row in held_out}
    training = [row for row in rows if prompt_key(row) not in prompts] if prompts else list(rows)
    if not training:
        raise DataError(f"data.hold_out: {count} of {len(rows)} rows leaves none to train on")
    return training, held_out


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
        ids = self._by_text(row, row.prompt) if isinstance(row.prompt, str) else self._by_template(row, row.prompt)
        begin = self._tokenizer.bos_token_id
        if begin is not None and ids[:2] == [begin, begin]:
            ids = ids[1:]  # the text, or the template, had written the one that the tokenizer adds
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

    def _by_text(self, row: Row, prompt: str) -> list[int]:
        if row.tools:
            raise DataError(f"row {row.number}: tools: only a chat template shows them; give `messages`, not a text")
        try:
            ids = list(self._tokenizer(prompt)["input_ids"])
        except (TypeError, ValueError) as error:
            raise DataError(f"row {row.number}: prompt: cannot be tokenised; has it half a character?") from error
        if (
            len(ids) > 1
            and ids[-1] == self._tokenizer.eos_token_id
            and not prompt.endswith(self._tokenizer.eos_token or "\0")
        ):
            ids.pop()  # some tokenizers end every text, and a prompt goes on
        return ids

    def _by_template(self, row: Row, messages: list[dict[str, Any]]) -> list[int]:
        if not self._tokenizer.chat_template:
            raise DataError(f"row {row.number}: messages: this tokenizer has no chat template; give `prompt`, a text")
        continued = bool(self._kwargs.get("continue_final_message"))
        if messages[-1]["role"] == "assistant" and not continued:
            raise DataError(
                f"row {row.number}: messages: the last is the assistant's, and the policy would be shown it: leave "
                "it out, or have it continued by data.chat_template_kwargs: {continue_final_message: true}"
            )
        try:
            return list(
                self._tokenizer.apply_chat_template(
                    [_with_plain_content(message) for message in messages],
                    tools=row.tools, tokenize=True, return_dict=False,
                    **{"add_generation_prompt": not continued, **self._kwargs},
                )
            )  # fmt: skip
        except Exception as error:  # a template is a program, and raises what it likes
            raise DataError(f"row {row.number}: messages: the chat template refuses them: {error}") from error


def _with_plain_content(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose text parts are one text: many templates would show a list as Python writes it."""
    content = message.get("content")
    return {**message, "content": "".join(part["text"] for part in content)} if isinstance(content, list) else message


def _values(path: str | Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """The numbered values of JSON lines or of a JSON array; a file's lines do not end at U+2028 within a text."""
    number = 0
    for line, content in enumerate(lines, 1):
        if not content.strip():
            continue
        if number == 0 and content.lstrip().startswith("["):
            yield from enumerate(_decoded("".join([content, *lines]), f"{path}: is no JSON array"), 1)
            return
        number += 1
        yield number, _decoded(content, f"{path}, row {number} (line {line}): is no JSON")


def _decoded(text: str, wrong: str) -> Any:
    """JSON as the service takes it, without NaN and infinities. Raises `DataError` that begins with `wrong`."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # also an integer of more digits than Python reads
        raise DataError(f"{wrong}: {error}") from error


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a finite number; write null, or a text")
    return value


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
    if value.get("verifier") == "":
        raise DataError(f"{where}: verifier: is empty; leave it out, or name one")
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
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise DataError(f"{where}: message {place} must be an object with a `role`")
        content = message.get("content")
        if content is None and not message.get("tool_calls"):
            raise DataError(f"{where}: message {place} has neither `content` nor `tool_calls`")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        if not all(_is_text(part) for part in parts):
            raise DataError(f"{where}: message {place}: content: must be a text, or a list of parts of type `text`")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
