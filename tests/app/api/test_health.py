"""/healthz, /readyz, /metrics, /docs: for whoever operates the service."""

from __future__ import annotations

import uuid

from prometheus_client.parser import text_string_to_metric_families

from tests.app.api.support import Project, ok, unique
from tests.service import Service
from verifiers.base import KINDS, load_kinds

load_kinds()


def test_the_process_answers_without_a_key(service: Service) -> None:
    assert ok(service.get("/healthz", key=None)) == {"status": "ok"}


def test_every_kind_has_proved_itself(service: Service) -> None:
    ready = ok(service.get("/readyz", key=None))
    assert (ready["status"], ready["database"]) == ("ready", True)
    assert ready["kinds"] == {kind: {"ready": True, "reason": None} for kind in KINDS}


def samples(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = service.get("/metrics", key=None)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_items_and_requests_are_counted(project: Project) -> None:
    correct = ("assay_items_total", frozenset({("kind", "text"), ("outcome", "correct")}))
    bad = ("assay_item_errors_total", frozenset({("kind", "text"), ("error", "bad_item")}))
    posts = ("assay_requests_total", frozenset({("method", "POST"), ("route", "/score"), ("status", "200")}))
    before = samples(project.service)
    project.score("text", {"completion": "a", "reference": "a"}, {"completion": "b", "reference": "b"}, None)
    after = samples(project.service)
    assert after[correct] - before.get(correct, 0) == 2
    assert after[bad] - before.get(bad, 0) == 1
    assert after[posts] - before.get(posts, 0) == 1


def test_metrics_name_routes_and_never_what_a_caller_sent(project: Project) -> None:
    canary = unique("canary")
    project.get(f"/scores/{uuid.uuid4()}")
    project.get(f"/{canary}")
    project.request(canary.upper(), "/score")
    project.request("GET", f"/verifiers/{canary}?{canary}={canary}")
    project.score({"kind": "text"}, {"completion": canary, "id": canary, "verifier": canary}, run=canary)
    project.post("/score", {"verifier": {"kind": canary}, "items": [None]})
    text = project.service.get("/metrics", key=None).body.decode()
    assert canary not in text.lower()
    routes = {dict(labels).get("route") for _, labels in samples(project.service)}
    assert "/scores/{id}" in routes
    assert "unknown" in routes


def test_no_request_leaves_bytes_in_flight(project: Project) -> None:
    project.score("text", {"completion": "x" * 100_000, "reference": "a"})
    project.post("/score", b"{" + b" " * 100_000)
    assert samples(project.service)["assay_in_flight_bytes", frozenset()] == 0


def test_the_api_can_be_read_in_a_browser_with_nothing_from_elsewhere(service: Service) -> None:
    page = service.get("/docs", key=None)
    assert page.status == 200
    assert b"https://" not in page.body
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/assets/{asset}".encode() in page.body
        assert len(service.get(f"/docs/assets/{asset}", key=None).body) > 10_000
