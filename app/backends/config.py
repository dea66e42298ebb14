"""What an operator says of a backend."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from yarl import URL

from verifiers.base import Strict

MAX_URL = 2_000
MAX_HEADERS = 16
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    ("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "accept", "accept-encoding",
     "connection", "keep-alive", "expect", "upgrade", "te", "trailer", "user-agent", "cookie")
)  # fmt: skip
"""Headers that belong to the request itself."""


def _usable(text: str) -> str:
    if len(text) > MAX_URL or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"must be a URL of at most {MAX_URL:,} printable ASCII characters")
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        raise ValueError("must be a URL, such as https://verifier.example.com/score") from None
    if url.scheme not in ("http", "https") or not url.raw_host or not port:
        raise ValueError("must be an http or https URL, such as https://verifier.example.com/score")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("must hold no user and password; send them as a header")
    if url.raw_fragment:
        raise ValueError("must have no fragment (#...)")
    return text


def _sendable(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("a header's name has letters, digits and hyphens")
    if name.lower() in _OURS or name.lower().startswith("proxy-"):
        raise ValueError(f"the header {name} is the service's own")
    return name


BackendUrl = Annotated[str, AfterValidator(_usable)]
HeaderName = Annotated[str, AfterValidator(_sendable)]


Able = Literal["auto", "yes", "no"]
_AUTO = "auto: found out by a small request"


class BackendLimits(Strict):
    """Bounds of the requests to a backend."""

    concurrency: int = Field(8, ge=1, le=1024, description="Requests at once, shared by the service's API processes.")
    connect_s: float = Field(5.0, ge=0.1, le=60.0, description="Seconds to connect, name lookup included.")
    timeout_s: float = Field(30.0, ge=0.1, le=600.0, description="Seconds for one try, the whole answer included.")
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="Further tries after a broken connection, 408, 429 or 5xx but 501, within the deadline.",
    )
    answer_kb: int = Field(
        1_024, ge=1, le=8_192, description="KiB of an answer, decompressed; a larger one is a fault."
    )
    requests_per_minute: int | None = Field(
        None, ge=1, le=10**6, description="Requests a minute, shared by the service's API processes. null: no limit."
    )
    tokens_per_minute: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Tokens a minute of a chat model, prompts and answers, shared likewise. null: no limit.",
    )


class ChatModel(Strict):
    """What a backend of the type `chat` has besides."""

    model: str = Field(
        min_length=1, max_length=200, description="The model's name at that server.", examples=["gpt-4.1-mini"]
    )
    price_in: float | None = Field(
        None, ge=0, le=1e6, description="Price of a million prompt tokens, in a currency of your choice."
    )
    price_out: float | None = Field(None, ge=0, le=1e6, description="Price of a million tokens of answers.")
    json_schema: Able = Field("auto", description=f"Whether its answers can be bound to a JSON schema; {_AUTO}.")
    logprobs: Able = Field("auto", description=f"Whether it gives log-probabilities; {_AUTO}.")
