"""A run's curves as a PNG, from the service's `/runs` or from the run's folder.

The first panel has the training reward and the held-out score together, with the alarms: where the two part, the
reward is paid for something else than what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from trainer_client.alarms import HELD_OUT, PROXY
from trainer_client.heldout import HELD_OUT_ERROR
from trainer_client.record import History, read
from trainer_client.tracking import RECORD, read_run
from trainer_client.training_errors import TrackingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("reward and held-out score", (PROXY, HELD_OUT)),
    ("loss", ("loss",)),
    ("pass@k", ("heldout/pass@*",)),
    ("other rewards", ("reward/[0-9]*",)),
    ("rewards of preferred and rejected", ("preference/reward*", "preference/margin")),
    ("shares", ("*_share", "preference/accuracy")),
    ("tokens of a completion", ("*/tokens_mean",)),
    ("divergence from the reference, nats a token", ("kl", "*/kl")),
    ("clipped tokens", ("clip_*",)),
    ("probability ratio", ("ratio*",)),
    ("sampler against trainer, nats a token", ("mismatch*",)),
    ("entropy", ("entropy",)),
    ("grad_norm", ("grad_norm",)),
    ("seconds", ("time/*",)),
)
"""The panels in their order, by the unit of their metrics; every other metric has one of its own after them."""
PAGE = 5000
"""Points that are asked of the service at a time."""
COLUMNS, WIDTH, HEIGHT = 3, 5.0, 3.2
"""Of the picture: panels in a row, and inches of one."""


class Service(Protocol):
    """What is needed of `RewardClient`."""

    def request(self, method: str, path: str, *, params: dict[str, str]) -> Any:
        """The JSON answer. Raises `AssayError`."""


def local_history(folder: Path) -> History | None:
    """What the folder of a run tells; None where it is no such folder. Raises `TrackingError`."""
    if not (folder / RECORD).is_file():
        return None
    run = read_run(folder)
    return read(folder / RECORD, folder.name if run is None else run["name"])


def recorded_history(service: Service, run: str) -> History:
    """What the service has recorded of a run, by its id or name. Raises `AssayError`."""
    path = f"/runs/{quote(run, safe='')}"
    found = service.request("GET", path, params={})
    history = History(found["name"])
    history.alarms = sorted((alarm["step"], alarm["name"]) for alarm in found["alarms"])
    cursor: str | None = ""
    while cursor is not None:
        asked = {"limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
        page = service.request("GET", f"{path}/metrics", params=asked)
        for name, values in page["values"].items():
            points = {step: value for step, value in zip(page["steps"], values, strict=True) if value is not None}
            history.curves.setdefault(name, {}).update(points)
        cursor = page["next_cursor"]
    return history


def draw(history: History, out: Path, patterns: Sequence[str] = ()) -> None:
    """Write the curves whose names match one of the patterns (`reward/*`); without any, all curves that move.

    Raises `TrackingError` where there is none, or the file cannot be written.
    """
    panels = panels_of([name for name, curve in history.curves.items() if _wanted(name, curve, patterns)])
    if not panels:
        there = ", ".join(sorted(history.curves)) or "none yet"
        flat = "" if patterns else " (those that never change are drawn where they are named, with -m NAME)"
        raise TrackingError(f"the run {history.run!r} has no metric to draw{flat}; it has: {there}")
    from matplotlib.figure import Figure

    rows = -(-len(panels) // COLUMNS)
    columns = min(len(panels), COLUMNS)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    figure.suptitle(history.run, fontsize="large")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for axes, (title, names) in zip(grid, panels.items(), strict=False):
        _panel(axes, title, names, history)
    for unused in grid[len(panels) :]:
        unused.set_axis_off()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120, format="png")
    except OSError as error:
        raise TrackingError(f"{out}: cannot be written: {error.strerror or error}") from error


def panels_of(names: Sequence[str]) -> dict[str, list[str]]:
    """The panels that the metrics are drawn in, by title, each with its metrics."""
    panels: dict[str, list[str]] = {}
    left = sorted(names)
    for title, patterns in PANELS:
        found = [name for name in left if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if found:
            panels[title] = sorted(found, key=lambda name: name != PROXY)
            left = [name for name in left if name not in found]
    return panels | {name: [name] for name in left}


def _panel(axes: Axes, title: str, names: Sequence[str], history: History) -> None:
    from matplotlib.ticker import MaxNLocator

    for name in names:
        curve = sorted(history.curves[name].items())
        [line] = axes.plot(*zip(*curve, strict=True), marker="o" if len(curve) < 30 else "", markersize=3, label=name)
        if name == HELD_OUT:
            errors = history.curves.get(HELD_OUT_ERROR, {})
            low = [value - errors.get(step, 0) for step, value in curve]
            high = [value + errors.get(step, 0) for step, value in curve]
            axes.fill_between([step for step, _ in curve], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    marked = set()
    for step, alarm in history.alarms if PROXY in names or HELD_OUT in names else ():
        axes.axvline(step, color="tab:red", linestyle="--", linewidth=1, label=None if alarm in marked else alarm)
        marked.add(alarm)
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("step")
    axes.tick_params(labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(names) > 1 or names[0] != title or marked:
        axes.legend(fontsize="x-small", framealpha=0.5)


def _wanted(name: str, curve: Mapping[int, float], patterns: Sequence[str]) -> bool:
    if patterns:
        return any(fnmatchcase(name, pattern) for pattern in patterns)
    return name in (PROXY, HELD_OUT) or (name != HELD_OUT_ERROR and len(set(curve.values())) > 1)
