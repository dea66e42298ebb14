"""Prometheus metrics. Labels name kinds, outcomes, routes and backends, never a caller's text.

What backends take is also counted by project and verifier, by their registered names and with bounded labels
(`app.backends.account`).
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("assay_requests_total", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "assay_request_seconds",
    "Time to answer a request.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
ITEMS = Counter("assay_items_total", "Items answered.", ["kind", "outcome"])
ERRORS = Counter("assay_item_errors_total", "Items left unscored, by reason.", ["kind", "error"])
CACHED = Counter("assay_items_cached_total", "Items answered with a verdict that was reused.", ["kind"])
SIGNALS = Counter("assay_signals_total", "Signals taken, by what became of each.", ["outcome"])
VERIFY_SECONDS = Histogram(
    "assay_verify_seconds",
    "Time of one call of a kind's verify.",
    ["kind"],
    buckets=(0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120),
)
COMMIT_SECONDS = Histogram(
    "assay_commit_seconds", "Time of one commit.", buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
)
COMMIT_BATCHES = Histogram(
    "assay_commit_requests", "Requests that shared one commit.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
IN_FLIGHT_BYTES = Gauge("assay_in_flight_bytes", "Request bodies held.", multiprocess_mode="livesum")

SANDBOX_RUNS = Counter("assay_sandbox_runs_total", "Runs of code that ended, whatever became of them.")
SANDBOX_FAULTS = Counter("assay_sandbox_faults_total", "Faults of the sandbox itself; each is tried once elsewhere.")
SANDBOX_STARTED = Counter("assay_sandbox_cells_started_total", "Cells of the sandbox that were started.")
SANDBOX_LOST = Counter("assay_sandbox_cells_lost_total", "Cells of the sandbox that died; each is replaced.")
SANDBOX_BUSY = Gauge("assay_sandbox_busy_cells", "Cells of the sandbox that run code.", multiprocess_mode="livesum")
SANDBOX_CELLS = Gauge("assay_sandbox_cells", "Most cells of the sandbox at once.", multiprocess_mode="livesum")

BACKEND_REQUESTS = Counter("assay_backend_requests_total", "Tries to ask a backend.", ["backend", "outcome"])
BACKEND_SECONDS = Histogram(
    "assay_backend_seconds",
    "Time of one try to ask a backend.",
    ["backend"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
BACKEND_DOWN = Gauge(
    "assay_backend_down", "Whether a backend failed so often that it is left alone.", ["backend"],
    multiprocess_mode="livemax",
)  # fmt: skip
BACKEND_PROMPT_TOKENS = Counter("assay_backend_prompt_tokens_total", "Tokens of prompts to chat models.", ["backend"])
BACKEND_COMPLETION_TOKENS = Counter(
    "assay_backend_completion_tokens_total", "Tokens of answers of chat models.", ["backend"]
)
BACKEND_COST = Counter("assay_backend_cost_total", "Cost of chat models, in their prices' currency.", ["backend"])
BACKEND_REUSED = Counter(
    "assay_backend_reused_total", "Answers of chat models given again to the same request.", ["backend"]
)

_USAGE = ("project", "verifier", "backend")
USAGE_CALLS = Counter("assay_usage_calls_total", "Calls that backends answered, by who asked.", _USAGE)
USAGE_PROMPT_TOKENS = Counter("assay_usage_prompt_tokens_total", "Tokens that models read, by who asked.", _USAGE)
USAGE_COMPLETION_TOKENS = Counter(
    "assay_usage_completion_tokens_total", "Tokens that chat models answered, by who asked.", _USAGE
)
USAGE_COST = Counter(
    "assay_usage_cost_total", "Cost of chat models, in their prices' currency, by who asked.", _USAGE
)

SANDBOX_COUNTERS = {
    "runs": SANDBOX_RUNS,
    "faults": SANDBOX_FAULTS,
    "started": SANDBOX_STARTED,
    "lost": SANDBOX_LOST,
}
"""What is counted of the sandbox, by its own name for it."""


def render() -> bytes:
    """The text exposition; of all API processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(REGISTRY)
