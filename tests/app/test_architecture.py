"""Rules of the code as a whole: what imports what, what is never called, what is documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from app import metrics
from app.errors import PROBLEMS
from app.store.tables import metadata
from verifiers.base import ErrorType, Outcome

ROOT = Path(__file__).parents[2]
OURS = sorted(path for package in ("app", "verifiers", "migrations") for path in (ROOT / package).rglob("*.py"))
SERVICE = [path for path in OURS if path.parts[len(ROOT.parts)] in ("app", "verifiers")]

NEVER_CALLED = {"eval", "exec", "compile", "__import__", "sympify", "parse_expr", "lambdify", "execfile"}
"""They run what they are given as Python, or build it."""
NEVER_IMPORTED = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "codeop"}
HARMLESS = {("re", "compile"), ("re2", "compile"), ("regex", "compile")}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|TRUNCATE|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|DATABASE|ROLE)"
    r"|COPY\s.+\s(FROM|TO))\b",
    re.DOTALL,
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), name(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What is called: the object's name, where it has one, and the function's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield "", node.func.id
            elif isinstance(node.func, ast.Attribute):
                owner = node.func.value
                yield owner.id if isinstance(owner, ast.Name) else "?", node.func.attr


def texts(tree: ast.Module) -> Iterator[str]:
    """String constants that are no docstrings; the parts of an f-string joined."""
    prose: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_there_is_something_to_look_at() -> None:
    assert len(SERVICE) > 50
    assert any(SQL.search(text) for path in OURS for text in texts(parsed(path)))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("eval('1')", True),
        ("import pickle", True),
        ("from marshal import loads", True),
        ("sympy.sympify(x)", True),
        ("parse_expr(x)", True),
        ("builtins.exec(x)", True),
        ("re.compile(x)", False),
        ("evaluate(x)", False),
        ("create_subprocess_exec(x)", False),
        ("from app.store import codes", False),
    ],
)
def test_the_scan_finds_what_it_is_for(source: str, found: bool) -> None:
    assert bool(list(forbidden(ast.parse(source)))) == found


def forbidden(tree: ast.Module) -> Iterator[str]:
    yield from (
        f"calls {call}" for owner, call in called(tree) if call in NEVER_CALLED and (owner, call) not in HARMLESS
    )
    yield from (f"imports {module}" for module in imported(tree) if module.split(".")[0] in NEVER_IMPORTED)
    yield from (
        f"imports {module}" for module in imported(tree) if module.split(".")[-1] in NEVER_CALLED - {"compile"}
    )


def test_nothing_runs_text_as_code() -> None:
    assert {name(path): faults for path in SERVICE if (faults := list(forbidden(parsed(path))))} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1 AS x FROM y", True),
        ("INSERT INTO x", True),
        ("DROP TABLE x", True),
        ("select a model from the list", False),
        ("the database cannot be reached", False),
        ("COPY x (a) FROM STDIN", True),
    ],
)
def test_sql_is_told_from_prose(text: str, found: bool) -> None:
    assert bool(SQL.search(text)) == found


def test_sql_lives_in_the_store() -> None:
    drivers = {
        "asyncpg",
        "psycopg",
        *(f"sqlalchemy.{verb}" for verb in ("select", "text", "insert", "update", "delete")),
    }
    homes = {ROOT / "app" / "store", ROOT / "app" / "scratch"}
    elsewhere = [path for path in SERVICE if homes.isdisjoint(path.parents)]
    assert len(elsewhere) < len(SERVICE)
    for path in elsewhere:
        tree = parsed(path)
        if ROOT / "verifiers" / "sql" not in path.parents:  # it verifies SQL, in databases that are not the service's
            assert [text for text in texts(tree) if SQL.search(text)] == [], name(path)
        assert set(imported(tree)) & drivers == set(), name(path)


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


def test_every_module_says_what_it_is() -> None:
    silent = [name(path) for path in OURS if path.read_text().strip() and not ast.get_docstring(parsed(path))]
    assert silent == []


# --- the pages


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a column heading, by their first cell."""
    lines = iter((ROOT / "docs" / page).read_text().splitlines())
    rows = [next(line for line in lines if line.startswith("|") and heading in line)]
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[2:]]
    return {first: others for first, *others in cells}


def test_every_problem_is_on_its_page_with_its_status() -> None:
    stated = {first.strip("`"): status for first, (status, *_) in table("errors.md", "urn:assay:problem:").items()}
    assert stated == {problem: str(type.status) for problem, type in PROBLEMS.items()}


def test_every_problem_is_raised_somewhere() -> None:
    used = {text for path in SERVICE if path.name != "errors.py" for text in texts(parsed(path))}
    assert set(PROBLEMS) - used == set()


def test_every_error_type_is_on_its_page() -> None:
    stated = {first.strip("`") for first in table("verdicts.md", "`error.type`")}
    assert stated == {str(type) for type in ErrorType}


def test_every_outcome_is_on_its_page() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text()
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    assert {str(outcome) for outcome in Outcome} <= listed


def test_every_metric_says_what_it_counts() -> None:
    ours = [family for family in REGISTRY.collect() if family.name.startswith("assay_")]
    assert len(ours) >= 9
    for family in ours:
        assert len(family.documentation) > 10, family.name
        assert family.documentation.endswith("."), family.name
    assert {family.name for family in ours} == {
        value._name for value in vars(metrics).values() if hasattr(value, "_documentation")
    }


def test_labels_of_metrics_name_nothing_of_a_caller() -> None:
    labels = {
        label for value in vars(metrics).values() if hasattr(value, "_labelnames") for label in value._labelnames
    }
    assert labels == {"method", "route", "status", "kind", "outcome", "error", "backend", "project", "verifier"}


def test_caller_text_is_stored_as_bytes() -> None:
    """PostgreSQL's text refuses NUL and lone surrogates; what is text here is ours, or checked on its way in."""
    as_text = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if str(column.type) in ("TEXT", "VARCHAR")
    }
    assert as_text == {
        "projects.name", "projects.keep", "keys.name", "keys.hint", "verifiers.name", "verifier_versions.kind",
        "scores.run", "scores.outcome", "outcomes.run", "idempotency.key",
        "backends.name", "backends.type", "backends.url", "reports.type",
        "runs.name", "runs.status", "run_metrics.name", "run_samples.finish_reason", "run_alarms.name",
    }  # fmt: skip
