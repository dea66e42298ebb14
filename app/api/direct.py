"""Routes that take floods of small requests: what FastAPI does around a handler costs more than some handlers do.

A handler that takes the request and returns the response has no parameters to solve and nothing to clean up, so
`Ahead` finds it by the start of its path and calls it as it is. Its place in the OpenAPI document and its problems
stay those of any other route.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.deps import problem_response
from app.errors import Problem


class Direct(APIRoute):
    """A route whose handler is `async def handler(request: Request) -> Response`. Raises TypeError for any other.

    What the handler raises, other than `Problem`, is the service's own fault.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if list(inspect.signature(endpoint).parameters) != ["request"]:
            raise TypeError(f"the handler of {path} takes more than the request")


class Ahead:
    """Middleware that answers for the direct ones among `routes`; all other requests go on.

    Raises TypeError where a direct route shares the start of its path with a route that is none, which it would
    then come before.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes: dict[str, list[Direct]] = {}
        others = set()
        for route in routes:
            if isinstance(route, Direct):
                self._routes.setdefault(_start(route.path), []).append(route)
            else:
                others.add(_start(getattr(route, "path", "")))
        shared = others & self._routes.keys()
        if shared:
            raise TypeError(f"not all routes of {sorted(shared)} are direct")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for route in self._routes.get(_start(scope["path"]), ()):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found)
                    try:
                        response = await route.endpoint(Request(scope, receive, send))
                    except Problem as problem:
                        response = problem_response(problem)
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _start(path: str) -> str:
    """The first part of a path; below /compat the first two."""
    first, _, rest = path[1:].partition("/")
    return f"{first}/{rest.partition('/')[0]}" if first == "compat" else first
