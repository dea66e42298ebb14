"""What ends a model's process: it costs no neighbour its score, and is not tried for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.models import process
from app.models.process import LocalModel, ModelSpec, ModelUnavailableError
from app.models.scoring import RewardModel
from tests.app.models.serving import serving, soon, value

ENDING = """
import os, signal, sys
if "app.models.server" in sys.orig_argv:
    from app.models.forward import DeviceLostError
    from app.models.scoring import RewardModel
    run = RewardModel.run

    def ending(self, batch):
        if any({poison} in tokens for tokens in batch):
            {end}
        return run(self, batch)

    RewardModel.run = ending
"""


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "raise DeviceLostError('as the test wants')"]
)
async def test_what_ends_the_models_process_costs_no_neighbour_its_score(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    plain = RewardModel(str(tiny), device="cpu")
    [poison] = set(plain.encode(value("Z")).tokens) - set(plain.encode(value("a")).tokens)
    (tmp_path / "sitecustomize.py").write_text(ENDING.format(poison=poison, end=end))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = ModelSpec(str(tiny), device="cpu", latency_ms=700)
    async with serving(spec, tmp_path) as model, serving(spec, tmp_path) as other:
        await model.score([value("warm")], deadline=soon())
        requests = [["a"], ["b", "Z", "c"], ["d" * 9], ["e"]]
        answers = await asyncio.gather(
            *((model, other)[n % 2].score([value(text) for text in texts], deadline=soon())
              for n, texts in enumerate(requests))
        )  # fmt: skip
        again = await other.score([value("a")], deadline=soon())
    for texts, outputs in zip(requests, answers, strict=True):
        for text, output in zip(texts, outputs, strict=True):
            if text == "Z":
                assert output == {
                    "error": "ended",
                    "message": "the model's process ended twice while it read this text, for want of memory perhaps",
                }
            else:
                [expected] = plain.run([plain.encode(value(text)).tokens])
                assert output["score"] == pytest.approx(expected, abs=1e-4)
    assert "score" in again[0]


async def test_a_server_that_ends_each_time_is_not_asked_for_ever(tmp_path: Path) -> None:
    class Ending(LocalModel):
        asked = 0

        async def _post(self, body: Any, deadline: float) -> list[dict[str, Any]]:
            self.asked += 1
            raise aiohttp.ServerDisconnectedError

        async def _ensure(self, deadline: float) -> None:
            return

    model = Ending(ModelSpec("any"), tmp_path)
    with pytest.raises(ModelUnavailableError, match="the model's process ended each time that it was asked"):
        await model.score([value("a")], deadline=soon())
    assert model.asked == process.TRIES
