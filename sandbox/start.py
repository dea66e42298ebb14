"""The command that starts a cell, in whatever backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

_CALL_MAIN = "import sys; sys.path.append({path!r}); from cell.main import main; sys.path.pop(); main()"


def command(
    python: str,
    path: str,
    *,
    service_in: int,
    service_out: int,
    uid: int,
    groups: Sequence[str] = (),
    join: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    packages: Mapping[str, str] = {},
    imports: Sequence[str] = (),
) -> list[str]:
    """See `sandbox.cell.main` for the configuration; `path` is the folder that holds the package `cell`."""
    config = {
        "in": service_in,
        "out": service_out,
        "uid": uid,
        "groups": list(groups),
        "join": list(join),
        "prefixes": list(prefixes),
        "packages": dict(packages),
        "import": list(imports),
    }
    return [python, "-I", "-S", "-X", "utf8", "-c", _CALL_MAIN.format(path=path), json.dumps(config)]
