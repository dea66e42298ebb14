"""TRL's own GRPOTrainer, three steps on a tiny random model, with the adapter as its reward function."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.api.support import Project
from tests.trainers.environment import OUTAGE_S
from tests.trainers.gate import Gate
from trainer_client.adapters import trl as adapter

LETTERS = "0123456789+= "
STEPS, GROUP = 3, 4
DIGITS = {"name": "digits", "kind": "regex", "config": {"pattern": "[0-4]"}}
"""What a random model writes often, and not always."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up or reported outside."""
    for name, value in {"HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "TRL_EXPERIMENTAL_SILENCE": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Letters are tokens."""
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(["<pad>", "<eos>", *LETTERS])}
    letters = Tokenizer(WordLevel(words, unk_token="<pad>"))
    letters.pre_tokenizer = Split(Regex("."), "isolated")
    letters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="<eos>", pad_token="<pad>")


def trained(folder: Path, tokenizer: Any, reward: Any, answers: list[Any], callback: Any = None) -> Any:
    """A trainer after three steps of one prompt each."""
    import torch
    from datasets import Dataset
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=2 + len(LETTERS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.4, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    options = GRPOConfig(
        output_dir=str(folder), report_to="none", use_cpu=True, bf16=False, seed=3, max_steps=STEPS, logging_steps=1,
        per_device_train_batch_size=GROUP, num_generations=GROUP, max_completion_length=6, learning_rate=1e-3,
        save_strategy="no", shuffle_dataset=False,
    )  # fmt: skip
    rows = Dataset.from_dict({"prompt": ["1+1=", "2+2=", "3+3="], "answer": answers})
    trainer = GRPOTrainer(
        model=Qwen3ForCausalLM(shape), reward_funcs=reward, args=options, train_dataset=rows,
        processing_class=tokenizer, callbacks=[callback] if callback else None,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == STEPS
    return trainer


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.fixture
def verifier(project: Project) -> str:
    assert project.post("/verifiers", DIGITS).status == 201
    return "digits"


@pytest.mark.parametrize("make", [adapter.reward_func, adapter.async_reward_func])
def test_three_steps(make: Any, assay: Project, verifier: str, tokenizer: Any, tmp_path: Path) -> None:
    reward = pickle.loads(pickle.dumps(make(verifier, run="first")))  # noqa: S301 - our own
    trainer = trained(tmp_path, tokenizer, reward, ["2", "4", "6"])
    rows = assay.scores()
    assert len(rows) == STEPS * GROUP
    assert {row["run"] for row in rows} == {"first"}
    means = logged(trainer, "rewards/digits/mean")
    assert sum(means) * GROUP == pytest.approx(sum(row["score"] for row in rows))
    assert logged(trainer, "digits/unscored") == [0.0] * STEPS
    assert all(math.isfinite(loss) for loss in logged(trainer, "loss"))


def test_an_unscored_completion_is_in_no_mean(assay: Project, tokenizer: Any, tmp_path: Path) -> None:
    """Of the second step nothing can be scored: TRL trains on, and on no 0."""
    answers = [{"answer": answer, "type": "integer"} for answer in ("2", "two", "6")]
    trainer = trained(tmp_path, tokenizer, adapter.reward_func("math"), answers)
    outcomes = [row["outcome"] for row in reversed(assay.scores())]
    assert [outcome == "unscored" for outcome in outcomes] == [False] * GROUP + [True] * GROUP + [False] * GROUP
    assert logged(trainer, "math/unscored") == [0.0, 1.0, 0.0]
    assert [mean is None for mean in logged(trainer, "rewards/math/mean")] == [False, True, False]
    assert all(math.isfinite(loss) for loss in logged(trainer, "loss"))


@pytest.mark.parametrize("make", [adapter.reward_func, adapter.async_reward_func])
def test_twenty_seconds_without_the_service_in_the_second_step_cost_nothing(
    make: Any, assay: Project, verifier: str, tokenizer: Any, tmp_path: Path, gate: Gate
) -> None:
    from transformers import TrainerCallback

    class Outage(TrainerCallback):  # type: ignore[misc]
        """The service is away as the second step begins."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == 1:
                gate.close_for(OUTAGE_S)

    trainer = trained(tmp_path, tokenizer, make(verifier, deadline_s=90), ["2", "4", "6"], Outage())
    assert gate.refused_for_s == OUTAGE_S
    assert logged(trainer, "digits/unscored") == [0.0] * STEPS
    assert len(assay.scores()) == STEPS * GROUP


def test_an_outage_that_outlasts_the_deadline_leaves_every_completion_out(
    assay: Project, verifier: str, tokenizer: Any, tmp_path: Path, gate: Gate
) -> None:
    gate.close()
    trainer = trained(tmp_path, tokenizer, adapter.reward_func(verifier, deadline_s=1), ["2", "4", "6"])
    assert logged(trainer, "digits/unscored") == [1.0] * STEPS
    assert logged(trainer, "loss") == [0.0] * STEPS
    gate.open()
    assert assay.scores() == []
