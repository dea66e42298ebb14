"""`assay serve`: how it says that it cannot start, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.cli.conftest import Assay
from tests.service import ROOT, Service


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ASSAY_PORT", "many", "ASSAY_PORT: Input should be a valid integer"),
        ("ASSAY_PORT", "70000", "ASSAY_PORT: Input should be less than or equal to 65535"),
        ("ASSAY_API_KEY", "short", "ASSAY_API_KEY: should have at least 16 characters"),
        ("ASSAY_LOG_LEVEL", "loud", "ASSAY_LOG_LEVEL: "),
    ],
)
def test_a_setting_that_is_wrong(
    bare_assay: Assay, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    ran = bare_assay("serve")
    assert ran.code == 1
    assert ran.err.startswith(said)
    assert ran.err.count("\n") == 1
    assert value not in ran.err or variable != "ASSAY_API_KEY"


def test_a_user_without_a_home(bare_assay: Assay, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("os.geteuid", lambda: 12345)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", unknown)
    ran = bare_assay("serve")
    assert ran.code == 1
    assert ran.err.startswith("ASSAY_HOME: ")


def start(tmp_path: Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom app.cli import main; main(['serve'])"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "ASSAY_HOME": str(tmp_path / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = start(tmp_path, ASSAY_PORT=str(port))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; set ASSAY_PORT")
    assert not (tmp_path / "home").exists()


def test_a_database_of_another_sort(tmp_path: Path) -> None:
    ran = start(tmp_path, ASSAY_PORT="1025", ASSAY_DATABASE_URL="mysql://someone:secret@localhost/x")
    assert ran.returncode == 1
    assert "ASSAY_DATABASE_URL" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr


def test_another_package_named_verifiers(tmp_path: Path) -> None:
    other = tmp_path / "site" / "verifiers"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    ran = start(tmp_path, code=f"import sys; sys.path.insert(0, {str(other.parent)!r})")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"the package 'verifiers' was found in {other.parent}")
    assert "make run" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_its_database(homes: Path, sign: signal.Signals) -> None:
    service = Service(homes / f"ended-{sign.name}").start()
    assert service.process is not None
    [running] = service.home.glob("**/postmaster.pid")
    service.process.send_signal(sign)
    assert service.process.wait(60) == 0
    assert not running.exists()
    assert "Traceback" not in service.log.read_text()
