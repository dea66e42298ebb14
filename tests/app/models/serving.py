"""What tests of a model's process share."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.models.process import LocalModel, ModelSpec

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300.0
"""For a start of the process on a busy machine."""


def value(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": text}]}


def soon(seconds: float = PATIENCE_S) -> float:
    return time.monotonic() + seconds


@asynccontextmanager
async def serving(spec: ModelSpec, folder: Path) -> AsyncIterator[LocalModel]:
    model = LocalModel(spec, folder)
    try:
        yield model
    finally:
        await model.close()
