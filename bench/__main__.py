"""`make bench`: every benchmark, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    failed = [
        script.stem
        for script in sorted(Path(__file__).parent.glob("*_bench.py"))
        if subprocess.run([sys.executable, "-m", f"bench.{script.stem}"], check=False).returncode
    ]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
