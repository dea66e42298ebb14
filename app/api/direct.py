"""Routes that take floods of small requests: what FastAPI does around a handler costs more than some handlers do.

A handler that takes the request and returns the response has no parameters to solve and nothing to clean up, so it
is called as it is. Its place in the OpenAPI document and its errors stay those of any other route.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class Direct(APIRoute):
    """A route whose handler is `async def handler(request: Request) -> Response`. Raises TypeError for any other."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if list(inspect.signature(endpoint).parameters) != ["request"]:
            raise TypeError(f"the handler of {path} takes more than the request")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # refuses the method
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
