"""Structured logs, as text for people or as JSON lines for machines. Nothing a caller wrote is logged, and no key."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from pathlib import Path

import structlog
from structlog.typing import EventDict

from app.settings import Settings

MAX_FRAMES = 12
_KEY = re.compile(r"""([?&]key=)[^&\s"'#]*""", re.IGNORECASE)
"""A key in a URL, as paths below /compat accept it."""


def configure(settings: Settings) -> None:
    """Set up structlog for this process."""
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    server = logging.getLogger("uvicorn")
    server.handlers, server.propagate = [_Relay(logging.WARNING)], False


class _Relay(logging.Handler):
    """Hands the web server's own log lines to structlog, so that they too show no values."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, without_keys(record.getMessage().strip()), exc_info=record.exc_info or None)


def without_keys(text: str) -> str:
    """The text with the keys of the URLs in it struck out."""
    return _KEY.sub(r"\1[redacted]", text)


def _without_values(_: object, __: str, event: EventDict) -> EventDict:
    """An exception's type and where it was raised: its message and its variables may hold what a caller wrote."""
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        event["error"] = type(error).__name__
        event["where"] = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return event
