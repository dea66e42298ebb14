"""`assay-train` does what its help says, and what it cannot do it says in a line that tells what to change."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service import ROOT, Service
from tests.trainer_client.scripted_runs import ScriptedRuns
from trainer_client import RewardClient
from trainer_client.cli import _look_for_service, main
from trainer_client.tracking import Tracker

Said = tuple[int, str, str]
"""Exit code, stdout and stderr."""
Call = Callable[..., Said]


@pytest.fixture
def config(sorting: Path, tmp_path: Path) -> Path:
    """A run of a few seconds."""
    fields = {
        "run": "tiny",
        "folder": str(tmp_path / "run"),
        "threads": 1,
        "model": {"path": str(sorting / "model")},
        "data": {"train": str(sorting / "train.jsonl"), "heldout": str(sorting / "heldout.jsonl")},
        "sampling": {"max_new_tokens": 6},
        "optimizer": {"learning_rate": 1e-3},
        "sft": {"steps": 3, "batch": 8},
        "grpo": {
            "steps": 2, "prompts": 2, "group": 4, "beta": 0.04,
            "rewards": [{"verifier": {"kind": "text", "config": {"mode": "contains"}}}],
        },
        "evaluation": {"every": 1, "prompts": 4, "verifier": {"kind": "text"}},
    }  # fmt: skip
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Gives a command, in this process."""

    def given(*arguments: object, url: str = "", key: str = "k" * 16) -> Said:
        monkeypatch.setenv("ASSAY_URL", url or "http://127.0.0.1:9")
        monkeypatch.setenv("ASSAY_API_KEY", key)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return given


@pytest.fixture(scope="session")
def key(service: Service) -> str:
    return service.new_project("assay-train")


def test_help_names_every_command_and_needs_no_torch() -> None:
    code = "import sys\nfrom trainer_client.cli import main\n"
    code += "try: main(['--help'])\nfinally: print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("sft", "grpo", "dpo", "kto", "iterate", "labels", "eval", "plot", "send"):
        assert f" {command} " in told
    assert told.strip().endswith("False")


