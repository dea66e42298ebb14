"""The configuration file: what is refused and how that is said, overrides, and what depends on the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer_client.config import Config, from_fields, load
from trainer_client.training_errors import ConfigError

FIELDS: dict[str, Any] = {
    "run": "a run",
    "folder": "runs/a",
    "model": {"path": "some/model"},
    "data": {"train": "train.jsonl"},
    "grpo": {"steps": 3},
}


def with_fields(**changes: Any) -> Config:
    return from_fields({**FIELDS, **changes})


def test_a_file_with_what_is_required_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(FIELDS))
    config = load(path)
    assert config.grpo is not None
    assert (config.grpo.group, config.sampling.temperature, config.sampling.top_p, config.sampling.top_k) == (
        8,
        1,
        1,
        0,
    )
    assert config.optimizer.max_grad_norm == 1


def test_an_unknown_field_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"grpo\.minibatch: there is no such field; did you mean minibatches\?"):
        with_fields(grpo={"steps": 3, "minibatch": 2})
    with pytest.raises(ConfigError, match=r"modle: there is no such field; did you mean model\?"):
        with_fields(modle={})
    with pytest.raises(ConfigError, match=r"grpo\.rewards\.0\.wieght: .* did you mean weight"):
        with_fields(grpo={"steps": 3, "rewards": [{"wieght": 2}]})
    with pytest.raises(ConfigError, match=r"model\.lora\.zzz: there is no such field; there are alpha, dropout"):
        with_fields(model={"path": "m", "lora": {"zzz": 1}})


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        from_fields({"run": "a", "model": {"path": ""}, "grpo": {"steps": 0}})
    lines = str(raised.value).splitlines()
    assert {line.split(": ")[1] for line in lines} == {"folder", "model.path", "data", "grpo.steps"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, "much"])
def test_a_learning_rate_is_a_positive_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate"):
        with_fields(optimizer={"learning_rate": value})


def test_the_default_learning_rate_is_that_of_the_task() -> None:
    config = with_fields()
    assert (config.learning_rate("sft"), config.learning_rate("grpo"), config.learning_rate("dpo")) == (
        2e-5,
        1e-6,
        1e-6,
    )
    assert with_fields(model={"path": "m", "lora": {}}).learning_rate("grpo") == 1e-5
    assert with_fields(optimizer={"learning_rate": 3e-4}).learning_rate("sft") == 3e-4


def test_any_field_can_be_overridden() -> None:
    config = from_fields(
        FIELDS, ["grpo.steps=7", "sampling.stop=[a, b]", "model.lora.rank=4", "grpo.rewards=[{verifier: math}]"]
    )
    config = from_fields(config.model_dump(), ["grpo.rewards.0.weight=0.5", "run=another"])
    assert config.grpo is not None
    assert config.model.lora is not None
    assert config.grpo.steps == 7
    assert config.sampling.stop == ["a", "b"]
    assert config.model.lora.rank == 4
    assert config.grpo.rewards[0].verifier == "math"
    assert config.grpo.rewards[0].weight == 0.5
    assert config.run == "another"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grpo.steps", "section.field=value"),
        ("=3", "section.field=value"),
        ("grpo..steps=3", "section.field=value"),
        ("run.x=1", "no fields below a str"),
        ("grpo.steps=[", "no YAML"),
        ("grpo.rewards.3.weight=1", "no place in a list"),
        ("grpo.stesp=3", "did you mean steps"),
    ],
)
def test_a_bad_override_says_what_is_wrong_with_it(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_fields({**FIELDS, "grpo": {"steps": 1, "rewards": [{}]}}, [override])


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "just words", "\x00", "a: " + "[" * 2000])
def test_a_file_that_holds_no_fields_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_truncated_sampling_needs_a_correction() -> None:
    for sampling in ({"top_p": 0.9}, {"top_k": 20}):
        with pytest.raises(ConfigError, match=r"importance_cap"):
            with_fields(sampling=sampling)
        assert with_fields(sampling=sampling, grpo={"steps": 1, "importance_cap": 2.0}).grpo is not None


def test_a_switch_that_is_given_overrides_the_algorithm() -> None:
    section = with_fields(grpo={"steps": 1, "algorithm": "dapo", "clip_high": 0.3, "deviation": False}).grpo
    assert section is not None
    switches = section.switches()
    assert (switches.clip_low, switches.clip_high, switches.deviation, switches.degenerate) == (
        0.2,
        0.3,
        False,
        "resample",
    )


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of minibatches"):
        with_fields(grpo={"steps": 1, "prompts": 8, "minibatches": 3})
    with pytest.raises(ConfigError, match="ratio: token"):
        with_fields(grpo={"steps": 1, "algorithm": "rloo", "step_scores": True})
    with pytest.raises(ConfigError, match="not both"):
        with_fields(data={"train": "a", "heldout": "b", "hold_out": 3})


def test_a_verifier_is_a_name_or_a_kind_with_its_configuration() -> None:
    inline = {"kind": "text", "config": {"mode": "contains"}}
    section = with_fields(grpo={"steps": 1, "rewards": [{"verifier": inline}]}).grpo
    assert section is not None
    assert section.rewards[0].verifier == inline


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ({"kind": "text", "conf": {}}, "config: grpo.rewards.0.verifier.conf: there is no such field"),
        ({"config": {}}, "config: grpo.rewards.0.verifier.kind: is missing"),
        (3, "config: grpo.rewards.0.verifier: must be a name, or {kind: NAME, config: {...}}"),
        ("", "config: grpo.rewards.0.verifier: String should have at least 1 character"),
    ],
)
def test_what_is_no_verifier_is_told_in_the_words_of_the_file(verifier: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        with_fields(grpo={"steps": 1, "rewards": [{"verifier": verifier}]})
    assert str(refused.value) == said


@pytest.mark.parametrize(("written", "read"), [("off", "False"), ("2024-05-01", r"datetime.date\(2024, 5, 1\)")])
def test_a_name_that_yaml_takes_for_something_else_is_told(written: str, read: str) -> None:
    with pytest.raises(ConfigError, match=rf"run: must be a text, and YAML reads it as {read}: put it in quotes"):
        from_fields(FIELDS, [f"run={written}"])
    assert from_fields(FIELDS, [f'run="{written}"']).run == written


def test_a_colon_without_its_space_is_told() -> None:
    with pytest.raises(ConfigError, match=r"verifier\.kind:text: there is no such field; YAML has a space after"):
        from_fields(FIELDS, ["evaluation.verifier={kind:text}"])


def test_step_scores_and_a_kl_in_the_reward_are_refused_together() -> None:
    # step-level advantages are made of scores alone: the KL would silently count nowhere
    clash = {"steps": 1, "algorithm": "reinforce_pp", "beta": 0.1, "step_scores": True}
    with pytest.raises(ConfigError, match="set kl: loss, or beta: 0"):
        with_fields(grpo=clash)
    with_fields(grpo={**clash, "kl": "loss"})
    with_fields(grpo={**clash, "beta": 0.0})
