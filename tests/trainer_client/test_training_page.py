"""What docs/training/README.md tells a reader to type is typed here, with a few steps each."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from tests.service import ROOT, Service
from trainer_client.alarms import AlarmSettings
from trainer_client.cli import main
from trainer_client.config import from_fields

PAGE = (ROOT / "docs" / "training" / "README.md").read_text()
SHORT = {
    "sft": ["sft.steps=2", "sft.batch=4", "threads=1"],
    "grpo": ["grpo.steps=2", "grpo.prompts=2", "grpo.group=2", "evaluation.prompts=4", "threads=1"],
    "eval": ["evaluation.prompts=4", "threads=1"],
}
"""What makes a command of the page one of seconds."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_and_the_program_of_the_page_work(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All in this process, which imports torch once."""
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", service.new_project("training-page"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    make, *commands = [line for block in blocks("console") for line in block.splitlines()]
    program, *arguments = shlex.split(make)
    assert program == ".venv/bin/python"
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(arguments[0], run_name="__main__")
    done = []
    for command in commands:
        program, task, *arguments = shlex.split(command)
        assert program == ".venv/bin/assay-train"
        with pytest.raises(SystemExit) as ended:
            main([task, *arguments, *SHORT.get(task, [])])
        assert not ended.value.code, f"{command}\n{capsys.readouterr().err}"
        done.append(task)
    assert done == ["sft", "grpo", "plot", "eval", "send"]
    assert Path("trap.png").read_bytes().startswith(b"\x89PNG")
    fields = yaml.safe_load(Path("examples/sorting/exact.yaml").read_text())
    fields["grpo"] |= {"prompts": 2, "group": 2}
    fields["evaluation"] |= {"prompts": 4}
    Path("grpo.yaml").write_text(yaml.safe_dump(fields))
    capsys.readouterr()
    [code] = blocks("py")
    exec(code.replace("grpo.steps=80", "grpo.steps=2"), {})  # noqa: S102 - it is the page's program
    assert capsys.readouterr().out.splitlines()[-1] == "finished runs/sorting-exact/model"


def test_the_configuration_of_the_page_is_one() -> None:
    [content] = blocks("yaml")
    config = from_fields(yaml.safe_load(content))
    assert config.alarms.reward_hacking.action == "pause"
    assert config.data.hold_out == 256


def test_the_page_has_every_alarm() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(AlarmSettings.model_fields)
