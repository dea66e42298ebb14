"""Who may use a foreign protocol: many of its clients can send no header, so the key may stand in the URL."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Request

from app.api.deps import services
from app.auth import Principal

ONLY_SCORING = frozenset({"score"})


async def may_score(request: Request) -> Principal:
    """Who is asking, by `Authorization` or by `?key=`; may do nothing but score, whatever the key can do elsewhere.

    Raises `Problem`: 401 without a valid key, 403 where the key cannot score.
    """
    header, key = request.headers.get("authorization"), request.query_params.get("key")
    if header is None and key is not None:
        header = f"Bearer {key}"
    principal = await services(request).auth.principal(header)
    principal.require("score")
    return replace(principal, scopes=principal.scopes & ONLY_SCORING)
