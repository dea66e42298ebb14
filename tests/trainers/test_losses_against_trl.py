"""Our losses and advantages against TRL's own trainers, on a tiny random model: losses, gradients and advantages.

Where the two differ on purpose the test says by what: TRL keeps an unscored completion in the KL term and in the
loss's mean, and we leave it out.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainer_client.advantages import combine, estimate, usable, whiten
from trainer_client.algorithms import ALGORITHMS, Algorithm
from trainer_client.losses import Answers, Loss, dpo_loss, ipo_loss, kto_loss, kto_reference_point, policy_loss

pytestmark = pytest.mark.usefixtures("quiet")

TOLERANCE = 1e-5
LETTERS = "abcdefghij+= "
GROUP, ROWS, LONGEST = 4, 12, 7
SCORES: list[float | None] = [1.0, 0.0, 0.5, 0.0, None, 1.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5]
"""Three groups: one of three values, one with an unscored row, one degenerate."""
UNSCORED = SCORES.index(None)
GROUPS = torch.arange(ROWS) // GROUP


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up or reported outside, and arithmetic is the same each time."""
    for name, value in {"HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "TRL_EXPERIMENTAL_SILENCE": "1"}.items():
        monkeypatch.setenv(name, value)
    torch.set_num_threads(1)


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


def random_model(seed: int) -> Any:
    """A Qwen3 of two small layers, its weights large enough for its distributions to be far from flat."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=2 + len(LETTERS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.4, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "report_to": "none", "use_cpu": True, "bf16": False, "disable_dropout": True,
        "per_device_train_batch_size": ROWS, "seed": 3, **more,
    }  # fmt: skip


def policy_trainer(kind: str, tokenizer: Any, folder: Path, **options: Any) -> Any:
    """TRL's GRPOTrainer or RLOOTrainer, whose reward functions give the columns of `scores`."""
    import trl
    from datasets import Dataset

    columns = options.pop("scores", [SCORES])
    rewards = [lambda prompts, _column=column, **_: list(_column) for column in columns]
    config = getattr(trl, f"{kind}Config")(
        **settings(folder), num_generations=GROUP, steps_per_generation=1, max_completion_length=LONGEST, **options
    )
    prompts = Dataset.from_dict({"prompt": ["ab+c=", "d=", "hi jab="]})
    model = random_model(0)
    random_model(1).save_pretrained(folder / "reference")
    model.config._name_or_path = str(folder / "reference")  # where TRL loads the reference model from
    trainer = getattr(trl, f"{kind}Trainer")(
        model=model, reward_funcs=rewards, args=config, train_dataset=prompts, processing_class=tokenizer
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def rollout(trainer: Any) -> dict[str, Any]:
    """What TRL samples and scores for the three prompts, with old log-probabilities that make no ratio 1."""
    trainer.model.train()
    torch.manual_seed(5)
    rows = [row for row in trainer.train_dataset for _ in range(GROUP)]
    inputs: dict[str, Any] = trainer._generate_and_score_completions(rows)
    lengths = inputs["completion_mask"].sum(dim=1)
    assert lengths.min() < lengths.max(), "the completions must be of unequal length"
    return inputs


def logprobs(model: Any, inputs: dict[str, Any]) -> Tensor:
    """The completions' log-probabilities `[B, T]`, by a plain forward pass."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    return shifted(model, ids, attention)[:, -inputs["completion_ids"].shape[1] :]


def shifted(model: Any, ids: Tensor, attention: Tensor) -> Tensor:
    """The log-probability of every token but the first, `[B, L - 1]`."""
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    return logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)


def gradient(model: Any, loss: Tensor) -> Tensor:
    """All parameters' gradients as one vector."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])


def assert_same(ours: Tensor, theirs: Tensor, model: Any) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=TOLERANCE)
    expected = gradient(model, theirs)
    assert expected.abs().max() > 1e-3, "a gradient of 0 would agree with anything"
    assert (gradient(model, ours) - expected).abs().max() < TOLERANCE


LOSSES: dict[str, tuple[Algorithm, dict[str, Any]]] = {
    "grpo": (ALGORITHMS["grpo"], {"loss_type": "dapo"}),
    "grpo, a mean for each completion": (
        dataclasses.replace(ALGORITHMS["grpo"], aggregate="sequence"),
        {"loss_type": "grpo"},
    ),
    "grpo, unbiased KL": (
        dataclasses.replace(ALGORITHMS["grpo"], unbiased_kl=True),
        {"loss_type": "dapo", "use_bias_correction_kl": True},
    ),
    "cispo, unbiased KL": (
        dataclasses.replace(ALGORITHMS["cispo"], unbiased_kl=True),
        {"loss_type": "cispo", "use_bias_correction_kl": True},
    ),
    "dr_grpo": (ALGORITHMS["dr_grpo"], {"loss_type": "dr_grpo"}),
    "dapo": (ALGORITHMS["dapo"], {"loss_type": "dapo"}),
    "gspo": (ALGORITHMS["gspo"], {"loss_type": "grpo", "importance_sampling_level": "sequence"}),
    "gspo, wide": (
        dataclasses.replace(ALGORITHMS["gspo"], clip_low=0.2, clip_high=0.2),
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ),
    "gspo, a mean over tokens": (
        dataclasses.replace(ALGORITHMS["gspo"], aggregate="token", clip_low=0.2, clip_high=0.2),
        {"loss_type": "dapo", "importance_sampling_level": "sequence"},
    ),
    "cispo": (ALGORITHMS["cispo"], {"loss_type": "cispo"}),
    "cispo, a low cap": (dataclasses.replace(ALGORITHMS["cispo"], cap=1.1), {"loss_type": "cispo"}),
}


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("name", LOSSES)
def test_the_grpo_family_s_losses(name: str, beta: float, tokenizer: Any, tmp_path: Path) -> None:
    algorithm, options = LOSSES[name]
    options = {
        "epsilon": algorithm.clip_low,
        "epsilon_high": algorithm.cap or algorithm.clip_high,
        "beta": beta,
        "use_bias_correction_kl": False,
        **options,
    }
    trainer = policy_trainer("GRPO", tokenizer, tmp_path, **options)
    inputs = rollout(trainer)
    mask = inputs["completion_mask"].bool()
    logp = logprobs(trainer.model, inputs)
    old = inputs["old_per_token_logps"] = logp.detach() + 0.3 * torch.randn(logp.shape)
    theirs = trainer._compute_loss(trainer.model, inputs)

    def loss(rows: Tensor) -> Loss:
        return policy_loss(
            logp,
            old,
            inputs["advantages"],
            mask & rows[:, None],
            ratio=algorithm.ratio,
            clip_low=algorithm.clip_low,
            clip_high=algorithm.clip_high,
            cap=algorithm.cap,
            aggregate=algorithm.aggregate,
            denominator={"token": mask.sum(), "sequence": ROWS, "max_length": ROWS * LONGEST}[algorithm.aggregate],
            ref_logp=inputs.get("ref_per_token_logps"),
            beta=beta,
            unbiased_kl=algorithm.unbiased_kl,
        )

    scored = usable(scores_tensor(SCORES), GROUPS)
    # In TRL the tokens of an unscored row count in the loss's mean, which is why the denominator is given, and while
    # its advantage is 0 its KL acts: the second term, which ours does not have.
    assert_same(loss(scored).loss + loss(~scored).loss, theirs, trainer.model)
    assert loss(scored).stats["ratio_max"] > 1.01
    assert (loss(~scored).loss != 0) == (beta > 0)


def test_our_own_mean_over_tokens_is_trl_s_bnpo(tokenizer: Any, tmp_path: Path) -> None:
    trainer = policy_trainer("GRPO", tokenizer, tmp_path, loss_type="bnpo", beta=0.04, use_bias_correction_kl=False)
    inputs = rollout(trainer)
    logp = logprobs(trainer.model, inputs)
    inputs["old_per_token_logps"] = logp.detach() + 0.3 * torch.randn(logp.shape)
    ours = policy_loss(
        logp, inputs["old_per_token_logps"], inputs["advantages"], inputs["completion_mask"],
        ref_logp=inputs["ref_per_token_logps"], beta=0.04,
    ).loss  # fmt: skip
    assert_same(ours, trainer._compute_loss(trainer.model, inputs), trainer.model)


def test_rloo_s_loss(tokenizer: Any, tmp_path: Path) -> None:
    trainer = policy_trainer("RLOO", tokenizer, tmp_path, beta=0.05)
    inputs = rollout(trainer)
    mask = inputs["completion_mask"]
    logp = logprobs(trainer.model, inputs)
    old = logp.detach() + 0.1 * torch.randn(logp.shape)
    inputs["old_logps"] = (old * mask).sum(dim=1)
    ours = policy_loss(
        logp, old, inputs["advantages"], mask, ratio="product", aggregate="sequence", denominator=ROWS
    ).loss
    assert_same(ours, trainer._compute_loss(trainer.model, inputs), trainer.model)


def scores_tensor(column: list[float | None]) -> Tensor:
    return torch.tensor([float("nan") if score is None else score for score in column])


@pytest.mark.parametrize("name", ["grpo", "dr_grpo"])
def test_group_advantages_with_an_unscored_row_and_a_degenerate_group(
    name: str, tokenizer: Any, tmp_path: Path
) -> None:
    scale = "group" if ALGORITHMS[name].deviation else "none"
    inputs = rollout(policy_trainer("GRPO", tokenizer, tmp_path, scale_rewards=scale))
    ours = estimate(ALGORITHMS[name], scores_tensor(SCORES), GROUPS, inputs["completion_mask"])
    assert torch.allclose(ours, inputs["advantages"], atol=TOLERANCE)
    assert ours[UNSCORED] == 0 and (ours[2 * GROUP :] == 0).all()


def test_leave_one_out_with_the_kl_in_the_reward(tokenizer: Any, tmp_path: Path) -> None:
    trainer = policy_trainer("RLOO", tokenizer, tmp_path, beta=0.05)
    inputs = rollout(trainer)
    with torch.no_grad():
        kl = logprobs(trainer.model, inputs) - logprobs(trainer.ref_model, inputs)
    ours = estimate(ALGORITHMS["rloo"], scores_tensor(SCORES), GROUPS, inputs["completion_mask"], kl)
    assert torch.allclose(ours, inputs["advantages"], atol=TOLERANCE)
    assert ours[2 * GROUP :].abs().max() > 1e-3, "the KL tells equal scores apart"


def test_several_verifiers_normalised_before_they_are_summed(tokenizer: Any, tmp_path: Path) -> None:
    columns: list[list[float | None]] = [
        SCORES,
        [None if s is None else 10.0 * (i % 3) for i, s in enumerate(SCORES)],
    ]
    trainer = policy_trainer(
        "GRPO", tokenizer, tmp_path, scores=columns, reward_weights=[1.0, 0.5],
        multi_objective_aggregation="normalize_then_sum",
    )  # fmt: skip
    inputs = rollout(trainer)
    scores = torch.stack([scores_tensor(column) for column in columns], dim=1)
    total = combine(scores, [1.0, 0.5], [True, True], GROUPS)
    ours = whiten(total, ~total.isnan())  # TRL then whitens over the batch
    assert torch.allclose(ours, inputs["advantages"], atol=TOLERANCE)


PAIRS = {
    "prompt": ["ab+c=", "d=", "hi jab=", "a+a="],
    "chosen": ["abc", "defghij", "j", "b"],
    "rejected": ["a", "ed", "jjjjjj", "ccc"],
}


def halves(trainer: Any, inputs: dict[str, Any]) -> tuple[Answers, Answers]:
    """A batch of TRL's, chosen answers first, as ours."""
    mask = inputs["completion_mask"][:, 1:]
    logp = shifted(trainer.model, inputs["input_ids"], inputs["attention_mask"])
    with torch.no_grad():
        reference = shifted(trainer.ref_model, inputs["input_ids"], inputs["attention_mask"])
    pairs = len(mask) // 2
    return tuple(Answers(logp[s], reference[s], mask[s]) for s in (slice(0, pairs), slice(pairs, None)))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["sigmoid", "sigmoid with NLL", "ipo"])
