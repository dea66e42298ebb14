"""A model that the live service serves itself, shared by two API processes."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.models.scoring import RewardModel
from app.models.steps import StepModel
from tests.app.models import making
from tests.service import Service

OPTIONS = {"deadline_ms": 300_000}


def servers(home: Path) -> list[psutil.Process]:
    """The processes that serve models of a service."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if "app.models.server" in command and str(home) in command:
            found.append(process)
    return found


def test_two_api_processes_share_a_model_and_outlive_its_end(homes: Path, tmp_path: Path) -> None:
    rewards, steps = making.reward_model(tmp_path / "rm"), making.step_model(tmp_path / "prm", layers=2)
    plain, plain_steps = RewardModel(str(rewards), device="cpu"), StepModel(str(steps), device="cpu")
    draw = random.Random(11)
    texts = ["".join(draw.choices("abc \n", k=draw.randint(0, 60))) for _ in range(48)]
    expected = [
        plain.run([plain.encode({"messages": [said("user", "Q"), said("assistant", text)]}).tokens])[0]
        for text in texts
    ]
    service = Service(homes / "models", ASSAY_WORKERS="2")
    service.start()
    try:
        for name, folder, kind in (("rm", rewards, {}), ("prm", steps, {"steps": True})):
            local = {"model": str(folder), "device": "cpu", **kind}
            assert service.post("/backends", {"name": name, "type": "local", "local": local}).status == 201
        verifier = {"kind": "reward_model", "config": {"backend": "rm", "section": "whole"}}

        def reward(text: str) -> Any:
            [item] = service.score(verifier, {"prompt": "Q", "completion": text}, options=OPTIONS)["items"]
            return item["score"], item["error"]

        for _ in range(2):
            with ThreadPoolExecutor(24) as clients:
                answers = list(clients.map(reward, texts))
            assert [error for _, error in answers] == [None] * len(texts)
            assert [score for score, _ in answers] == pytest.approx(expected, abs=1e-4)
            [serving] = servers(service.home)
            os.kill(serving.pid, signal.SIGKILL)
        completion = "6 * 7 = 42.<extra_0>\r\n\r\nSo it is 42."
        process = {"kind": "process", "config": {"scorer": {"backend": "prm"}}}
        [item] = service.score(process, {"prompt": "6 * 7?", "completion": completion}, options=OPTIONS)["items"]
        parts = ["6 * 7 = 42.<extra_0>", "So it is 42."]
        asked = {"messages": [said("user", "6 * 7?")], "steps": parts}
        [right] = plain_steps.run([plain_steps.encode(asked).tokens])
        assert [completion[step["start"] : step["end"]] for step in item["steps"]] == parts
        assert [step["score"] for step in item["steps"]] == pytest.approx(right, abs=1e-4)
    finally:
        service.stop()
    gone, left = psutil.wait_procs(servers(service.home), 20)
    assert left == [], gone


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
