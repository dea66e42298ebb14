"""SQL on PostgreSQL through a live service: its second server is started for the first item that wants it."""

from __future__ import annotations

import pytest

from tests.service import Service


def test_a_service_scores_sql_in_both_dialects(service: Service) -> None:
    sandbox = service.get("/readyz", key=None).json()["kinds"]["sql"]
    if not sandbox["ready"]:
        pytest.skip(f"no sandbox: {sandbox['reason']}")
    reference = {"query": "SELECT 1 WHERE true", "setup": "CREATE TABLE t (a INTEGER)"}
    for dialect, tell in (
        ("sqlite", "SELECT 1"),
        ("postgresql", "SELECT 1 FROM pg_database WHERE datname = 'assay'"),
    ):
        answer = service.score(
            {"kind": "sql", "config": {"dialect": dialect}},
            {"completion": "SELECT count(*) + 1 FROM t", "reference": reference},
            {"completion": "SELECT 2", "reference": reference},
            {"completion": tell, "reference": reference},
        )
        storage_is_far = 1.0 if dialect == "sqlite" else 0.0
        assert [item["score"] for item in answer["items"]] == [1.0, 0.0, storage_is_far], answer
