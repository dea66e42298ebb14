"""Keys, projects, verifiers and scores from the command line, and how every command fails."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.output import printable
from tests.app.cli.conftest import Assay
from tests.service import ROOT, Service, free_port


def test_version(bare_assay: Assay) -> None:
    assert bare_assay("--version").out.strip() == version("assay")


def test_help_names_every_command(bare_assay: Assay) -> None:
    said = bare_assay("--help").out
    for command in (
        "serve",
        "score",
        "verifiers",
        "backends",
        "keys",
        "projects",
        "project",
        "scores",
        "sandbox",
        "doctor",
    ):
        assert f" {command} " in said


def test_a_start_imports_nothing_heavy() -> None:
    heavy = ["aiohttp", "asyncpg", "fastapi", "pydantic", "rich", "sqlalchemy", "structlog", "sympy", "uvicorn"]
    code = f"import sys, app.cli; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


class TestKeys:
    def test_life_of_a_key(self, assay: Assay) -> None:
        made = assay("keys", "create", "trainer", "--scope", "score", "--scope", "read")
        assert made.code == 0
        secret = made.out.strip()
        assert assay("scores", "--key", secret).code == 0
        assert "lacks the scope 'admin'" in assay("keys", "list", "--key", secret).err

        listed = assay("keys", "list", "--json").json_lines()
        [key] = [key for key in listed if key["name"] == "trainer"]
        assert (sorted(key["scopes"]), key["revoked_at"]) == (["read", "score"], None)
        assert secret.endswith(key["hint"])
        table = assay("keys", "list").out
        assert key["id"] in table
        assert secret not in table

        assert assay("keys", "revoke", key["id"]).code == 0
        assert assay("keys", "list", "--json").json_lines()[-1]["revoked_at"] is not None
        refused = assay("scores", "--key", secret)
        assert refused.code == 1
        assert "check --key or ASSAY_API_KEY" in refused.err

    def test_scopes_are_the_services_default_where_none_is_given(self, assay: Assay) -> None:
        assay("keys", "create", "plain")
        assert sorted(assay("keys", "list", "--json").json_lines()[-1]["scopes"]) == ["read", "score"]

    def test_unknown_scope_and_id(self, assay: Assay) -> None:
        assert "/scopes/0" in assay("keys", "create", "x", "--scope", "everything").err
        assert assay("keys", "revoke", "not-an-id").code == 1
        assert "no key" in assay("keys", "revoke", "00000000-0000-7000-8000-000000000000").err


class TestBackends:
    def test_life_of_a_backend(self, assay: Assay, service: Service) -> None:
        name, port = f"made-{free_port()}-{id(assay)}", free_port()
        where = [f"http://127.0.0.1:{port}/", "--key", service.key]
        private = assay("backends", "add", name, *where)
        assert private.code == 1
        assert "allow_private: true" in private.err
        made = assay("backends", "add", name, *where, "--allow-private", "--limits", '{"retries": 0}')
        assert (made.code, made.out) == (0, ""), made.err
        [listed] = [
            one
            for one in assay("backends", "list", "--json", "--key", service.key).json_lines()
            if one["name"] == name
        ]
        assert (listed["limits"]["retries"], listed["allow_private"]) == (0, True)
        assert name in assay("backends", "list", "--key", service.key).out
        asked = assay("backends", "test", name, "--key", service.key)
        assert (asked.code, asked.err) == (1, f"the backend {name} cannot be reached\n")
        assert assay("backends", "remove", name, "--key", service.key).code == 0
        assert "no backend" in assay("backends", "remove", name, "--key", service.key).err

    def test_a_chat_model(self, assay: Assay, service: Service) -> None:
        name, port = f"made-{free_port()}-{id(assay)}", free_port()
        add = ["backends", "add", name, f"http://127.0.0.1:{port}/v1", "--allow-private", "--key", service.key]
        assert "needs its model" in assay(*add, "--type", "chat").err
        assert "type chat" in assay(*add, "--model", "tiny").err
        assert assay(*add, "--type", "chat", "--chat", "[]").err == "--chat is a JSON object\n"
        options = ["--type", "chat", "--model", "tiny", "--rpm", "60", "--tpm", "9000", "--price-in", "0.4"]
        made = assay(*add, *options, "--price-out", "1.6", "--chat", '{"logprobs": "no"}')
        assert made.code == 0, made.err
        [listed] = [
            one
            for one in assay("backends", "list", "--json", "--key", service.key).json_lines()
            if one["name"] == name
        ]
        assert listed["chat"] == {
            "model": "tiny", "price_in": 0.4, "price_out": 1.6, "json_schema": "auto", "logprobs": "no"
        }  # fmt: skip
        assert listed["limits"]["requests_per_minute"] == 60
        assert listed["limits"]["tokens_per_minute"] == 9000
        assert "tiny" in assay("backends", "list", "--key", service.key).out
        asked = assay("backends", "test", name, "--key", service.key)
        assert (asked.code, asked.err) == (1, f"the backend {name} cannot be reached\n")
        assert assay("backends", "remove", name, "--key", service.key).code == 0

    def test_what_cannot_be_added(self, assay: Assay, service: Service) -> None:
        add = ["backends", "add", "x", "https://verifier.example.com/", "--key", service.key]
        assert "--header looks like NAME=VALUE" in assay(*add, "--header", "X-Key").err
        assert assay(*add, "--limits", "{").code == 2
        refused = assay(*add, "--bearer", "sk-123", "--header", "X-A=b")
        assert refused.code == 1
        assert "ASSAY_SECRET_KEY" in refused.err
        assert "sk-123" not in refused.err
        assert "project 'default'" in assay("backends", "list").err


class TestProjects:
    def test_life_of_a_project(self, assay: Assay, service: Service) -> None:
        name = f"made-{free_port()}-{id(assay)}"
        made = assay("projects", "create", name, "--keep", "hash", "--retention-days", "30", "--key", service.key)
        assert made.code == 0
        secret = made.out.strip()
        assert name in assay("projects", "list", "--key", service.key).out

        shown = assay("project", "show", "--key", secret).json()
        assert (shown["name"], shown["keep"], shown["retention_days"]) == (name, "hash", 30)
        changed = assay("project", "change", "--keep", "none", "--key", secret).json()
        assert (changed["keep"], changed["retention_days"]) == ("none", 30)
        changed = assay("project", "change", "--retention-days", "never", "--key", secret).json()
        assert (changed["keep"], changed["retention_days"]) == ("none", None)

        again = assay("projects", "create", name, "--key", service.key)
        assert again.code == 1
        assert "exists" in again.err

    def test_what_cannot_be_a_policy(self, assay: Assay) -> None:
        assert assay("project", "change").code == 2
        assert assay("project", "change", "--retention-days", "soon").code == 2
        assert "/retention_days" in assay("project", "change", "--retention-days", "0").err
        assert "/keep" in assay("project", "change", "--keep", "some").err
        assert assay("project", "show").json()["keep"] == "full"

    def test_another_projects_key_is_no_operators(self, assay: Assay) -> None:
        assert "project 'default'" in assay("projects", "list").err


class TestVerifiers:
    def test_life_of_a_verifier(self, assay: Assay, tmp_path: Path) -> None:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"pattern": "thanks"}))
        examples = tmp_path / "examples.jsonl"
        examples.write_text('{"completion": "thanks", "expect": 1}\n\n{"completion": "no", "expect": "<1"}\n')
        register = ["verifiers", "add", "polite", "--kind", "regex", "--config", f"@{config}"]
        first = assay(*register, "--description", "It thanks.", "--examples", examples)
        assert (first.code, first.out) == (0, "polite@1 is registered\n"), first.err
        assert assay(*register).out == "polite@1 has this configuration already\n"
        second = assay("verifiers", "add", "polite", "--kind", "regex", "--config", '{"pattern": "thank you"}')
        assert second.out == "polite@2 is registered\n"

        listed = {item["name"]: item for item in assay("verifiers", "list", "--json").json_lines()}
        assert listed["polite"]["version"] == 2
        assert listed["math"]["builtin"]
        assert "polite" in assay("verifiers", "list").out
        assert assay("verifiers", "show", "polite").json()["config"]["pattern"] == "thank you"
        shown = assay("verifiers", "show", "polite@1").json()
        assert (shown["config"]["pattern"], shown["description"]) == ("thanks", "It thanks.")
        assert len(shown["examples"]) == 2

    def test_what_cannot_be_registered(self, assay: Assay, tmp_path: Path) -> None:
        add = ["verifiers", "add", "x", "--kind", "regex"]
        broken = assay(*add, "--config", '{"pattern": "("}')
        assert broken.code == 1
        assert "(at /config/pattern)" in broken.err
        assert assay(*add, "--config", "{").code == 2
        assert "cannot be read" in assay(*add, "--config", f"@{tmp_path / 'none'}").err
        examples = tmp_path / "examples.jsonl"
        examples.write_text('{"completion": "a", "expect": 1}\n{"completion": "b", "expect": 1}\n')
        wrong = assay(*add, "--config", '{"pattern": "a"}', "--examples", examples)
        assert wrong.code == 1
        assert "/examples/1" in wrong.err
        examples.write_text('{"completion": "a", "expect": 1}\nnonsense\n')
        assert "line 2" in assay(*add, "--config", '{"pattern": "a"}', "--examples", examples).err

    def test_unknown(self, assay: Assay) -> None:
        shown = assay("verifiers", "show", "nothing@7")
        assert shown.code == 1
        assert "No such verifier" in shown.err


class TestScores:
    def test_filters(self, assay: Assay, service: Service, project_key: str) -> None:
        items = [{"id": f"i{n}", "completion": str(n), "reference": "3"} for n in range(5)]
        service.post("/score", {"verifier": "math", "items": items, "run": "r1", "step": 7}, key=project_key)
        service.post("/score", {"verifier": "text", "items": items[:2], "run": "r2"}, key=project_key)

        def ids(*filters: str) -> list[str]:
            return sorted(row["item_id"] for row in assay("scores", "--json", *filters).json_lines())

        assert len(ids()) == 7
        assert ids("--run", "r1", "--outcome", "correct") == ["i3"]
        assert ids("--verifier", "text@1") == ["i0", "i1"]
        assert ids("--min-score", "0.5") == ["i3"]
        assert len(ids("--max-score", "0.5")) == 6
        assert ids("--since", "2100-01-01") == []
        assert ids("--until", "2000-01-01T00:00:00+02:00") == []
        assert len(ids("--limit", "2")) == 2
        [row] = assay("scores", "--run", "r1", "--outcome", "correct", "--json").json_lines()
        table = assay("scores", "--run", "r1", "--outcome", "correct").out
        for shown in (row["id"], "math@1", "correct", "r1", "7", "i3"):
            assert shown in table

    def test_more_than_a_page(
        self, assay: Assay, service: Service, project_key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = [{"id": str(n), "completion": "a", "reference": "a"} for n in range(10)]
        service.post("/score", {"verifier": "text", "items": items}, key=project_key)
        monkeypatch.setattr("app.http_client.PAGE", 3)
        newest = [str(n) for n in reversed(range(10))]
        for limit in (1, 3, 7, 10, 50):
            listed = assay("scores", "--json", "--limit", str(limit)).json_lines()
            assert [row["item_id"] for row in listed] == newest[:limit]

    def test_a_callers_text_does_nothing_to_the_terminal(
        self, assay: Assay, service: Service, project_key: str
    ) -> None:
        items = [{"id": "\x1b[31mred\u202e\ud800[bold]", "completion": "a", "reference": "a"}]
        service.post("/score", {"verifier": "text", "items": items}, key=project_key)
        table = assay("scores").out
        assert "\\x1b[31mred\\u202e\\ud800[bold]" in table
        assert "\x1b" not in table

    def test_a_filter_that_is_none(self, assay: Assay) -> None:
        assert "/outcome" in assay("scores", "--outcome", "splendid").err
        assert assay("scores", "--limit", "0").code == 2


@given(st.text(st.characters()))
def test_printable_shows_any_text_on_one_line(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


class TestNoService:
    def test_no_key(self, bare_assay: Assay) -> None:
        ran = bare_assay("keys", "list")
        assert ran.code == 2
        assert "ASSAY_API_KEY" in ran.err

    @pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "\x00"])
    def test_a_key_that_is_none(self, bare_assay: Assay, key: str) -> None:
        assert bare_assay("keys", "list", "--key", key).code == 2

    def test_wrong_key(self, assay: Assay) -> None:
        ran = assay("verifiers", "list", "--key", "assay_wrong")
        assert ran.code == 1
        assert ran.err == "No valid API key: this API key is unknown or revoked; check --key or ASSAY_API_KEY\n"

    def test_nothing_listens(self, bare_assay: Assay, monkeypatch: pytest.MonkeyPatch) -> None:
        port = free_port()
        monkeypatch.setenv("ASSAY_PORT", str(port))
        ran = bare_assay("keys", "list", "--key", "any")
        assert ran.code == 1
        assert ran.err == (
            f"nothing answers at http://127.0.0.1:{port} (Connection refused): "
            "start the service with 'assay serve', or name it with --url or ASSAY_URL\n"
        )

    @pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://", "http://a..b:99999"])
    def test_what_is_no_url(self, bare_assay: Assay, url: str) -> None:
        ran = bare_assay("keys", "list", "--key", "any", "--url", url)
        assert ran.code in (1, 2)
        assert "http://host:8000" in ran.err

    def test_the_settings_name_the_service(self, bare_assay: Assay, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASSAY_PORT", "none")
        ran = bare_assay("keys", "list", "--key", "any")
        assert ran.code == 1
        assert "ASSAY_PORT: " in ran.err

    def test_another_service(self, bare_assay: Assay, service: Service) -> None:
        # the path of a page: an answer, but no JSON
        ran = bare_assay("keys", "list", "--key", service.key, "--url", f"{service.url}/docs?")
        assert ran.code == 1
        assert "not as Assay does" in ran.err
