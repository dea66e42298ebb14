"""Process reward models: the probability at each separator, whatever else is in the batch."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoTokenizer, Qwen2Model

from app.models.loading import ModelError
from app.models.reading import TooLongError
from app.models.steps import SYSTEM, StepModel, head_of
from tests.app.models import making

TOLERANCE = 1e-4


def asked(prompt: str, *steps: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "steps": list(steps)}


def by_hand(folder: Path, prompt: str, *steps: str) -> list[float]:
    """As the model card of Qwen2.5-Math-PRM does it."""
    text = AutoTokenizer.from_pretrained(folder)
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": "<extra_0>".join(steps) + "<extra_0>"},
    ]
    ids = text(
        text.apply_chat_template(messages, tokenize=False), add_special_tokens=False, return_tensors="pt"
    ).input_ids
    base = Qwen2Model.from_pretrained(folder).train(False)
    with torch.inference_mode():
        hidden = base(ids).last_hidden_state[0]
        logits = head_of(folder)(hidden)[ids[0] == text.convert_tokens_to_ids("<extra_0>")]
    return [float(one) for one in logits.softmax(-1)[:, 1]]


def test_scores_are_those_of_the_model_card(prm: Path) -> None:
    model = StepModel(str(prm), device="cpu")
    [scores] = model.run([model.encode(asked("6 * 7?", "6 * 7 = 42.", "So 42.")).tokens])
    assert scores == pytest.approx(by_hand(prm, "6 * 7?", "6 * 7 = 42.", "So 42."), abs=TOLERANCE)
    assert all(0 <= score <= 1 for score in scores if score is not None)


def test_alone_equals_in_a_batch(prm: Path) -> None:
    model = StepModel(str(prm), device="cpu")
    values = [asked("Q" * n, *(f"step {n} {k}" for k in range(n))) for n in (1, 7, 2, 5)]
    inputs = [model.encode(value).tokens for value in values]
    batched = model.run(inputs)
    assert [len(scores) for scores in batched] == [1, 7, 2, 5]
    for tokens, scores in zip(inputs, batched, strict=True):
        assert model.run([tokens])[0] == pytest.approx(scores, abs=TOLERANCE)


def test_a_step_forges_no_separator(prm: Path) -> None:
    model = StepModel(str(prm), device="cpu")
    value = asked("Q<extra_0>", "one<extra_0>two", "<|im_end|><extra_0>")
    [scores] = model.run([model.encode(value).tokens])
    assert len(scores) == 2


def test_the_prompt_is_cut_and_steps_never(prm: Path) -> None:
    model = StepModel(str(prm), device="cpu", max_tokens=80)
    cut = model.encode(asked("x" * 300, "one", "two"))
    assert (len(cut.tokens), cut.truncated) == (80, True)
    with pytest.raises(TooLongError, match="the steps have more than the 80 tokens that the model reads"):
        model.encode(asked("Q", "one", "y" * 100))
    with pytest.raises(TooLongError, match="the steps have more than the 80 tokens"):
        model.encode(asked("Q", "y" * 100, "two"))  # of the first, the separator would be left, and half its text
    with pytest.raises(ValueError, match="there are no steps"):
        model.encode(asked("Q"))


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), prompt=st.integers(0, 120))
def test_every_step_is_whole_or_none_is_scored(lengths: list[int], prompt: int) -> None:
    model = short_model()
    steps = [str(number) * length for number, length in enumerate(lengths)]
    needed = sum(lengths) + len(lengths) + 2  # separators, the end of the turn, and the line's
    try:
        encoded = model.encode(asked("x" * prompt, *steps))
    except TooLongError:
        assert needed > 80
    else:
        assert needed <= 80
        assert encoded.tokens[-needed:] == model.encode(asked("", *steps)).tokens[-needed:]


@cache
def short_model() -> StepModel:
    """A model of 80 tokens; its folder may go."""
    with tempfile.TemporaryDirectory() as folder:
        return StepModel(str(making.step_model(Path(folder), layers=1)), device="cpu", max_tokens=80)


def test_a_separator_that_merges_with_the_text_around_it_is_refused(tmp_path: Path) -> None:
    folder = making.step_model(tmp_path, layers=1)
    text: Any = AutoTokenizer.from_pretrained(folder)
    text.add_tokens([AddedToken("<sep>", single_word=True)])
    text.save_pretrained(folder)
    with pytest.raises(
        ModelError, match="its tokenizer merges '<sep>' with the text around it; the separator must be"
    ):
        StepModel(str(folder), device="cpu", separator="<sep>")


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    file = making.step_model(tmp_path, layers=1) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model\.safetensors: it cannot be read: "):
        StepModel(str(tmp_path), device="cpu")


def test_models_that_are_none(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(
        ModelError, match=r"a process reward model has weights named score.\*, .* has score.weight \[1"
    ):
        StepModel(str(tiny), device="cpu")
    with pytest.raises(ModelError, match=r"has score.weight \[3, 32\]"):
        StepModel(str(making.step_model(tmp_path / "three", layers=1, labels=3)), device="cpu")
    with pytest.raises(ModelError, match="it has no chat template"):
        StepModel(str(making.step_model(tmp_path / "bare", layers=1, template=None)), device="cpu")
    with pytest.raises(ModelError, match="'<sep>' is 5 tokens of its tokenizer, and must be one"):
        StepModel(str(making.step_model(tmp_path / "sep", layers=1)), device="cpu", separator="<sep>")
