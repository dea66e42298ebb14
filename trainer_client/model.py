"""Loading: the policy, its tokenizer, its reference, and what is written for others to load."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from trainer_client.config import LoraSection, ModelSection, SamplingSection
from trainer_client.training_errors import ModelError

logger = logging.getLogger(__name__)


def device_of(wanted: str) -> torch.device:
    """The device that `model.device` means. Raises `ModelError` where this machine has none such."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"model.device: {wanted} is not here: {_why(error)}; try auto or cpu") from error
    return device


def load_tokenizer(section: ModelSection) -> Any:
    """The tokenizer, padding on the left. Raises `ModelError`."""
    source = section.tokenizer or section.path
    _check_source(source)
    options = {} if section.tokenizer is not None or section.gguf_file is None else {"gguf_file": section.gguf_file}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    except Exception as error:
        raise ModelError(f"{source}: its tokenizer cannot be loaded: {_why(error)}") from error
    tokenizer.padding_side = "left"
    return tokenizer


def load_policy(section: ModelSection, seed: int) -> Any:
    """The model to train, in training mode on its device; with new adapters where `lora` is set.

    Raises `ModelError`, also where a weight is missing: transformers would draw it at random and only warn.
    """
    model = _load(section)
    if section.gradient_checkpointing:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    if section.lora is not None:
        model = _with_adapters(model, section.lora, seed)
    return model.to(device_of(section.device)).train()


class Reference:
    """What the policy is held close to: the model as the run began.

    With LoRA that is the policy without its adapters, which costs no memory; else a frozen copy.
    """

    def __init__(self, policy: Any) -> None:
        self._adapters = hasattr(policy, "disable_adapter")
        self._model = policy if self._adapters else copy.deepcopy(policy).eval().requires_grad_(False)

    @contextmanager
    def model(self) -> Iterator[Any]:
        """The reference, in evaluation mode and without gradients, for the time of the block."""
        if not self._adapters:
            with torch.no_grad():
                yield self._model
            return
        training = self._model.training
        with torch.no_grad(), self._model.disable_adapter():
            self._model.eval()
            try:
                yield self._model
            finally:
                self._model.train(training)


def end_ids(model: Any, tokenizer: Any, sampling: SamplingSection) -> frozenset[int]:
    """The ids that end a completion: of the tokenizer, of the model's generation config, and those set.

    Chat models have several (`<|im_end|>` and `<|endoftext|>`); leaving one out makes every completion a long one.
    A stop text that is a special token is one of them, since a completion's text has no special tokens.
    Raises `ModelError` where there is none, or one that the model does not have.
    """
    theirs = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    theirs = theirs if isinstance(theirs, list) else [theirs]
    stops = _special_stops(tokenizer, sampling.stop)
    ids = frozenset(id for id in [tokenizer.eos_token_id, *theirs, *stops, *sampling.eos] if id is not None)
    if not ids:
        raise ModelError("the model has no EOS token, so that no completion would end: set sampling.eos")
    if unknown := [id for id in ids if not 0 <= id < model.config.get_text_config().vocab_size]:
        raise ModelError(f"EOS ids {unknown} are not in the model's vocabulary: correct sampling.eos")
    return ids


def _special_stops(tokenizer: Any, stops: Sequence[str]) -> list[int]:
    """The ids of stop texts that are special tokens. Raises `ModelError` where one is a part of a stop text."""
    special = {token.content: id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    for stop in stops:
        if found := [token for token in special if token in stop and stop not in special]:
            raise ModelError(f"sampling.stop: {stop!r} would never be found, since texts are without {found[0]!r}: "
                             "give that alone")  # fmt: skip
    return [special[stop] for stop in stops if stop in special]


def check_vocabulary(model: Any, prompts: Sequence[Sequence[int]]) -> None:
    """Raise `ModelError` where a prompt has a token that the model does not know."""
    known = model.get_input_embeddings().weight.shape[0]
    most = max(max(ids) for ids in prompts)
    if most >= known:
        raise ModelError(f"model.tokenizer: it gives the id {most}, and the model's vocabulary has {known}: they do "
                         "not belong together")  # fmt: skip


def context_length(model: Any) -> int | None:
    """The most tokens of prompt and completion together; None where the model sets no bound."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer for `from_pretrained`; adapters are merged into the weights they belong to."""
    if hasattr(model, "merge_and_unload"):
        model = copy.deepcopy(model).merge_and_unload()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _check_source(source: str) -> None:
    """Raise `ModelError` where a name can be neither a folder nor a model of the hub."""
    if not Path(source).is_dir() and not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source):
        raise ModelError(f"{source}: there is no such folder, and models of the hub are named owner/name")


def _load(section: ModelSection) -> Any:
    _check_source(section.path)
    options = {} if section.gguf_file is None else {"gguf_file": section.gguf_file}
    try:
        config = AutoConfig.from_pretrained(section.path, trust_remote_code=False, **options)
        _turn_off_dropout(config)
        model, found = AutoModelForCausalLM.from_pretrained(
            section.path, config=config, dtype=getattr(torch, section.dtype), attn_implementation=section.attention,
            trust_remote_code=False, output_loading_info=True, **options,
        )  # fmt: skip
    except Exception as error:
        if "support an attention implementation" in str(error):
            raise ModelError(f"model.attention: {section.path} has no {section.attention}: set eager") from error
        raise ModelError(f"{section.path}: cannot be loaded as a causal language model: {_why(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{section.path}: it has no weights for {', '.join(missing[:5])}; is it a language model?")
    if section.gguf_file is not None:
        _forget_quantiser(model)
    if section.dtype == "float16":
        logger.warning("float16 gradients underflow below 6e-8 and no loss scaling is done; prefer bfloat16")
    return model


def _turn_off_dropout(config: Any) -> None:
    """Set every dropout of a model to 0: with one, the policy that is trained is not the one that was sampled.

    Older models come with 0.1 (GPT-2, OPT). The dropout of adapters is a setting of its own, and stays.
    """
    for part in (config, config.get_text_config()):
        for name, value in vars(part).items():
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def _forget_quantiser(model: Any) -> None:
    """Make a model that was read from GGUF one like any other.

    Its weights have been dequantised, but transformers refuses to save it as long as it holds the quantiser.
    """
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        model.__dict__.pop(name, None)
    model.config.__dict__.pop("quantization_config", None)


def _with_adapters(model: Any, section: LoraSection, seed: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model  # an extra: most runs train all weights
    except ImportError as error:
        raise ModelError("model.lora needs peft: pip install 'assay-trainer[train]'") from error
    torch.manual_seed(seed)  # the adapters' first weights are drawn at random
    try:
        return get_peft_model(
            model,
            LoraConfig(
                r=section.rank, lora_alpha=section.alpha, lora_dropout=section.dropout,
                target_modules=section.targets, task_type="CAUSAL_LM",
            ),
        )  # fmt: skip
    except ValueError as error:
        raise ModelError(f"model.lora: {_why(error)}") from error


def _why(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 300 else said[:299] + "…"
