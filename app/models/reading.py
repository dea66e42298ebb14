"""Conversations as tokens: by the model's own template, cut from the left, and with no token that a text forged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_CHARS_PER_TOKEN = 64
"""A text longer than this for each token that the model reads is cut before it is made tokens of."""


class TooLongError(ValueError):
    """What would have to be cut from the input is what is asked about."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one input; `truncated` says that tokens were cut from its left."""

    tokens: list[int]
    truncated: bool


class Reader:
    """Makes tokens of conversations, at most `max_tokens`.

    The tokens that end a turn or stand for padding mean something only where the template puts them: where a text
    spells one out, a space is put behind its first character.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, reserved: Iterable[str] = ()) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer
        self._max_chars = MAX_CHARS_PER_TOKEN * max_tokens
        known = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        known |= {*tokenizer.all_special_tokens, *reserved}
        self._reserved = re.compile(
            "|".join(re.escape(token) for token in sorted(known, key=len, reverse=True) if token)
        )

    def harmless(self, text: str) -> str:
        """A text that spells out none of the model's special tokens, and says the same to a reader."""
        if not self._reserved.pattern:
            return text
        return self._reserved.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> Encoded:
        """The tokens of a conversation. Raises `ValueError` where the model's template refuses it.

        A model without a template reads a prompt and a completion as a pair of texts, as encoders do.
        """
        if not self._tokenizer.chat_template:
            return self._pair([self.harmless(message["content"]) for message in messages])
        return self.templated(self.all_harmless(messages))

    def all_harmless(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The messages, of which neither a role nor a content spells out a special token."""
        return [{name: self.harmless(message[name]) for name in ("role", "content")} for message in messages]

    def templated(self, messages: Sequence[Mapping[str, str]], *, whole: str = "") -> Encoded:
        """The tokens of messages that are harmless already. A token of the beginning stays when the left is cut.

        Raises `TooLongError` where the last message, given as `whole`, would have to be cut.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=False
            )
        except Exception as error:  # templates raise what they like
            raise ValueError(f"the model's chat template refuses the conversation: {error}") from error
        uncut = text
        first = self._tokenizer.bos_token or ""
        kept = first if text.startswith(first) else ""
        cut = len(text) > self._max_chars
        if cut:
            text = kept + text[len(text) - self._max_chars :]
        tokens = list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if not tokens:
            raise ValueError("the conversation has no tokens")
        if len(tokens) > self.max_tokens:
            keep = 1 if kept else 0
            tokens = tokens[:keep] + tokens[len(tokens) - self.max_tokens + keep :]
            cut = True
        if cut and whole:
            self._check_kept(uncut, whole.lstrip(), self.max_tokens - (1 if kept else 0))
        return Encoded(tokens, cut)

    def _check_kept(self, text: str, whole: str, most: int) -> None:
        """Raise `TooLongError` where the text from the last time of `whole` on has more than `most` tokens."""
        kept = text[max(0, text.rfind(whole)) :]
        if (
            len(kept) > self._max_chars
            or len(self._tokenizer(kept, add_special_tokens=False, verbose=False)["input_ids"]) > most
        ):
            raise TooLongError(f"the steps have more than the {self.max_tokens} tokens that the model reads")

    def _pair(self, texts: Sequence[str]) -> Encoded:
        if len(texts) > 2:
            raise ValueError("the model has no chat template, so it reads one prompt and one completion")
        cut = any(len(text) > self._max_chars for text in texts)
        short = [text[-self._max_chars :] for text in texts]
        tokens = list(self._tokenizer(*short, verbose=False)["input_ids"])
        if len(tokens) <= self.max_tokens:
            return Encoded(tokens, cut)
        last = len(self._tokenizer(short[-1], add_special_tokens=False, verbose=False)["input_ids"])
        special = self._tokenizer.num_special_tokens_to_add(pair=len(short) == 2)
        if len(short) == 2 and last + special >= self.max_tokens:  # nothing is left of the prompt
            tokens = self._tokenizer("", short[-1], truncation="only_second", max_length=self.max_tokens)["input_ids"]
        else:
            tokens = self._tokenizer(*short, truncation="only_first", max_length=self.max_tokens)["input_ids"]
        return Encoded(list(tokens), True)
