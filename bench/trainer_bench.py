"""A step of GRPO: CPU seconds against TRL's GRPOTrainer, and wall time against a loop that waits for its rewards.

    python -m bench.trainer_bench                 streaming rewards
    python -m bench.trainer_bench --against-trl   the comparison too, where TRL is installed

Both trainers have the same model (Qwen3, 4 layers, random weights), prompts, completions a step, length bound and
reward function, on one thread of a CPU. The learning rate is too small to change the policy, so that both draw from
the same distribution all along; completions end where an EOS is drawn, which the model does at every 14th token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from examples.sorting.make import CHARACTERS, tokenizer
from trainer_client.config import Config, from_fields
from trainer_client.loop import Grpo
from trainer_client.results import Verdict
from trainer_client.rollout_file import RolloutFile

PROMPTS, GROUP, TOKENS, STEPS = 32, 8, 16, 6
STAGGERED = 48
"""The bound of completions where their ends shall be spread out: an EOS ends 97 % of them before it."""
WARM_UP = 1


def reward(completion: str) -> float:
    """Something that differs within a group."""
    return float(completion[:1] in tuple("01234"))


class Local:
    """A client whose service is a function in this process, answered in order by one worker that takes its time."""

    def __init__(self, seconds_each: float = 0.0) -> None:
        self.seconds_each = seconds_each
        self._worker = threading.Lock()

    def score(self, verifier: None, items: Sequence[dict[str, Any]], **options: Any) -> list[Verdict]:
        with self._worker:
            time.sleep(self.seconds_each * len(items))
        return [
            Verdict(item["id"], None, "local", reward(item["completion"]), "scored", {}, {}, None, None, 0.0, False)
            for item in items
        ]

    def request(self, method: str, path: str) -> Any:
        return {"items": [{"kind": "text"}]}


class Blocking(Grpo):
    """The same loop, but for rewards: they are asked for once all is drawn."""

    def _scored_groups(self, places: Sequence[int], kept: RolloutFile) -> Any:
        sends: list[tuple[Any, ...]] = []
        send, wait = self.rewards.send, self.rewards.wait

        def later(*arguments: Any) -> None:
            sends.append(arguments)

        def all_at_once(groups: Any) -> Any:
            for arguments in sends:
                send(*arguments)
            return wait(groups)

        self.rewards.send, self.rewards.wait = later, all_at_once  # type: ignore[method-assign, assignment]
        try:
            return super()._scored_groups(places, kept)
        finally:
            self.rewards.send, self.rewards.wait = send, wait  # type: ignore[method-assign]


def make(folder: Path, prompt_tokens: int) -> None:
    """The model, and more prompts than are used."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(CHARACTERS) + 2, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, head_dim=32, max_position_embeddings=512,
        eos_token_id=len(CHARACTERS), pad_token_id=len(CHARACTERS) + 1, bos_token_id=None,
    )  # fmt: skip
    made: Any = Qwen3ForCausalLM
    made(config).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    rows = [{"prompt": f"{number:0{prompt_tokens - 1}d}>"} for number in range(PROMPTS * (STEPS + WARM_UP))]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def config_of(folder: Path, name: str, tokens: int) -> Config:
    return from_fields(
        {
            "run": name, "folder": str(folder / name), "threads": 1,
            "model": {"path": str(folder / "model"), "device": "cpu"},
            "data": {"train": str(folder / "train.jsonl")}, "sampling": {"max_new_tokens": tokens},
            "optimizer": {"learning_rate": 1e-9}, "tracking": {"enabled": False}, "checkpoints": {"every": 10**6},
            "grpo": {
                "steps": STEPS + WARM_UP, "prompts": PROMPTS, "group": GROUP, "beta": 0.0,
                "micro_batch": PROMPTS * GROUP, "rewards": [{"verifier": {"kind": "text"}}],
            },
        }
    )  # fmt: skip