def test_losses_on_pairs(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset

    losses = {"sigmoid": ["sigmoid"], "sigmoid with NLL": ["sigmoid", "sft"], "ipo": ["ipo"]}[kind]
    trainer = trl.DPOTrainer(
        model=random_model(0), ref_model=random_model(1), processing_class=tokenizer,
        args=trl.DPOConfig(**settings(tmp_path), beta=0.2, loss_type=losses, loss_weights=[1.0, 0.7][: len(losses)]),
        train_dataset=Dataset.from_dict(PAIRS),
    )  # fmt: skip
    inputs = next(iter(trainer.get_train_dataloader()))
    theirs = trainer._compute_loss(trainer.model, dict(inputs), False)
    chosen, rejected = halves(trainer, inputs)
    assert set(chosen.lengths().tolist()) != {1}
    if kind == "ipo":
        ours = ipo_loss(chosen, rejected, beta=0.2)
    else:
        ours = dpo_loss(chosen, rejected, beta=0.2, nll=0.7 if "NLL" in kind else 0.0)
    assert_same(ours.loss, theirs, trainer.model)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kto(seed: int, tokenizer: Any, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset

    rows = {
        "prompt": PAIRS["prompt"] * 2,
        "completion": PAIRS["chosen"] + PAIRS["rejected"],
        "label": [True] * 3 + [False] * 5,
    }
    trainer = trl.KTOTrainer(
        model=random_model(0), ref_model=random_model(seed), processing_class=tokenizer,
        args=trl.KTOConfig(**settings(tmp_path), beta=0.3, desirable_weight=1.5, undesirable_weight=0.8),
        train_dataset=Dataset.from_dict(rows),
    )  # fmt: skip
    inputs = next(iter(trainer.get_train_dataloader()))
    theirs = trainer._compute_loss(trainer.model, dict(inputs), False)

    def answers(prefix: str) -> Answers:
        ids, attention = inputs[f"{prefix}input_ids"], inputs[f"{prefix}attention_mask"]
        with torch.no_grad():
            reference = shifted(trainer.ref_model, ids, attention)
        return Answers(shifted(trainer.model, ids, attention), reference, inputs[f"{prefix}completion_mask"][:, 1:])

    desirable = torch.as_tensor(inputs["label"])
    point = kto_reference_point(answers("KL_"))
    ours = kto_loss(answers(""), desirable, point, beta=0.3, desirable_weight=1.5, undesirable_weight=0.8)
    assert_same(ours.loss, theirs, trainer.model)
