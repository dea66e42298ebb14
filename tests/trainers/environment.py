"""Which packages each test here needs, and what all of them have in common."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

FOLDERS = Path(sys.prefix)
"""Packages that can share no environment with the others have folders of their own in it."""

NEEDS = {
    "test_losses_against_trl.py": ("trl", "torch"),
    "test_ms_swift.py": ("swift",),
    "test_nemo_gym.py": ("nemo-gym/nemo_gym",),
    "test_openai_graders.py": ("openai",),
    "test_openrlhf.py": ("openrlhf", "torch"),
    "test_preference_against_trl.py": ("trl", "torch"),
    "test_reward_kit.py": ("reward-kit/reward_kit",),
    "test_skyrl_gym.py": ("skyrl_gym",),
    "test_trl.py": ("trl", "torch"),
    "test_verl.py": ("verl", "torch"),
    "test_verifiers.py": ("verifiers/verifiers",),
}


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those that are not installed. A package of a folder of its own is written `folder/package`."""
    return [name for name in packages if not ((FOLDERS / name).is_dir() if "/" in name else find_spec(name))]


OUTAGE_S = 20.0
"""How long the service is away in the middle."""
PROMPT = "What is 6 times 7? "
RIGHT, WRONG = "It is \\boxed{42}.", "It is \\boxed{41}."
BAD_LABEL = '{"reference": {"answer": []}}'
"""Of OpenRLHF and slime: a reference that nothing can be compared with, so that the item is unscored."""
BAD_REFERENCE: dict[str, list[str]] = {"answer": []}