@pytest.mark.parametrize("missing", ["typer", "torch", "transformers"])
def test_without_the_extra_it_says_what_to_install(missing: str, config: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom trainer_client.cli import main\nmain(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "sft", "-c", str(config), "tracking.enabled=false"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    said, _, command = done.stderr.splitlines()[-1].partition(" is not installed: ")
    assert said == f"assay-train: {missing}"
    assert shlex.split(command) == [sys.executable, "-m", "pip", "install", f"{ROOT / 'trainer_client'}[train]"]


def test_from_answers_to_rewards_to_curves(call: Call, config: Path, service: Service, key: str) -> None:
    """Fine-tune, train on the result, evaluate what came of it, draw both from the folder and from the service."""
    live: dict[str, Any] = {"url": service.url, "key": key}
    folder = config.parent
    code, out, err = call("sft", "-c", config, "run=tiny-sft", f"folder={folder / 'sft'}", **live)
    assert (code, out.splitlines()[0]) == (
        0,
        f"tiny-sft: finished at step 3; the model is in {folder / 'sft' / 'model'}",
    ), err
    assert "3/3 " in err
    code, out, err = call("grpo", "--config", config, "--set", f"model.path={folder / 'sft' / 'model'}", **live)
    assert (code, out.splitlines()[1]) == (0, f"curves: assay-train plot {folder / 'run'}"), err
    with RewardClient(service.url, key) as client:
        recorded = client.request("GET", "/runs/tiny")
        samples = client.request("GET", "/runs/tiny/samples")["items"]
    assert (recorded["status"], recorded["last_step"], recorded["counts"]["samples"]) == ("finished", 2, 16)
    assert {"loss", "reward/mean", "heldout/score", "heldout/kl", "time/reward_wait"} <= {*recorded["metrics"]}
    assert all(sample["verdict"]["score"] == sample["reward"] for sample in samples)
    assert all(sample["prompt"].endswith(">") for sample in samples)
    trained = f"model.path={folder / 'run' / 'model'}"
    code, out, err = call("eval", "-c", config, trained, "evaluation.samples=2", "evaluation.pass_at=[1,2]",
                          "--json", **live)  # fmt: skip
    assert code == 0, err
    values = json.loads(out)
    assert values["heldout/pass@1"] <= values["heldout/pass@2"]
    assert call("eval", "-c", config, trained, **live)[1].startswith("score ")
    for run in (folder / "run", "tiny"):
        code, out, err = call("plot", run, "--out", folder / "curves.png", **live)
        assert (code, out.strip()) == (0, str(folder / "curves.png")), err
        assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
        (folder / "curves.png").unlink()


def test_preferences_are_learnt_from_a_file_and_from_what_is_sampled(
    config: Path, call: Call, service: Service, key: str, tmp_path: Path
) -> None:
    live = {"url": service.url, "key": key}
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(json.dumps({"prompt": f"{digit}>", "chosen": "1", "rejected": "00"}) + "\n" for digit in range(4))
    )
    low_first = "[{verifier: {kind: regex, config: {pattern: '^[0-4]'}}}]"
    preference = f"preference={{batch: 2, prompts: 6, group: 4, rewards: {low_first}}}"

    def made(task: str, *more: str) -> Said:
        return call(task, "-c", config, f"run=tiny-{task}", f"folder={tmp_path / task}", *more, **live)

    code, out, err = made("dpo", f"data.train={pairs}", preference)
    assert (code, out.splitlines()[0]) == (
        0, f"tiny-dpo: finished at step 2; the model is in {tmp_path / 'dpo' / 'model'}"
    ), err  # fmt: skip
    code, out, err = made("iterate", preference)
    assert code == 0, err
    assert "tiny-iterate: finished at step" in out
    code, out, err = made("kto", preference)
    assert (code, "row 1: label: must be true" in err) == (1, True)
    code, out, err = made("kto")
    assert (code, "preference: is missing" in err) == (2, True)
    code, out, err = call("labels", tmp_path / "labels.jsonl", "--run", "nobody", **live)
    assert (code, "there are no signals to learn from: none is settled" in err) == (1, True)


def test_a_run_that_an_alarm_pauses_says_so_and_goes_on_by_the_same_command(
    call: Call, config: Path, service: Service, key: str
) -> None:
    command = (
        "grpo", "-c", config, "run=paused", "grpo.steps=3", "alarms.degenerate.threshold=1.0e-9",
        "alarms.degenerate.patience=1", "model.dtype=float32",
    )  # fmt: skip
    code, out, err = call(*command, "alarms.degenerate.action=pause", url=service.url, key=key)
    assert code == 3, err
    assert "paused: paused by an alarm at step 1" in out
    assert "alarm degenerate at step 1: groups/degenerate_share is" in err
    code, out, err = call(*command, "alarms.degenerate.action=log", url=service.url, key=key)
    assert code == 0, err
    assert "finished at step 3" in out
    with RewardClient(service.url, key) as client:
        recorded = client.request("GET", "/runs/paused")
    assert (recorded["attempt"], recorded["resumes"]) == (2, [{"attempt": 2, "step": 1}])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grpo.step=3"], "grpo.step: there is no such field; did you mean steps?"),
        (["alarms.kl.treshold=3"], "alarms.kl.treshold: there is no such field; did you mean threshold?"),
        (["grpo.steps=none"], "grpo.steps: "),
        (["grpo.steps"], "grpo.steps: an override is written section.field=value"),
        (["--set", "seed=-1"], "seed: "),
        (["grpo=null"], "grpo: is missing"),
        (["sampling.top_p=0.9"], "top_p"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_in_one_line(
    arguments: list[str], said: str, call: Call, config: Path
) -> None:
    code, out, err = call("grpo", "-c", config, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("assay-train: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "must hold fields"),
        ("a: [", "is no YAML"),
        ("- 1", "must hold fields"),
        ("\0", "is no YAML"),
        ("run: x", "folder: is missing"),
        ("[" * 5000, "is no YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(content: str | None, said: str, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    if content is not None:
        path.write_text(content)
    code, _, err = call("sft", "-c", path)
    assert code == 2
    assert said in err
    assert str(path) in err


def test_what_is_missing_outside_the_configuration_is_told(
    call: Call, config: Path, service: Service, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = {"url": service.url, "key": key}
    code, _, err = call("grpo", "-c", config, "grpo.rewards.0.verifier=nobody", "run=other", **live)
    assert (code, "no verifier nobody" in err) == (2, True), err
    code, _, err = call("grpo", "-c", config, "data.train=absent.jsonl", **live)
    assert (code, "absent.jsonl: cannot be read" in err) == (1, True), err
    code, _, err = call("grpo", "-c", config, f"data.heldout={config.parent / 'run.yaml'}", **live)
    assert (code, "is no JSON" in err) == (1, True), err
    code, _, err = call("eval", "-c", config, "data.heldout=null", **live)
    assert (code, "there are no held-out rows" in err) == (1, True), err
    code, _, err = call("plot", "runs/nobody", **live)
    assert (code, err) == (1, "assay-train: runs/nobody is neither the folder of a run nor, in the service, a run\n")
    code, _, err = call("grpo", "-c", config, **{**live, "key": "wrong-key-0123456789"})
    assert (code, "ASSAY_API_KEY" in err) == (1, True), err
    monkeypatch.delenv("ASSAY_API_KEY")
    with pytest.raises(SystemExit):
        main(["plot", "nobody"])


def test_a_folder_without_a_record_is_not_asked_for_in_the_service(call: Call, tmp_path: Path) -> None:
    code, out, err = call("plot", tmp_path)
    assert (code, out) == (1, "")
    assert f"{tmp_path} has no record of a run" in err


def test_a_service_that_is_away_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer_client.cli.LOOK_S", 0.2)
    monkeypatch.setenv("ASSAY_API_KEY", "k" * 16)
    _look_for_service("http://127.0.0.1:9")
    said = capsys.readouterr().err
    assert "nothing answers at http://127.0.0.1:9" in said
    assert said.endswith("Trying on.\n")


@pytest.mark.parametrize("task", ["sft", "dpo", "kto", "grpo", "iterate"])
def test_a_key_that_is_missing_is_told_before_anything_is_loaded(
    task: str, call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer_client.cli._train", lambda *_: pytest.fail("it began"))
    code, _, err = call(task, "-c", config, "preference={}", key="")
    assert (code, err) == (1, "assay-train: no API key: set ASSAY_API_KEY or pass api_key\n")


def test_what_needs_no_service_does_not_look_for_one(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr("trainer_client.cli._train", lambda task, settings: begun.append(settings.run))
    assert call("sft", "-c", config, "tracking.enabled=false", key="") == (0, "", "")
    assert begun == ["tiny"]


def test_a_file_that_cannot_be_written_is_told_in_one_line(
    call: Call, service: Service, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> tuple[int, int]:
        raise OSError(errno.ENOSPC, "No space left on device", "labels.jsonl")

    monkeypatch.setattr("trainer_client.labels.write_labels", full)
    code, out, err = call("labels", "labels.jsonl", url=service.url, key=key)
    assert (code, out, err) == (1, "", "assay-train: labels.jsonl: No space left on device\n")


def test_a_run_that_goes_on_is_shown_with_what_it_began_with(tmp_path: Path) -> None:
    from trainer_client.tasks import began_with

    assert began_with(tmp_path / "new") == {}
    for step in (0, 2):
        with Tracker(tmp_path, "resumed", {}, None, step=step) as tracker:
            tracker.metrics(step + 1, {"loss": 3.0 - step})
    assert began_with(tmp_path) == {"loss": 3.0}


def test_what_a_run_could_not_send_is_sent_later(call: Call, tmp_path: Path) -> None:
    scripted = ScriptedRuns()
    with RewardClient(scripted.url, "k" * 16, deadline_s=5) as client:
        tracker = Tracker(tmp_path, "late", {}, client, warn=lambda _: None, request_s=0.3)
        scripted.wait_for(1)
        scripted.leave()
        tracker.metrics(1, {"loss": 1.0})
        assert tracker.close(wait_s=0.3) == 1
    code, _, err = call("send", tmp_path, "--wait", "1", url=scripted.url)
    assert code == 1
    assert "1 events remain" in err
    scripted.come_back()
    code, out, err = call("send", tmp_path, url=scripted.url)
    assert (code, out) == (0, "everything is sent\n"), err
    assert [event["type"] for event in scripted.taken] == ["status", "metrics"]
    scripted.leave()
    code, _, err = call("send", tmp_path / "nowhere", url=scripted.url)
    assert (code, "no record of a run" in err) == (1, True)


def test_ctrl_c_ends_a_run_with_its_record_whole(config: Path, service: Service, key: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trainer_client.cli", "grpo", "-c", str(config), "run=stopped", "grpo.steps=10000"],
        cwd=ROOT,
        env={**os.environ, "ASSAY_URL": service.url, "ASSAY_API_KEY": key, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("2/"):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130, said
    assert "the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said
    limit = time.monotonic() + 20
    with RewardClient(service.url, key) as client:
        while client.request("GET", "/runs/stopped")["status"] != "paused":
            assert time.monotonic() < limit
            time.sleep(0.2)
