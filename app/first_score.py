"""What `make run` ends with: a first score, and the command that repeats it."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request

from app.settings import Settings

WAIT_S = 90.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Never through a proxy: the key is for this service only."""
SAMPLE = {
    "verifier": "math",
    "items": [{"id": "first", "completion": "6 * 7 is \\boxed{42}.", "reference": "42"}],
}


def base_url(settings: Settings) -> str:
    """Where this machine reaches the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def show_first_score(settings: Settings, secret: str | None) -> None:
    """Wait until the service is ready, score the sample, and print it with the curl command.

    Without the key (it was shown at an earlier start) only the command is printed.
    """
    url = base_url(settings)
    if not _ready(url):
        return
    shown = "$ASSAY_API_KEY" if secret is None or settings.api_key is not None else secret
    command = (
        f"curl -s --noproxy '*' {url}/score -H 'Content-Type: application/json' \\\n"
        f'     -H "Authorization: Bearer {shown}" \\\n'
        f"     -d '{json.dumps(SAMPLE)}'"
    )
    lines = [f"Assay is ready at {url} (interactive API: {url}/docs)", ""]
    lines += ["A first score:" if secret is not None else "Try it with your key:", "", command, ""]
    if secret is not None:
        lines += [_score(url, secret), ""]
    else:
        lines += [
            "The first start showed the key. Lost it? Start with ASSAY_API_KEY set to 16 characters or more.",
            "",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _ready(url: str) -> bool:
    limit = time.monotonic() + WAIT_S
    while time.monotonic() < limit:
        try:
            with _direct.open(f"{url}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _score(url: str, secret: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}/score",
        json.dumps(SAMPLE).encode(),
        {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
    )
    try:
        with _direct.open(request, timeout=60) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except OSError as error:
        return f"(no answer: {error})"
