"""The ASGI application of one API process."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from app import metrics, wire
from app.api import (
    backends,
    calibrations,
    compare,
    golds,
    health,
    keys,
    kinds,
    openapi,
    projects,
    run_events,
    run_history,
    runs,
    sandbox,
    score,
    scores,
    signals,
    verifiers,
)
from app.api.compat import ROUTERS
from app.api.deps import problem_response
from app.api.direct import Ahead
from app.api.docs import add_docs
from app.errors import Problem
from app.logs import configure
from app.services import running
from app.settings import Settings
from verifiers.base import load_kinds, pointer

log = structlog.get_logger()

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's own looks for OpenTelemetry providers on every request; ours is `Observed`."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; its lifespan starts and stops what serves it."""
    settings = settings or Settings()
    load_kinds()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure(settings)
        async with running(settings) as services:
            app.state.services = services
            # What exists now lives as long as the process; scanning it again and again costs a tenth of the speed.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            yield

    app = FastAPI(
        title="Assay",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    resources = (
        compare,
        kinds,
        verifiers,
        golds,
        calibrations,
        scores,
        signals,
        keys,
        projects,
        backends,
        runs,
        run_events,
        run_history,
        sandbox,
        health,
    )
    # routes are tried in order, and the compat ones take floods
    for router in (score.router, *ROUTERS, *(resource.router for resource in resources)):
        app.router.routes.extend(router.routes)  # include_router would match every request twice
    add_docs(app)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_bad_parameter)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_fault)
    app.add_middleware(Ahead, routes=app.routes)
    app.add_middleware(Observed)
    return app


async def _on_problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise TypeError from error
    return problem_response(error)


async def _on_bad_parameter(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError from error
    first = error.errors()[0]
    where = pointer(first["loc"][1:])  # without "query" or "path"
    return problem_response(Problem("invalid-parameter", f"{where}: {first['msg']}", pointer=where))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError from error
    path = wire.quote(request.url.path)
    if error.status_code == 405:
        response = problem_response(Problem("method-not-allowed", f"{path} does not take {request.method}"))
        response.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return response
    if error.status_code == 404:
        return problem_response(Problem("not-found", f"nothing at {path}; GET /openapi.json lists what there is"))
    return problem_response(Problem("invalid-header", str(error.detail)))


def _methods(request: Request) -> set[str]:
    """What all routes of the request's path take; a route knows only its own."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _on_fault(_: Request, error: Exception) -> Response:
    return problem_response(Problem("internal-error", "the service failed; its log says why"))


class Observed:
    """Counts and times every request, by route and never by the path as sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def observe(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if route != "unknown" else "any"
            count, seconds = _request_metrics(method, route, status)
            count.inc()
            seconds.observe(time.perf_counter() - started)


@cache  # there are as many as routes and statuses; finding them anew costs more than counting
def _request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.REQUESTS.labels(method, route, status), metrics.REQUEST_SECONDS.labels(route)
