"""TRL's DPOTrainer and KTOTrainer on the case that ours is tested with, and what they say of each step.

.venv-trainers/bin/python -m tests.trainers.trl_preference    writes tests/trainer_client/golden/trl_preference.json
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.trainer_client.preference_case import CASES, GOLDEN, LABELS, PAIRS, RATE, STEPS, model

Steps = list[dict[str, float]]


def trained(case: dict[str, Any], folder: Path) -> Steps:
    """The loss, gradient norm and rewards of each update of the whole set."""
    import trl
    from datasets import Dataset

    from examples.sorting.make import tokenizer

    kto = case["loss"] == "kto"
    rows = LABELS if kto else PAIRS
    options: dict[str, Any] = {
        "output_dir": str(folder), "report_to": "none", "use_cpu": True, "bf16": False, "disable_dropout": True,
        "gradient_checkpointing": False, "per_device_train_batch_size": len(rows), "max_steps": STEPS,
        "learning_rate": RATE, "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "logging_steps": 1, "save_strategy": "no", "seed": 3, "beta": case["beta"],
    }  # fmt: skip
    if kto:
        weights = {name: case[name] for name in ("desirable_weight", "undesirable_weight")}
        args: Any = trl.KTOConfig(**options, **weights)
    else:
        losses = ["ipo" if case["loss"] == "ipo" else "sigmoid", *(["sft"] if "nll" in case else [])]
        args = trl.DPOConfig(**options, loss_type=losses, loss_weights=[1.0, case.get("nll", 0.0)][: len(losses)])
    trainer = (trl.KTOTrainer if kto else trl.DPOTrainer)(
        model=model(), ref_model=model(), args=args, processing_class=tokenizer(),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    losses_seen = []
    compute = trainer.compute_loss

    def seen(*given: Any, **named: Any) -> Any:
        loss = compute(*given, **named)
        losses_seen.append(loss.item())  # what is logged is rounded
        return loss

    trainer.compute_loss = seen
    trainer.train()
    told = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    return [
        {
            "loss": loss, "grad_norm": entry["grad_norm"], "chosen": entry["rewards/chosen"],
            "rejected": entry["rewards/rejected"], **({"reference_point": entry["kl"]} if kto else {}),
        }
        for loss, entry in zip(losses_seen, told, strict=True)
    ]  # fmt: skip


def main() -> None:
    """Write what TRL says now."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: trained(case, Path(folder) / name) for name, case in CASES.items()}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
