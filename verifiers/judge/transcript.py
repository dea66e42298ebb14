"""A prompt as one text."""

from __future__ import annotations

from verifiers.base import Prompt


def transcript(prompt: Prompt | None) -> str:
    """A text as it is; of one message its text; of several, each under its role in round brackets."""
    if prompt is None or isinstance(prompt, str):
        return prompt or ""
    if len(prompt) == 1:
        return prompt[0].text
    return "\n\n".join(f"({message.role})\n{message.text}" for message in prompt)
