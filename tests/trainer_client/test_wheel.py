"""The wheel `assay-trainer`: what it holds, what it needs, and what importing it brings."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.service import ROOT
from tests.trainer_client.faulty import FaultyService

SOURCE = ROOT / "trainer_client"
SITE = next(path for path in sys.path if path.endswith("site-packages"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves its folders in the source."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content, and nothing else of this repository."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, program: str, *arguments: str) -> str:
    """The output of a program that sees the wheel and the packages of the environment, and not the repository."""
    start = f"import sys; sys.path = [p for p in sys.path if p] + [{str(installed)!r}, {SITE!r}]\n"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program, *arguments],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_it_holds_every_module_its_licence_and_its_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in SOURCE.rglob("*.py") if "build" not in path.parts}
    assert modules <= names
    assert "trainer_client/py.typed" in names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"trainer_client"}
    (licence,) = (name for name in names if name.endswith("licenses/LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_it_needs_an_http_client_and_pydantic(installed: Path) -> None:
    (folder,) = installed.glob("*.dist-info")
    distribution = PathDistribution(folder)
    needed = [line for line in distribution.requires or [] if "extra ==" not in line]
    assert {line.split(">")[0] for line in needed} == {"aiohttp", "pydantic"}
    assert distribution.metadata["Name"] == "assay-trainer"
    assert distribution.metadata["License-Expression"] == "Apache-2.0"
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    assert distribution.version == project["version"]


def test_importing_it_brings_no_torch_and_nothing_of_the_service(installed: Path, faulty: FaultyService) -> None:
    program = """
import pkgutil, importlib, trainer_client
assert trainer_client.__file__.startswith(sys.argv[1]), trainer_client.__file__
assert "aiohttp" not in sys.modules and "pydantic" not in sys.modules
adapters = importlib.import_module("trainer_client.adapters")
for module in pkgutil.iter_modules(adapters.__path__):
    importlib.import_module(f"trainer_client.adapters.{module.name}")
with trainer_client.RewardClient(sys.argv[2], "key") as client:
    assert client.score_one("text", "abc").score == 3
unwanted = {"torch", "numpy", "transformers", "app", "sandbox", "verifiers", "trl", "verl", "swift", "skyrl_gym"}
print(sorted(unwanted & set(sys.modules)))
"""
    assert run(installed, program, str(installed), faulty.url) == "[]\n"


def test_importing_it_imports_nothing_that_is_installed(installed: Path) -> None:
    """What takes time is the packages it needs; they are imported when a client is made."""
    program = """
import trainer_client
site = [m for m in sys.modules.values() if (getattr(m, "__file__", None) or "").startswith(sys.argv[1])]
print([m.__name__ for m in site])
"""
    assert run(installed, program, SITE) == "[]\n"
