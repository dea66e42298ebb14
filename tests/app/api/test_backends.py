"""/backends: the operator's alone, keys that nobody sees again, and verifiers that ask them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app.api.json_server import JsonServer
from tests.app.api.support import Project, database_of, ok, problem, rows_with, unique
from tests.service import Service

SECRET_KEY = "a-secret-key-of-the-tests-0123456789"


class Judge(http.server.BaseHTTPRequestHandler):
    """Scores an item 1 where its completion is its reference, and keeps what it was asked."""

    asked: list[tuple[dict[str, str], Any]]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((dict(self.headers), body))
        items = [{"id": i["id"], "score": i["completion"] == i["reference"]} for i in body["items"]]
        content = json.dumps({"items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def judge() -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A verifier's URL, and what it was asked."""
    asked: list[tuple[dict[str, str], Any]] = []
    handler = type("Handler", (Judge,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/verify", asked
        server.shutdown()


def add(operator: Project, url: str, **more: Any) -> Any:
    return ok(operator.post("/backends", {"name": unique("b"), "url": url, "allow_private": True, **more}), 201)


def test_life_of_a_backend(default_project: Project, project: Project, judge: tuple[str, list[Any]]) -> None:
    url, asked = judge
    made = add(default_project, url, limits={"retries": 0})
    assert (made["type"], made["url"], made["headers"], made["archived_at"]) == ("verifier", url, {}, None)
    assert (made["limits"]["retries"], made["limits"]["concurrency"]) == (0, 8)
    assert made in list(default_project.pages("/backends", limit=1))
    problem(default_project.post("/backends", {"name": made["name"], "url": url}), 422, "invalid-body", "/url")
    again = {"name": made["name"], "url": url, "allow_private": True}
    problem(default_project.post("/backends", again), 409, "conflict", "/name")

    tested = ok(default_project.post(f"/backends/{made['name']}/test"))
    assert (tested["ok"], tested["message"]) == (True, "it gave the score 1.0"), tested

    name = unique("v")
    config = {"backend": made["name"], "batch": 2}
    registered = project.post(
        "/verifiers",
        {
            "name": name,
            "kind": "remote",
            "config": config,
            "examples": [{"completion": "a", "reference": "a", "expect": 1}],
        },
    )
    ok(registered, 201)
    items = [{"id": str(n), "completion": str(n), "reference": "2"} for n in range(5)]
    scored = project.score(name, *items)["items"]
    assert [item["score"] for item in scored] == [0, 0, 1, 0, 0]
    assert scored[2]["detail"] == {"stage": "remote", "backend": made["name"]}
    assert [len(body["items"]) for _, body in asked[-3:]] in ([2, 2, 1], [2, 1, 2], [1, 2, 2])
    inline = project.score({"kind": "remote", "config": config}, items[2])
    assert inline["items"][0]["score"] == 1.0

    gone = ok(default_project.delete(f"/backends/{made['name']}"))
    assert gone["archived_at"] is not None
    [item] = project.score(name, items[2])["items"]
    assert (item["score"], item["error"]["type"]) == (None, "backend_unavailable")
    problem(default_project.delete(f"/backends/{made['name']}"), 404, "not-found")
    problem(default_project.post(f"/backends/{made['name']}/test"), 404, "not-found")
    refused = project.post(
        "/score", {"verifier": {"kind": "remote", "config": config | {"batch": 3}}, "items": items}
    )
    problem(refused, 422, "invalid-config", "/verifier/config/backend")


def test_only_the_operator_sees_and_changes_backends(default_project: Project, project: Project) -> None:
    body = {"name": unique("b"), "url": "https://verifier.example.com/"}
    for answer in (
        project.post("/backends", body),
        project.get("/backends"),
        project.delete("/backends/x"),
        project.post("/backends/x/test"),
    ):
        problem(answer, 403, "forbidden")
    weak = default_project.new_key("score", "register", "read")
    problem(default_project.get("/backends", key=weak), 403, "forbidden")
    problem(default_project.post("/backends", body, key=None), 401, "unauthorized")


def test_inline_use_takes_the_scope_register(project: Project) -> None:
    key = project.new_key("score", "read")
    for kind, config in (("remote", {"backend": "x"}), ("python", {"code": "def verify(): return 1"})):
        body = {"verifier": {"kind": kind, "config": config}, "items": [{"completion": "a"}]}
        problem(project.post("/score", body, key=key), 403, "forbidden")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "/url", "/url: only backends of the type local have none"),
    ({"url": "ftp://a.example/"}, "/url", "must be an http or https URL"),
    ({"url": "a.example"}, "/url", "must be an http or https URL"),
    ({"url": "http://"}, "/url", "must be an http or https URL"),
    ({"url": "http://[::1"}, "/url", "must be a URL, such as"),
    ({"url": "http://a.example:99999/"}, "/url", "must be a URL, such as"),
    ({"url": "http://user:pass@a.example/"}, "/url", "must hold no user and password"),
    ({"url": "http://a.example/#x"}, "/url", "must have no fragment"),
    ({"url": "http://a.example/a b"}, "/url", "printable ASCII"),
    ({"url": "http://ä.example/"}, "/url", "printable ASCII"),
    ({"url": "http://a.example/\n"}, "/url", "printable ASCII"),
    ({"url": "http://a.example/\ud800"}, "/url", "printable ASCII"),
    ({"url": "http://a.example/" + "x" * 2000}, "/url", "at most 2,000"),
    ({"url": "http://127.0.0.1/"}, "/url", "this address is private; send allow_private: true"),
    ({"url": "http://[fd00::1]/"}, "/url", "this address is private"),
    ({"url": "http://169.254.169.254/", "allow_private": True}, "/url", "no backend may be at this address"),
    ({"url": "http://[fe80::1]/", "allow_private": True}, "/url", "no backend may be at this address"),
    ({"url": "http://2130706433/", "allow_private": True}, "/url", "no backend may be at this address"),
    ({"name": "a b"}, "/name", "/name: String should match"),
    ({"type": "oracle"}, "/type", "should be 'verifier', 'chat', 'reward' or 'local'"),
    ({"type": "chat"}, "/chat", "/chat: a backend of the type chat needs its model"),
    ({"chat": {"model": "m"}}, "/chat", "belongs to backends of the type chat"),
    ({"limits": {"tokens_per_minute": 5}}, "/limits/tokens_per_minute", "belongs to backends of the type chat"),
    ({"type": "chat", "chat": {}}, "/chat/model", "Field required"),
    ({"type": "chat", "chat": {"model": ""}}, "/chat/model", "at least 1"),
    ({"type": "chat", "chat": {"model": "m", "price_in": -1}}, "/chat/price_in", "greater than or equal to 0"),
    ({"type": "chat", "chat": {"model": "m", "logprobs": True}}, "/chat/logprobs", "'auto', 'yes' or 'no'"),
    ({"type": "chat", "chat": {"model": "m", "more": 1}}, "/chat/more", "Extra inputs"),
    ({"limits": {"requests_per_minute": 0}}, "/limits/requests_per_minute", "greater than or equal to 1"),
    (
        {"type": "chat", "chat": {"model": "m"}, "url": "https://a.example/v1/chat/completions/"},
        "/url",
        "give the base URL, without /chat/completions",
    ),
    ({"headers": {"Host": "x"}}, "/headers/Host", "the service's own"),
    ({"headers": {"Proxy-Authorization": "x"}}, "/headers/Proxy-Authorization", "the service's own"),
    ({"headers": {"a b": "x"}}, "/headers/a b", "letters, digits and hyphens"),
    ({"headers": {f"X-{n}": "x" for n in range(17)}}, "/headers", "at most 16"),
    ({"key": "sk-123"}, "/key", "/key: the service has no ASSAY_SECRET_KEY"),
    ({"headers": {"X-Key": "sk-123"}}, "/headers/X-Key", "the service has no ASSAY_SECRET_KEY"),
    ({"key": "sk-123\r\nX: y"}, "/key", "printable ASCII"),
    ({"key": "env:PATH"}, "/key", "is named ASSAY_BACKEND_"),
    ({"key": "env:ASSAY_BACKEND_UNSET"}, "/key", "has no usable ASSAY_BACKEND_UNSET"),
    ({"limits": {"concurrency": 0}}, "/limits/concurrency", "greater than or equal to 1"),
    ({"limits": {"timeout_s": 1e9}}, "/limits/timeout_s", "less than or equal to 600"),
    ({"limits": {"speed": 1}}, "/limits/speed", "Extra inputs"),
    ({"allow_private": 1}, "/allow_private", "valid boolean"),
    ({"more": 1}, "/more", "Extra inputs"),
]


