"""How fast code is run in the sandbox, against what it replaces and against what forking alone costs.

    python -m bench.sandbox_bench [part ...]

Parts: `local`, `docker`, `latency`, `tests`, `cpp`, `cold`, `memory`; all of them if none is named. With
`BENCH_SANDBOX_FUSION=http://127.0.0.1:PORT` a SandboxFusion that answers there is measured in the same run. Docker is
measured where an engine answers and has the image (`assay sandbox build`). Each ratio is the median over rounds in
which both sides were measured one right after the other.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import docker as docker_engine
import uvloop
from rich.console import Console
from rich.table import Table

from bench import sandbox_baselines as baselines
from bench import sandbox_cells as cells
from bench.running import processes
from bench.sandbox_client import Rate
from bench.sandbox_items import asserts, cpp, function, stdio
from bench.sandbox_service import BATCH, CONNECTIONS, SINGLES, SINGLES_AT_ONCE, sandboxed, score
from sandbox import docker, image
from sandbox.open import Choice
from tests.service import Service

ROUNDS = 3
BATCHES = 2
RUN_CODES, RUN_CODES_AT_ONCE = 300, 8
LATENCY_RUNS = 300
IN_FLIGHT = (1, 2, 4)
TIMES = 15
MANY = 21
CPP_TIMES = 3
COLD_TIMES = 3


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    return table


def _backends() -> dict[Choice, str]:
    """Each backend with why it cannot be measured; empty where it can."""
    return {"local": "", "docker": docker.missing(None)}


def _in_rounds(measured: Mapping[str, Callable[[], Rate | None]]) -> dict[str, list[Rate | None]]:
    found: dict[str, list[Rate | None]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, measure in measured.items():
            found[name].append(measure())
    return found


def _rates(title: str) -> Table:
    return _table(title, "", "runs/s", "Assay is", "target", "CPU ms a run", "Assay takes")


def _compare(
    table: Table, name: str, ours: list[Rate | None], target: str, theirs: Mapping[str, tuple[list[Rate | None], str]]
) -> None:
    """A row of ours, and one for each peer: how fast it is and what it costs, and how many times better ours is."""
    mine = [rate for rate in ours if rate]
    table.add_row(name, f"{_middle(mine, 0):,.0f}", "", target, _cpu(mine), "")
    for peer, (rates, wanted) in theirs.items():
        pairs = [(rate, other) for rate, other in zip(ours, rates, strict=True) if rate and other]
        if not pairs:
            table.add_row(peer, "not given", "", wanted, "", "")
            continue
        others = [other for _, other in pairs]
        faster = statistics.median(rate.per_second / other.per_second for rate, other in pairs)
        shares = [rate.cpu_ms / other.cpu_ms for rate, other in pairs if rate.cpu_ms and other.cpu_ms]
        less = f"1/{1 / statistics.median(shares):.2f}" if shares else ""
        table.add_row(peer, f"{_middle(others, 0):,.1f}", f"{faster:.2f}x", wanted, _cpu(others), less)


def _middle(rates: Sequence[Rate], field: int) -> float:
    return statistics.median(value for rate in rates if (value := rate[field]) is not None)


def _cpu(rates: Sequence[Rate]) -> str:
    return "" if any(rate.cpu_ms is None for rate in rates) else f"{_middle(rates, 1):.2f}"


def local() -> Table | str:
    """Programs a second through the service with local cells, and of its peers."""
    fusion_at: list[int] = []

    def fusion() -> Rate | None:
        found = baselines.sandbox_fusion()
        if found is None:
            return None
        fusion_at.append(found[1])
        return found[0]

    with sandboxed("local") as running:
        if isinstance(running, str):
            return f"local: {running}"
        service = running

        def run_code() -> Rate:
            path = "/compat/sandbox-fusion/run_code"
            return baselines.run_code(
                service.port, path, service.key, processes(service), RUN_CODES, RUN_CODES_AT_ONCE
            )

        rates = _in_rounds(
            {
                "ours": lambda: score(service, BATCHES, BATCH, CONNECTIONS)[0],
                "plain 1": lambda: baselines.plain(1),
                "plain 2": lambda: baselines.plain(2),
                "fork 1": lambda: baselines.forks(1),
                "fork 2": lambda: baselines.forks(2),
                "run_code": run_code,
                "fusion": fusion,
            }
        )
        singles = _singles(service)
    table = _rates(f"Trivial Python programs with one stdio case each, local cells; {singles}")
    fusion_name = f"SandboxFusion, no isolation, {_at(fusion_at)} connections"
    peers = {
        "python3 -I -S -c for each run, one thread, no isolation": (rates["plain 1"], "5x"),
        "the same, two threads": (rates["plain 2"], "2.5x"),
        "fork of a warm interpreter alone, one at a time": (rates["fork 1"], ""),
        "the same, two at a time": (rates["fork 2"], ""),
        fusion_name: (rates["fusion"], "25x"),
    }
    _compare(table, f"Assay, POST /score in batches of {BATCH}", rates["ours"], "750", peers)
    table.add_section()
    name = f"Assay, SandboxFusion's run_code, {RUN_CODES_AT_ONCE} connections"
    _compare(table, name, rates["run_code"], "", {fusion_name: (rates["fusion"], "25x")})
    return table


def _at(connections: list[int]) -> str:
    return " or ".join(map(str, sorted(set(connections)))) or "its best number of"


def _singles(service: Service) -> str:
    """One item a request: what the engine says that verifying it took."""
    verdicts = score(service, SINGLES, 1, SINGLES_AT_ONCE)[1]
    taken = sorted(verdict["ms"] for verdict in verdicts)
    middle, late = statistics.median(taken), taken[int(0.99 * len(taken))]
    return f"single items, {SINGLES_AT_ONCE} in flight, `ms`: p50 {middle:.1f}, p99 {late:.1f}"


def with_docker() -> Table | str:
    """Programs a second through the service with cells in containers, and of docker's own commands."""
    if missing := docker.missing(None):
        return f"docker: {missing}"
    client = docker_engine.from_env()
    name = str(image.find(client, None).id)
    client.close()
    with ExitStack() as stack:
        running = stack.enter_context(sandboxed("docker"))
        if isinstance(running, str):
            return f"docker: {running}"
        service = running
        execute = stack.enter_context(baselines.container(name))
        rates = _in_rounds(
            {
                "ours": lambda: score(service, BATCHES, BATCH, CONNECTIONS)[0],
                "exec": lambda: execute() if execute else None,
                "run": lambda: baselines.docker_run(name),
                "plain 1": lambda: baselines.plain(1),
            }
        )
    table = _rates("The same, cells in containers (processor time without that of the engine)")
    peers = {
        "docker exec for each run": (rates["exec"], ""),
        "docker run for each run": (rates["run"], ""),
        "python3 -I -S -c for each run, one thread, no isolation": (rates["plain 1"], ""),
    }
    _compare(table, f"Assay, POST /score in batches of {BATCH}", rates["ours"], "300", peers)
    return table


