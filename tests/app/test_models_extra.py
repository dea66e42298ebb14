"""The service runs without the extra `models`: torch and its like are for the model's process."""

from __future__ import annotations

import subprocess
import sys

from tests.app.test_architecture import OURS, ROOT, imported, name, parsed

HEAVY = {"torch", "transformers", "accelerate", "gguf", "safetensors", "tokenizers", "huggingface_hub"}


def test_starting_the_service_imports_no_torch() -> None:
    source = f"import sys, app.main, app.backends.local; print(sorted(set(sys.modules) & {HEAVY!r}))"
    said = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_only_the_models_own_modules_import_it() -> None:
    home = ROOT / "app" / "models"
    importing = {name(path) for path in OURS if {module.split(".")[0] for module in imported(parsed(path))} & HEAVY}
    assert importing
    assert all((ROOT / path).is_relative_to(home) for path in importing)