def ours(
    folder: Path, name: str, client: Local, tokens: int, loop: type[Grpo] = Grpo
) -> tuple[list[float], list[dict[str, float]]]:
    """CPU seconds and values of each step after the warm-up."""
    marks, values = [], []

    def report(step: int, own: dict[str, float]) -> None:
        marks.append(time.process_time())
        values.append(own)

    loop(config_of(folder, name, tokens), client=client, report=report).run()
    return [after - before for before, after in zip(marks[WARM_UP:], marks[WARM_UP + 1 :], strict=False)], values[2:]


def trl(folder: Path) -> tuple[list[float], list[float]]:
    """CPU seconds and mean tokens of each step of TRL's GRPOTrainer after the warm-up."""
    from datasets import Dataset  # of an environment with TRL
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    marks: list[float] = []
    lengths: list[float] = []

    class Marks(TrainerCallback):  # type: ignore[misc]  # TRL has no types here
        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            marks.append(time.process_time())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **options: Any) -> None:
            if "completions/mean_length" in (logs or {}):
                lengths.append(logs["completions/mean_length"])

    text = AutoTokenizer.from_pretrained(folder / "model")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    trainer = GRPOTrainer(
        model=str(folder / "model"),
        reward_funcs=lambda completions, **columns: [reward(completion) for completion in completions],
        args=GRPOConfig(
            output_dir=str(folder / "trl"), use_cpu=True, bf16=False, learning_rate=1e-9,
            max_steps=STEPS + WARM_UP + 1,
            per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP, max_completion_length=TOKENS,
            temperature=1.0, top_p=1.0, top_k=0, beta=0.0, logging_steps=1, save_strategy="no", report_to="none",
            gradient_checkpointing=False, disable_tqdm=True, lr_scheduler_type="constant", shuffle_dataset=False,
            model_init_kwargs={"dtype": "float32"},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=text,
        callbacks=[Marks()],
    )  # fmt: skip
    trainer.train()
    return [after - before for before, after in zip(marks[WARM_UP - 1 :], marks[WARM_UP:], strict=False)][
        :STEPS
    ], lengths


def against_trl(prompt_tokens: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), prompt_tokens)
        mine, values = ours(Path(folder), "ours", Local(), TOKENS)
        theirs, lengths = trl(Path(folder))
    tokens = statistics.mean(own["rollout/tokens_mean"] for own in values)
    print(
        f"prompts of {prompt_tokens} tokens: {statistics.median(mine):.2f} CPU s a step ({tokens:.1f} tokens a "
        f"completion), TRL {statistics.median(theirs):.2f} ({statistics.mean(lengths):.1f}); "
        f"ratio {statistics.median(mine) / statistics.median(theirs):.2f}"
    )


def streaming() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), 5)
        _, free = ours(Path(folder), "free", Local(), STAGGERED)
        drawing = statistics.median(own["time/generation"] for own in free)
        for share in (1.0, 0.5):
            each = share * drawing / (PROMPTS * GROUP)
            _, streamed = ours(Path(folder), f"streaming-{share}", Local(each), STAGGERED)
            _, blocked = ours(Path(folder), f"blocking-{share}", Local(each), STAGGERED, Blocking)
            step, waits, blocking = (
                statistics.median(own[key] for own in values)
                for values, key in (
                    (streamed, "time/step"), (streamed, "time/reward_wait"), (blocked, "time/step"),
                )
            )  # fmt: skip
            print(
                f"reward {share:.1f} times as long as generation ({drawing:.2f} s): a step takes {step:.2f} s, "
                f"{waits / step:.1%} of it waiting; blocking {blocking:.2f} s, {blocking / step:.2f} times as long"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against-trl", action="store_true", help="compare with TRL, which has to be installed")
    torch.set_num_threads(1)
    if parser.parse_args().against_trl:
        against_trl(5)
        against_trl(200)
    streaming()