def latency() -> Table:
    """How long one program takes in the pool, by how many are in flight."""
    plain_ms = 1000 / baselines.plain(1).per_second
    fork_ms = 1000 / baselines.forks(1).per_second
    table = _table(
        f"SandboxPool.run in this process: a fork alone takes {fork_ms:.2f} ms, an interpreter {plain_ms:.1f} ms",
        "cells, in flight", "p50 ms", "p99 ms", "p50: a fork alone is", "p50: an interpreter is", "target p50, p99",
    )  # fmt: skip
    for backend, missing in _backends().items():
        for at_once in IN_FLIGHT if not missing else ():
            taken = uvloop.run(cells.latencies(backend, LATENCY_RUNS, at_once))
            middle, late = (1000 * taken[int(share * len(taken))] for share in (0.5, 0.99))
            table.add_row(
                f"{backend}, {at_once}", f"{middle:.2f}", f"{late:.2f}", f"{fork_ms / middle:.2f} of it",
                f"{plain_ms / middle:.1f}x", "3, 15" if backend == "local" else "",
            )  # fmt: skip
    return table


def tests() -> Table:
    """How long a completion with several tests takes."""
    forms = {
        "one stdio case": (lambda: stdio(1), 1, ""),
        "ten stdio cases": (lambda: stdio(10), 10, "25 ms"),
        "ten function tests": (lambda: function(10), 10, "10 ms"),
        "ten asserts": (lambda: asserts(10), 10, "10 ms"),
    }
    plain_ms = 1000 / baselines.plain(1).per_second
    table = _table(
        f"A completion through the kind `code`, one at a time; an interpreter takes {plain_ms:.1f} ms",
        "cells, tests", "median ms", "an interpreter for each test is", "target",
    )  # fmt: skip
    for backend, missing in _backends().items():
        if missing:
            continue
        taken = uvloop.run(cells.verify(backend, "python", [form for form, _, _ in forms.values()], TIMES))
        for (name, (_, count, target)), seconds in zip(forms.items(), taken, strict=True):
            table.add_row(
                f"{backend}, {name}", f"{1000 * seconds:.1f}", f"{count * plain_ms / 1000 / seconds:.1f}x", target
            )
    return table


