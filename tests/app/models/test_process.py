"""The process that serves a model: shared, restarted, bounded by deadlines, and gone with whoever started it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from app.models import process
from app.models.process import LocalModel, ModelSpec, ModelUnavailableError, environment
from app.models.scoring import RewardModel
from tests.app.models.serving import ROOT, serving, soon, value


@pytest.fixture(scope="module")
def shared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelSpec, Path]]:
    """A server that another process has started."""
    folder = tmp_path_factory.mktemp("models")
    spec = ModelSpec(str(tiny), device="cpu", max_tokens=200)
    command = [sys.executable, "-m", "app.models.server", *spec.arguments(LocalModel(spec, folder).socket)]
    server = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(1), text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == '{"ready": "cpu"}\n'
    yield spec, folder
    server.stdin.close()
    assert server.wait(10) == 0
    server.stdout.close()


async def test_scores_are_the_models(shared: tuple[ModelSpec, Path], tiny: Path) -> None:
    plain = RewardModel(str(tiny), device="cpu")
    values = [value("a"), value("b" * 40), value("")]
    async with serving(*shared) as model:
        outputs = await model.score(values, deadline=soon())
    for output, one in zip(outputs, values, strict=True):
        tokens = plain.encode(one).tokens
        assert output["score"] == pytest.approx(plain.run([tokens])[0], abs=1e-4)
        assert output["tokens"] == len(tokens)
        assert output["truncated"] is False


async def test_an_input_that_cannot_be_read_fails_alone(shared: tuple[ModelSpec, Path]) -> None:
    async with serving(*shared) as model:
        good, bad, odd, long = await model.score(
            [value("a"), {"messages": [{"role": "tool", "content": "x"}]}, {"no": "messages"}, value("x" * 900)],
            deadline=soon(),
        )
    assert "score" in good
    assert bad == {
        "error": "input",
        "message": "the model's chat template refuses the conversation: no tools here",
    }
    assert odd == {"error": "fault", "message": "the model failed: KeyError"}
    assert long["truncated"] is True
    assert long["tokens"] == 200


async def test_requests_of_all_clients_are_merged(shared: tuple[ModelSpec, Path]) -> None:
    async with serving(*shared) as one, serving(*shared) as other:
        before = await health(one)
        await asyncio.gather(*(m.score([value("same")], deadline=soon()) for m in (one, other) for _ in range(40)))
        assert (await health(one))["batches"] - before["batches"] < 40
        assert one._child is None
        assert other._child is None


async def health(model: LocalModel) -> Any:
    connector = aiohttp.UnixConnector(str(model.socket))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://model/healthz") as response:
        return await response.json()


async def test_what_is_no_request_is_refused_and_the_next_is_served(shared: tuple[ModelSpec, Path]) -> None:
    async with serving(*shared) as model:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(model.socket))) as session:
            for body in (b"", b"garbage", b"[]", b'{"inputs": 3}', b"\xff"):
                async with session.post("http://model/score", data=body) as response:
                    assert response.status == 400
        assert "score" in (await model.score([value("a")], deadline=soon()))[0]


async def test_a_client_that_gives_up_takes_its_inputs_along(tiny: Path, tmp_path: Path) -> None:
    async with serving(ModelSpec(str(tiny), device="cpu", latency_ms=3_000), tmp_path) as model:
        await model.score([value("a")], deadline=soon())
        with pytest.raises(ModelUnavailableError, match="the deadline passed before the model had scored it"):
            await model.score([value("b")], deadline=soon(0.5))
        await asyncio.sleep(4)
        assert (await health(model))["batches"] == 1


async def test_results_are_each_inputs_own_however_requests_are_merged(shared: tuple[ModelSpec, Path]) -> None:
    draw = random.Random(7)
    texts = ["".join(draw.choices("abc \n", k=draw.randint(0, 90))) for _ in range(150)]
    requests = [texts[at : at + size] for at, size in ((place, 1 + place % 4) for place in range(0, 150, 3))]
    async with serving(*shared) as one, serving(*shared) as other:
        alone = {text: (await one.score([value(text)], deadline=soon()))[0]["score"] for text in set(texts)}
        answers = await asyncio.gather(
            *((one, other)[n % 2].score([value(text) for text in some], deadline=soon())
              for n, some in enumerate(requests))
        )  # fmt: skip
    for some, outputs in zip(requests, answers, strict=True):
        assert [output["score"] for output in outputs] == pytest.approx([alone[text] for text in some], abs=1e-4)


async def test_more_connections_than_are_accepted_at_once(shared: tuple[ModelSpec, Path]) -> None:
    async with serving(*shared) as model:
        outputs = await asyncio.gather(*(model.score([value("a")], deadline=soon()) for _ in range(1_500)))
    assert all("score" in output for [output] in outputs)


@pytest.mark.parametrize(
    ("folder", "model", "message"),
    [
        ("x" * 120, "m", r"its socket's path has \d+ bytes, and Linux takes 107: move ASSAY_HOME to a shorter path"),
        ("file/models", "m", r"the model's process cannot be started: .*Not a directory"),
        ("models", "a\0b", "the model's process cannot be started: embedded null byte"),
        ("models", "--steps", "the model cannot be served: --steps: there is no such folder"),
    ],
)
async def test_what_cannot_be_started_says_why(tmp_path: Path, folder: str, model: str, message: str) -> None:
    (tmp_path / "file").touch()
    async with serving(ModelSpec(model, device="cpu"), tmp_path / folder) as local:
        with pytest.raises(ModelUnavailableError, match=message):
            await local.score([value("a")], deadline=soon())


async def test_a_folder_named_app_where_the_service_was_started_is_not_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('another application')")
    monkeypatch.chdir(tmp_path)
    async with serving(ModelSpec(str(tiny), device="cpu"), tmp_path / "models") as model:
        [output] = await model.score([value("a")], deadline=soon())
    assert "score" in output


async def test_a_killed_server_is_started_again_in_the_middle_of_a_request(tiny: Path, tmp_path: Path) -> None:
    spec = ModelSpec(str(tiny), device="cpu", latency_ms=1_000)
    async with serving(spec, tmp_path) as model, serving(spec, tmp_path) as other:
        first = await model.score([value("a"), value("bb")], deadline=soon())
        assert model._child is not None
        pid = model._child.pid
        under_way = [asyncio.create_task(m.score([value("a"), value("bb")], deadline=soon())) for m in (model, other)]
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        again = await asyncio.gather(*under_way)
        for outputs in again:
            assert [output["score"] for output in outputs] == pytest.approx([o["score"] for o in first], abs=1e-4)
        children = [m._child for m in (model, other) if m._child is not None and m._child.returncode is None]
        assert len(children) == 1  # they share the new one
        assert children[0].pid != pid


STARTER = """
import asyncio, sys, time
from pathlib import Path
from app.models.process import LocalModel, ModelSpec

