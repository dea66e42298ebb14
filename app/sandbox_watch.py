"""Looks at the sandbox every second: counts what it did for /metrics, and says when it goes and comes."""

from __future__ import annotations

import structlog

from app import metrics
from sandbox.pool import SandboxPool

log = structlog.get_logger()


class SandboxWatch:
    """What this process saw of its sandbox."""

    def __init__(self, sandbox: SandboxPool) -> None:
        self.sandbox = sandbox
        self._counted: dict[str, int] = {}
        self._away = True

    def tell(self, choice: str) -> None:
        """Log which backend was taken, and why."""
        self._away = bool(self.sandbox.unavailable)
        if self._away:
            log.warning("no sandbox: code is left unscored", asked=choice, reason=self.sandbox.unavailable)
        else:
            backend, why = self.sandbox.backend, self.sandbox.note
            log.info("sandbox is ready", backend=backend, asked=choice, why=why, cells=self.sandbox.cells)

    def look(self) -> bool:
        """Count what was done since the last look; whether the sandbox came back meanwhile."""
        self.count()
        was_away, self._away = self._away, bool(self.sandbox.unavailable)
        if self._away and not was_away:
            log.error("the sandbox went away", reason=self.sandbox.unavailable)
        elif was_away and not self._away:
            log.info("the sandbox came back", backend=self.sandbox.backend)
        return was_away and not self._away

    def count(self) -> None:
        """Add to the metrics what the sandbox did since the last time."""
        counters = self.sandbox.counters
        for name, metric in metrics.SANDBOX_COUNTERS.items():
            total = counters.get(name, 0)
            metric.inc(max(0, total - self._counted.get(name, 0)))
            self._counted[name] = total
        metrics.SANDBOX_BUSY.set(self.sandbox.busy)
        metrics.SANDBOX_CELLS.set(self.sandbox.cells)