def compiled() -> Table:
    """How long compiling takes in a cell, and each case after it."""
    table = _table(
        "C++ (iostream), compiled once", "cells", "compile ms", "a case, ms", "target a case",
    )  # fmt: skip
    if plain := cells.plain_cpp(CPP_TIMES):
        table.add_row(
            "none: g++ and the program by themselves", f"{1000 * plain[0]:,.0f}", f"{1000 * plain[1]:.1f}", ""
        )
    for backend, missing in _backends().items():
        if missing:
            continue
        one, many = uvloop.run(cells.verify(backend, "cpp", [lambda: cpp(1), lambda: cpp(MANY)], CPP_TIMES))
        each = (many - one) / (MANY - 1)
        table.add_row(backend, f"{1000 * (one - each):,.0f}", f"{1000 * each:.1f}", "5 ms")
    return table


def cold() -> Table:
    """From nothing to the first verdict."""
    table = _table("First verdict after a cold start", "cells", "s", "against", "target")
    for backend, missing in _backends().items():
        if missing:
            continue
        seconds = statistics.median(uvloop.run(cells.cold(backend)) for _ in range(COLD_TIMES))
        table.add_row(
            backend, f"{seconds:.2f}", f"{seconds * baselines.plain(1).per_second:.0f} interpreters' starts", "3 s"
        )
    return table


def memory() -> Table:
    """What a cell holds while it waits."""
    table = _table(
        "A cell at rest, all its processes together, MB",
        "cells", "processes", "resident, summed", "proportional", "unique", "times an idle interpreter's", "target",
    )  # fmt: skip
    idle = cells.interpreter(baselines.PYTHON)
    table.add_row(
        "none: an idle python3 -I -S",
        "1",
        f"{idle.resident:.1f}",
        f"{idle.proportional:.1f}",
        f"{idle.unique:.1f}",
        "1",
        "",
    )
    for backend, missing in _backends().items():
        if missing:
            continue
        found = asyncio.run(cells.at_rest(backend))
        table.add_row(
            backend, str(found.processes),
            f"{found.resident:.1f}", f"{found.proportional:.1f}", f"{found.unique:.1f}",
            f"{found.resident / idle.resident:.1f}, {found.proportional / idle.proportional:.1f}", "40",
        )  # fmt: skip
    return table


def _host(when: str) -> str:
    """How busy the host is; with others at work on it, processor time says more than rates and latencies."""
    one, five, _ = os.getloadavg()
    return f"{os.cpu_count()} cores; load average {when}: {one:.1f} in one minute, {five:.1f} in five"


PARTS: dict[str, Callable[[], Table | str]] = {
    "local": local,
    "docker": with_docker,
    "latency": latency,
    "tests": tests,
    "cpp": compiled,
    "cold": cold,
    "memory": memory,
}


def main() -> None:
    """Print the tables."""
    console = Console(width=130)
    if unknown := set(sys.argv[1:]) - PARTS.keys():
        sys.exit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    console.print(_host("before"))
    for name in sys.argv[1:] or PARTS:
        console.print(PARTS[name]())
    console.print(_host("after"))


if __name__ == "__main__":
    main()