@pytest.mark.parametrize(("body", "pointer", "message"), REFUSED, ids=[str(index) for index in range(len(REFUSED))])
def test_what_is_no_backend(default_project: Project, body: dict[str, Any], pointer: str, message: str) -> None:
    whole = {"name": unique("b")} | ({"url": "https://verifier.example.com/"} if body else {}) | body
    refused = problem(default_project.post("/backends", whole), 422, "invalid-body", pointer)
    assert message in refused["detail"]
    assert "sk-123" not in json.dumps(refused)
    assert "pass" not in refused["detail"].replace("password", "")


async def test_keys_are_sent_and_are_nowhere_else(
    make_service: Callable[..., Service], judge: tuple[str, list[Any]]
) -> None:
    url, asked = judge
    service = make_service(ASSAY_SECRET_KEY=SECRET_KEY, ASSAY_BACKEND_TOKEN="from-the-environment")
    operator = Project(service, service.key)
    made = add(
        operator, url, key="s3cret-bearer", headers={"X-Extra": "s3cret-extra", "X-Env": "env:ASSAY_BACKEND_TOKEN"}
    )
    shown = {"Authorization": "stored", "X-Extra": "stored", "X-Env": "env:ASSAY_BACKEND_TOKEN"}
    assert made["headers"] == shown
    twice = {"name": "twice", "url": url, "allow_private": True, "key": "a", "headers": {"authorization": "b"}}
    problem(operator.post("/backends", twice), 422, "invalid-body", "/key")
    body = {"name": "once", "url": url, "allow_private": True, "key": "s3cret-bearer"}
    answers = [operator.post("/backends", body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert ok(answers[0], 201) == ok(answers[1], 201)
    assert ok(operator.post(f"/backends/{made['name']}/test"))["ok"]
    headers = asked[-1][0]
    assert headers["Authorization"] == "Bearer s3cret-bearer"
    assert (headers["X-Extra"], headers["X-Env"]) == ("s3cret-extra", "from-the-environment")
    everything = [service.log.read_text(), operator.get("/metrics", key=None).body.decode()]
    everything += [answer.body.decode() for answer in (*answers, operator.get("/backends"))]
    for hidden in ("s3cret", "from-the-environment", SECRET_KEY):
        assert not any(hidden in text for text in everything)
        async with database_of(service) as connection:
            assert await rows_with(connection, hidden.encode()) == []
    assert 'assay_backend_requests_total{backend="' in everything[1]


class Model(Judge):
    """A chat model that is sure of the answer, and takes no schema."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((dict(self.headers), body))
        refuses = "response_format" in body
        said: dict[str, Any] = {"choices": [{"message": {"content": "42\x1b[1m"}, "finish_reason": "stop"}]}
        said |= {"usage": {"prompt_tokens": 20, "completion_tokens": 5}}
        content = json.dumps({"error": {"message": "no schemas"}} if refuses else said).encode()
        self.send_response(400 if refuses else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def model() -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A chat model's base URL, and what it was asked."""
    asked: list[tuple[dict[str, str], Any]] = []
    handler = type("Handler", (Model,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        server.shutdown()


def test_life_of_a_chat_model(
    default_project: Project, project: Project, model: tuple[str, list[Any]], judge: tuple[str, list[Any]]
) -> None:
    url, asked = model
    about = {"model": "tiny", "price_in": 2.0}
    made = add(default_project, url, type="chat", chat=about, limits={"tokens_per_minute": 10_000})
    assert made["chat"] == about | {"price_out": None, "json_schema": "auto", "logprobs": "auto"}
    assert made in list(default_project.pages("/backends"))
    for _ in range(2):
        tested = ok(default_project.post(f"/backends/{made['name']}/test"))
        said = r"it answered '42\x1b[1m'; JSON schemas: no, log-probabilities: no"
        assert (tested["ok"], tested["message"]) == (True, said)
    questions = [body["messages"][0]["content"] for _, body in asked if body["max_tokens"] == 100]
    assert len([one for one in questions if "6 times 7" in one]) == 2, "a test asks, whatever is known"

    other = add(default_project, judge[0])
    config = {"backend": made["name"], "mode": "equivalence", "output": "marker"}
    wrong = [
        ("remote", {"backend": made["name"]}, "/config/backend", "is not of the type verifier"),
        ("judge", config | {"backend": other["name"]}, "/config/backend", "is not of the type chat"),
        ("judge", config | {"panel": [other["name"]]}, "/config/panel/0", "is not of the type chat"),
        ("judge", config | {"backend": "none"}, "/config/backend", "no backend 'none'"),
    ]
    for kind, refused, pointer, message in wrong:
        answer = project.post("/verifiers", {"name": unique("v"), "kind": kind, "config": refused})
        assert message in problem(answer, 422, "invalid-config", pointer)["detail"]

    item = {"completion": "It is 42.", "reference": "42", "prompt": "6 times 7?"}
    [verdict] = project.score({"kind": "judge", "config": config}, item)["items"]
    assert (verdict["score"], verdict["error"]["type"]) == (None, "judge_unreadable")
    assert verdict["detail"]["usage"] == {
        "calls": 1,
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "cost": pytest.approx(4e-5),
    }
    metrics = default_project.get("/metrics", key=None).body.decode()
    assert f'assay_backend_cost_total{{backend="{made["name"]}"}}' in metrics


def test_a_model_that_only_embeds_is_tested_by_a_text(default_project: Project) -> None:
    server = JsonServer("/v1", lambda _: {"data": [{"embedding": [0.5, 1.0]}]})
    name = unique("embeds")
    asked = {"name": name, "type": "chat", "url": server.url, "allow_private": True, "chat": {"model": "m"}}
    ok(default_project.post("/backends", asked), 201)
    told = ok(default_project.post(f"/backends/{name}/test"))
    ok(default_project.delete(f"/backends/{name}"))
    server.close()
    assert (told["ok"], told["message"]) == (True, "it embedded a text: 2 numbers")
    assert [sorted(body) for body in server.asked][1:] == [["input", "model"]]
