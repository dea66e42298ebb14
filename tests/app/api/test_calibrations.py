"""POST /verifiers/{name}/calibrations: agreement with labels, kept with the version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.support import Project, ok, problem


def labelled(*pairs: tuple[str, bool]) -> dict[str, Any]:
    return {"items": [{"completion": text, "reference": "42", "label": label} for text, label in pairs]}


def test_agreement_is_measured_and_kept(project: Project) -> None:
    ok(project.post("/verifiers", {"name": "mine", "kind": "math", "config": {"answer": "boxed"}}), 201)
    body = labelled(("\\boxed{42}", True), ("\\boxed{42.0}", True), ("\\boxed{41}", False), ("\\boxed{42}", False))
    report = ok(project.post("/verifiers/mine/calibrations", body), 201)
    assert report["verifier"] == "mine@1"
    assert (report["count"], report["unscored"], report["threshold"]) == (4, 0, 0.5)
    assert report["confusion"] == {"true_accepts": 2, "false_accepts": 1, "true_rejects": 1, "false_rejects": 0}
    assert (report["agreement"], report["kappa"]) == (0.75, 0.5)
    assert ok(project.get("/verifiers/mine"))["reports"] == {"calibration": report}
    assert project.scores() == []


def test_the_last_calibration_counts_and_each_version_has_its_own(project: Project) -> None:
    ok(project.post("/verifiers", {"name": "mine", "kind": "math", "config": {"answer": "boxed"}}), 201)
    ok(project.post("/verifiers/mine/calibrations", labelled(("1", True), ("\\boxed{42}", False))), 201)
    last = ok(project.post("/verifiers/mine@1/calibrations", labelled(("\\boxed{42}", True), ("1", False))), 201)
    assert ok(project.get("/verifiers/mine@1"))["reports"] == {"calibration": last}
    ok(project.post("/verifiers", {"name": "mine", "kind": "math", "config": {"answer": "whole"}}), 201)
    assert ok(project.get("/verifiers/mine"))["reports"] == {}


def test_a_built_in_verifier_is_calibrated_for_one_project(project: Project, default_project: Project) -> None:
    ok(project.post("/verifiers/math/calibrations", labelled(("42", True), ("1", False))), 201)
    assert "calibration" in ok(project.get("/verifiers/math"))["reports"]
    assert ok(default_project.get("/verifiers/math"))["reports"] == {}


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({}, "/items", "Field required"),
        ({"items": []}, "/items", "at least 2"),
        ({"items": [{"completion": "1", "label": 1}] * 2}, "/items/0/label", "valid boolean"),
        (labelled(("42", True), ("42", True)), "/items", "must be right ones and wrong ones"),
        (
            {"items": [{"completion": "1", "reference": "", "label": label} for label in (True, False)]},
            "/items",
            "2 could not be scored, the first because reference: the answer is empty",
        ),
        ({**labelled(("42", True), ("1", False)), "aim": "best"}, "/aim", "Input should be"),
    ],
)
def test_what_cannot_be_measured_is_refused(project: Project, body: Any, pointer: str, said: str) -> None:
    refused = problem(project.post("/verifiers/math/calibrations", body), 422, "invalid-body", pointer)
    assert said in refused["detail"]


def test_it_takes_the_scope_to_register(project: Project) -> None:
    body = labelled(("42", True), ("1", False))
    problem(project.post("/verifiers/math/calibrations", body, key=project.new_key("score")), 403, "forbidden")
    problem(project.post("/verifiers/none/calibrations", body), 404, "unknown-verifier")
