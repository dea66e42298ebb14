"""Every command that README.md and docs/ tell a reader to type is typed here, against a live service."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service import KEY, ROOT, Service, free_port

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    """The code blocks of a language on every page, as test parameters."""
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, (found, code) in enumerate(BLOCK.findall(page.read_text()))
        if found == language
    ]


def environment(service: Service) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ASSAY_URL": service.url,
        "ASSAY_API_KEY": service.key,
        "ASSAY_HOME": str(service.home),
        "ASSAY_PORT": str(service.port),
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what commands refer to, so that they write nothing into the project."""
    for name in ("examples", "bench", "Makefile"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    return tmp_path


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell_block_works(code: str, service: Service, checkout: Path) -> None:
    if code.startswith("make "):
        for line in code.splitlines():
            target = line.split("#")[0].split()[1]
            subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
        return
    command = code.replace("http://127.0.0.1:8000", service.url)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=checkout,
        env=environment(service),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "urn:assay:problem" not in result.stdout + result.stderr


@pytest.mark.parametrize("code", blocks("python"))
def test_python_block_works(code: str, service: Service) -> None:
    use = (
        "print(reward(['2+2?', '2+2?'], ['\\\\boxed{4}', '\\\\boxed{5}'], ['4', '4']))"
        if "def reward" in code
        else ""
    )
    result = subprocess.run(
        [sys.executable, "-c", code + "\n" + use],
        env=environment(service),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    if use:
        assert result.stdout.strip() == "[1.0, 0.0]"


def test_make_run_ends_with_a_first_score(homes: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "ASSAY_HOME": str(homes / "make-run"), "ASSAY_PORT": str(port)}
    environment.pop("ASSAY_API_KEY", None)
    environment["http_proxy"] = "http://127.0.0.1:9"  # nobody's: the key and the score take no detour
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        limit = time.monotonic() + 300
        while "batch_id" not in log.read_text() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.2)
        said = log.read_text()
        assert '"outcome":"correct"' in said, said
        [command] = re.findall(r"^curl .*?'$", said, re.MULTILINE | re.DOTALL)
        repeated = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert '"outcome":"correct"' in repeated.stdout
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert KEY not in log.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_what_the_readme_trains_is_what_the_training_page_trains() -> None:
    """The page's commands take minutes, and tests/trainer_client/test_training_page.py runs them."""
    page = (ROOT / "docs/training/README.md").read_text()
    commands = re.findall(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in commands for line in block.splitlines()]
    assert lines
    assert [line for line in lines if line not in page] == []
