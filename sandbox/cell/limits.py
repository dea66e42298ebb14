"""What no job may pass, wherever it runs."""

from __future__ import annotations

MAX_COUNT = 10_000
"""Runs of one job."""
MAX_OUTPUT_KB = 16 * 1024
MOST = {"cpu_s": 600.0, "wall_s": 3600.0, "processes": 400, "output_kb": MAX_OUTPUT_KB, "disk_mb": 1024}
"""The largest value of each limit."""
