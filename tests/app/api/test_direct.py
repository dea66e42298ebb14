"""Routes whose handlers are called as they are."""

from __future__ import annotations

import json

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from app.api.direct import Ahead, Direct
from app.errors import Problem
from app.main import create_app
from app.settings import Settings

router = APIRouter(prefix="/here", route_class=Direct)


@router.post("/{name}")
async def answer(request: Request) -> Response:
    """Answers with a part of the path and the body."""
    if request.path_params["name"] == "bad":
        raise Problem("conflict", "it is there")
    if request.path_params["name"] == "broken":
        raise LookupError
    return Response(request.path_params["name"].encode() + await request.body(), 201)


async def elsewhere() -> str:
    return "there"


async def ask(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """The status and the body of the answer."""
    app = FastAPI()
    app.router.routes.extend(router.routes)
    app.add_api_route("/elsewhere", elsewhere)
    app.add_middleware(Ahead, routes=app.routes)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def test_the_handler_gets_the_request_and_its_response_is_the_answer() -> None:
    assert await ask("POST", "/here/name", b"!") == (201, b"name!")


async def test_a_problem_is_answered_as_on_other_routes() -> None:
    status, body = await ask("POST", "/here/bad")
    assert (status, json.loads(body)) == (409, Problem("conflict", "it is there").body())


async def test_what_else_it_raises_is_the_services_fault() -> None:
    with pytest.raises(LookupError):
        await ask("POST", "/here/broken")


async def test_other_routes_are_served_as_ever() -> None:
    assert await ask("GET", "/elsewhere") == (200, b'"there"')


async def test_another_method_is_refused() -> None:
    status, _ = await ask("GET", "/here/name")
    assert status == 405


def test_a_route_that_would_come_before_others_is_refused() -> None:
    app = FastAPI()
    app.router.routes.extend(router.routes)
    app.add_api_route("/here", elsewhere)
    with pytest.raises(TypeError, match="'here'"):
        Ahead(app, app.routes)


def test_a_handler_with_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match="more than the request"):

        @router.get("/there")
        async def listed(request: Request, limit: int) -> Response:
            return Response(str(limit))


def test_single_items_take_it() -> None:
    routes = [route for route in create_app(Settings(_env_file=None)).routes if isinstance(route, APIRoute)]
    direct = {route.path for route in routes if isinstance(route, Direct)}
    assert {"/score", "/compat/openrlhf/{verifier}", "/compat/slime/{verifier}"} <= direct
