"""A cell's first step: `python -I -S -X utf8 -c "..." CONFIG` (see `sandbox.start`), before anything is shut in.

CONFIG is JSON: `in` and `out`, the descriptors to the service; `uid`, who to become, plus this process's id, where
this is root; `groups`, the folders of the cell's control group; `join`, files to write this process's id to;
`prefixes` and `packages` (see `root.build`); `import`, the packages to have ready.
"""

from __future__ import annotations

import json
import os
import resource
import sys

from . import confine, enter, linux, wire, zygote
from .usage import Usage


def main() -> None:
    """Become a cell, and serve until the service goes."""
    config = json.loads(sys.argv[1])
    config["uid"] += os.getpid()  # no two cells' alike
    _want_stack()
    for path in config["join"]:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    channel = confine.reserve_descriptors({"in": config["in"], "out": config["out"]})
    service_in, service_out = channel["in"], channel["out"]

    def refuse(reason: str) -> None:
        wire.write(service_out, wire.REFUSED, 0, json.dumps(reason).encode())

    try:
        linux.few_arenas()
        os.umask(0o022)
        usage = Usage(config["groups"])
        status = enter.enter(
            config, lambda: zygote.serve(service_in, service_out, usage, _importable(config["import"])), refuse
        )
    except BaseException as error:
        refuse(f"{type(error).__name__}: {error}")
        status = 1
    os._exit(status & 0xFF)


def _importable(names: list[str]) -> list[str]:
    if names:
        from . import python

        python.allow_packages()
    return names


def _want_stack() -> None:
    """Give main threads room for deep recursion. Where a stack may grow to is settled when a program starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = confine.STACK_BYTES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execv(sys.executable, sys.orig_argv)
