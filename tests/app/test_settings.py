"""The settings, and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import annotated_types
import pytest
from pydantic import ValidationError

from app.settings import Settings, default_cells, default_home

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
OF_COMMANDS = {"ASSAY_URL"}
"""Variables of the command line, which the service does not read."""

BOUNDED = {
    name: (low, high)
    for name, field in Settings.model_fields.items()
    for low in (constraint.ge for constraint in field.metadata if isinstance(constraint, annotated_types.Ge))
    for high in (constraint.le for constraint in field.metadata if isinstance(constraint, annotated_types.Le))
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def variable(name: str) -> str:
    return f"ASSAY_{name.upper()}"


def rows() -> dict[str, list[str]]:
    """The cells of the page's table, by variable."""
    table = (re.split(r" \| ", line.strip("| ")) for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    return {cells[0].strip("`"): cells[1:] for cells in table}


def test_the_page_lists_every_setting_and_no_other() -> None:
    assert list(rows()) == [variable(name) for name in Settings.model_fields]
    mentioned = set(re.findall(r"\bASSAY_[A-Z_]+\b", PAGE.read_text()))
    assert mentioned == {variable(name) for name in Settings.model_fields} | OF_COMMANDS


def test_the_page_states_each_default() -> None:
    for name, field in Settings.model_fields.items():
        stated = rows()[variable(name)][0]
        if field.default is None:
            assert stated.startswith("unset"), name
        elif field.default_factory is None:
            assert stated == f"`{str(field.default).lower()}`", name
    assert "/var/lib/assay" in rows()["ASSAY_HOME"][0]
    assert ".local/share/assay" in rows()["ASSAY_HOME"][0]
    assert "twice the cores" in rows()["ASSAY_SANDBOX_CELLS"][0]


def test_the_page_states_each_bound() -> None:
    for name, (low, high) in BOUNDED.items():
        assert rows()[variable(name)][1] == f"{low} to {high}", name


def test_every_setting_describes_itself() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_every_number_is_bounded() -> None:
    numbers = {name for name, field in Settings.model_fields.items() if field.annotation is int}
    assert numbers == set(BOUNDED)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = BOUNDED[name]
    for inside in (low, high):
        monkeypatch.setenv(variable(name), str(inside))
        assert getattr(Settings(), name) == inside
    for outside in (int(str(low)) - 1, int(str(high)) + 1, "x", "1.5"):
        monkeypatch.setenv(variable(name), str(outside))
        with pytest.raises(ValidationError, match=name):
            Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_level", "loud"),
        ("log_json", "perhaps"),
        ("api_key", "x" * 15),
        ("sandbox", "none"),
        ("sandbox_image", "--privileged"),
        ("sandbox_image", "image with spaces"),
        ("sandbox_runtime", "-v"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(variable(name), "")
    assert Settings() == expected


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_API_KEY", "k" * 20)
    monkeypatch.setenv("ASSAY_DATABASE_URL", "postgresql://u:sesame@h/d")
    shown = repr(Settings()) + str(Settings()) + Settings().model_dump_json()
    assert "kkkk" not in shown
    assert "sesame" not in shown


def test_data_goes_where_the_system_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.settings.os.geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/assay")
    monkeypatch.setattr("app.settings.os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_home() == tmp_path / ".local" / "share" / "assay"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_home() == tmp_path / "data" / "assay"


def test_there_are_two_cells_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.settings.os.sched_getaffinity", lambda _: {0, 3, 4})
    assert default_cells() == Settings().sandbox_cells == 6
    monkeypatch.setenv("ASSAY_SANDBOX_CELLS", "5")
    assert Settings().sandbox_cells == 5


@pytest.mark.parametrize("image", ["assay-sandbox:0.1.0", "registry.example:5000/team/image@sha256:0123abcd"])
def test_an_image_is_named_as_docker_does(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_SANDBOX_IMAGE", image)
    assert Settings().sandbox_image == image
