"""What docs/training/preference.md tells a reader to type is typed here, with small sizes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from tests.service import ROOT, Service
from trainer_client import RewardClient
from trainer_client.cli import main
from trainer_client.config import from_fields
from trainer_client.preference import preference_section

PAGE = (ROOT / "docs" / "training" / "preference.md").read_text()
SHORT = {
    "labels": [],
    "kto": ["preference.steps=1"],
    "iterate": [
        "preference.prompts=4", "preference.group=4", "preference.steps=1", "preference.iterations=2",
        "evaluation.prompts=4", "threads=1", "model.path=runs/sorting/model", "data.train=runs/sorting/train.jsonl",
        "preference.rewards=[{verifier: {kind: regex, config: {pattern: '^[0-4]'}}}]",
    ],
}  # fmt: skip
"""What makes a command of the page one of seconds, with an untrained model that now and then begins with 0 to 4."""


def test_the_commands_of_the_page_work(
    sorting: Path,
    tmp_path: Path,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = service.new_project("preference-page")
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", key)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(sorting, tmp_path / "runs" / "sorting")
    monkeypatch.chdir(tmp_path)
    fields = {
        "run": "support-kto", "folder": "runs/support-kto", "threads": 1, "model": {"path": "runs/sorting/model"},
        "data": {"train": "absent"}, "sampling": {"max_new_tokens": 16}, "preference": {"batch": 2},
    }  # fmt: skip
    Path("kto.yaml").write_text(yaml.safe_dump(fields))
    with RewardClient(service.url, key) as client:
        items = [{"id": str(digit), "prompt": f"{digit}>", "completion": str(digit)} for digit in range(4)]
        verdicts = client.score({"kind": "outcome", "config": {"wait_s": 600}}, items, run="support-7")
        client.signals([{"score_id": each.score_id, "score": place % 2} for place, each in enumerate(verdicts)])
    done = []
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for command in [line for block in blocks for line in block.splitlines()]:
        program, task, *arguments = shlex.split(command)
        assert program == ".venv/bin/assay-train"
        with pytest.raises(SystemExit) as ended:
            main([task, *arguments, *SHORT[task]])
        assert not ended.value.code, f"{command}\n{capsys.readouterr().err}"
        done.append(task)
    assert done == ["labels", "kto", "iterate", "iterate"]
    assert "labels.jsonl: 4 rows; 0 outcomes" in capsys.readouterr().out


def test_the_configuration_of_the_page_is_one() -> None:
    [content] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert preference_section(from_fields(yaml.safe_load(content)), "dpo").loss == "dpo"


def test_the_metrics_of_the_page_are_those_of_the_code() -> None:
    code = "".join(
        (ROOT / "trainer_client" / f"{name}.py").read_text() for name in ("losses", "preference", "iterate")
    )
    names = re.findall(r"`(?:preference|time)/(\w+)`", PAGE)
    assert len(names) > 9
    for name in names:
        assert f'"{name}"' in code or f'"time/{name}"' in code, name