async def main():
    model = LocalModel(ModelSpec(sys.argv[1], device="cpu"), Path(sys.argv[2]))
    await model.score([{"messages": [{"role": "user", "content": "x"}]}], deadline=time.monotonic() + 120)
    print(f"pid {model._child.pid}", file=sys.stderr, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_the_server_ends_with_its_starter_and_the_next_starts_another(tiny: Path, tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(STARTER)
    said = tmp_path / "said"
    with said.open("w") as stderr:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, script, str(tiny), str(tmp_path), stdout=subprocess.DEVNULL, stderr=stderr, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    while not (found := re.search(r"^pid (\d+)$", said.read_text(), re.MULTILINE)):
        assert starter.returncode is None, said.read_text()
        await asyncio.sleep(0.1)
    server = psutil.Process(int(found[1]))
    score = Path(f"/proc/{server.pid}/oom_score_adj")
    assert score.read_text().strip() == str(process.OOM_SCORE)  # noqa: ASYNC240 - of the kernel
    async with serving(ModelSpec(str(tiny), device="cpu"), tmp_path) as model:
        await model.score([value("a")], deadline=soon())
        assert model._child is None  # it is shared
        starter.kill()
        await starter.wait()
        await asyncio.to_thread(psutil.wait_procs, [server], 20)
        assert not server.is_running()
        await model.score([value("a")], deadline=soon())
        assert model._child is not None
        pid = model._child.pid
    assert not psutil.pid_exists(pid)


async def test_a_model_that_cannot_be_loaded_says_why_and_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with serving(ModelSpec(str(tmp_path / "none"), device="cpu"), tmp_path) as model:
        with pytest.raises(
            ModelUnavailableError, match=r"the model cannot be served: .*none: there is no such folder"
        ):
            await model.score([value("a")], deadline=soon())
        started = time.monotonic()
        with pytest.raises(ModelUnavailableError, match="there is no such folder"):
            await model.score([value("a")], deadline=soon())
        assert time.monotonic() - started < 1


async def test_without_the_extra_the_message_says_what_to_install(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden" / "torch"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    async with serving(ModelSpec(str(tiny), device="cpu"), tmp_path) as model:
        with pytest.raises(ModelUnavailableError) as caught:
            await model.score([value("a")], deadline=soon())
    assert str(caught.value) == (
        "the model cannot be served: torch is not installed, which serving a model takes: pip install 'assay[models]'"
    )


async def test_a_slow_load_is_waited_for_until_the_deadline(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys, time\nif '-m' in sys.orig_argv: time.sleep(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with serving(ModelSpec(str(tiny), device="cpu"), tmp_path) as model:
        started = time.monotonic()
        with pytest.raises(ModelUnavailableError, match="the model is still being loaded; ask again"):
            await model.score([value("a")], deadline=soon(0.5))
        assert 0.4 < time.monotonic() - started < 2
        [output] = await model.score([value("a")], deadline=soon())
        assert "score" in output


async def test_closing_while_it_loads_leaves_no_process(tiny: Path, tmp_path: Path) -> None:
    model = LocalModel(ModelSpec(str(tiny), device="cpu"), tmp_path)
    asking = asyncio.create_task(model.score([value("a")], deadline=soon()))
    while model._child is None:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.05)
    pid = model._child.pid
    await model.close()
    with pytest.raises(ModelUnavailableError):
        await asking
    assert not psutil.pid_exists(pid)


def test_the_services_own_settings_do_not_reach_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_SECRET_KEY", "secret")
    monkeypatch.setenv("HF_HOME", "/models")
    made = environment(3)
    assert not [name for name in made if name.startswith("ASSAY_")]
    assert made["HF_HOME"] == "/models"
    assert made["OMP_NUM_THREADS"] == "3"
