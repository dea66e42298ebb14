"""The table of algorithms, and the page that shows it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trainer_client import config
from trainer_client.algorithms import ALGORITHMS, Algorithm

PAGE = Path(__file__).parents[2] / "docs" / "training" / "losses.md"


def table(first: str) -> list[dict[str, str]]:
    """The rows of the page's table whose first column is named so, by column."""
    lines = PAGE.read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first} |"))
    end = next(index for index in range(start, len(lines)) if not lines[index].startswith("|"))
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[start:end]]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def written(algorithm: Algorithm, field: str) -> str:
    """A switch as the page writes it; with a cap there is no clipping."""
    value = getattr(algorithm, field)
    if value is None or (field in ("clip_low", "clip_high") and algorithm.cap is not None):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.4f}".rstrip("0").rstrip(".")


def test_the_page_shows_every_switch_of_every_algorithm() -> None:
    rows = table("`algorithm`")
    assert [row["algorithm"] for row in rows] == list(ALGORITHMS)
    apart = {"source", "deviations", "unbiased_kl"}
    switches = [field.name for field in dataclasses.fields(Algorithm) if field.name not in apart]
    for row in rows:
        algorithm = ALGORITHMS[row.pop("algorithm")]
        assert row == {switch: written(algorithm, switch) for switch in switches}
        assert not algorithm.unbiased_kl


def test_every_algorithm_names_its_paper_and_its_deviations() -> None:
    page = PAGE.read_text()
    for algorithm in ALGORITHMS.values():
        number = algorithm.source.partition("arXiv ")[2][:10]
        assert f"https://arxiv.org/abs/{number}" in page and algorithm.deviations


@pytest.mark.parametrize("row", table("setting"), ids=lambda row: row["setting"])
def test_the_page_s_defaults_are_those_of_the_configuration(row: dict[str, str]) -> None:
    section, _, field = row["setting"].partition(".")
    sections: dict[str, type[config.Section]] = {
        "grpo": config.GrpoSection,
        "sampling": config.SamplingSection,
        "optimizer": config.OptimizerSection,
        "preference": config.PreferenceSection,
    }
    default = sections[section].model_fields[field].default
    assert default == (None if row["default"] == "by task" else yaml.safe_load(row["default"]))


def test_the_table_needs_no_torch() -> None:
    code = "import sys, trainer_client.algorithms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
