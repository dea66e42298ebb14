"""How commands reach the service: its address, the key, and one conversation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.faults import MISUSED, CommandError, read_settings

if TYPE_CHECKING:
    from app.http_client import Client

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="ASSAY_URL", help="The service; by default the one ASSAY_HOST and ASSAY_PORT name."),
]
Key = Annotated[str | None, typer.Option("--key", envvar="ASSAY_API_KEY", help="An API key of the service.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON instead of a table.")]


def service_url(url: str | None) -> str:
    """The URL that was given, or the one where the settings say that the service listens."""
    if url is None:
        from app.first_score import base_url

        return base_url(read_settings())
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is not a URL: it looks like http://host:8000 (--url, ASSAY_URL)", MISUSED)
    return url


def talk(url: str | None, key: str | None, work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` makes of a client of the service. Raises `CommandError` where the service does not do it."""
    if not key:
        raise CommandError(
            "no API key: set ASSAY_API_KEY or give --key; 'assay serve' prints one at its first start", MISUSED
        )
    if not (key.isascii() and key.isprintable()):
        raise CommandError("the API key has characters that no key has: copy it again", MISUSED)
    base = service_url(url)

    import asyncio

    from app.http_client import ServiceError, connect

    async def conversation() -> T:
        async with connect(base, key) as client:
            return await work(client)

    try:
        return asyncio.run(conversation())
    except ServiceError as error:
        raise CommandError(str(error)) from error
