"""Keys in URLs never reach the log, whoever logs the URL."""

from __future__ import annotations

import pytest

from app.logs import without_keys


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('"POST /compat/x?key=assay_s3cret HTTP/1.1" 200', '"POST /compat/x?key=[redacted] HTTP/1.1" 200'),
        ("/x?fallback=0&key=s3cret&a=1", "/x?fallback=0&key=[redacted]&a=1"),
        ("/x?KEY=s3cret", "/x?KEY=[redacted]"),
        ("/x?key=", "/x?key=[redacted]"),
        ("no key=here", "no key=here"),
    ],
)
def test_a_key_is_struck_out(text: str, shown: str) -> None:
    assert without_keys(text) == shown
