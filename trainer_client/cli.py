"""The `assay-train` command. Commands import torch when they run, so that `--help` and `plot` are there at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from trainer_client.errors import AssayError, DeadlineError, NotFoundError, ServiceUnavailableError
from trainer_client.training_errors import ConfigError, TrackingError, TrainingError

HERE = Path(__file__).parent
PACKAGE = str(HERE) if (HERE / "pyproject.toml").is_file() else "assay-trainer"  # in a checkout, or a wheel
INSTALL = f"{sys.executable} -m pip install '{PACKAGE}[train]'"
try:
    import typer
except ModuleNotFoundError:  # the client alone is installed
    sys.exit(f"assay-train: typer is not installed: {INSTALL}")

if TYPE_CHECKING:
    from trainer_client.config import Config
    from trainer_client.course import Outcome

FAILED, MISUSED, STOPPED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: what went wrong, a configuration that is wrong, a run that an alarm stopped, Ctrl-C."""

LOOK_S = 3.0
"""Seconds that a service has to answer before a command says that it is waiting for it."""

cli = typer.Typer(
    name="assay-train",
    help="Train language models on rewards from Assay.\n\n"
    "A task is described by one YAML file, of which any field can be set on the command line too, as "
    "section.field=value. ASSAY_URL and ASSAY_API_KEY say where the service is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="Such as grpo.steps=80 or model.dtype=bfloat16."),
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="The same, as an option.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to go on trying.")]


@cli.command()
def sft(config: ConfigFile, overrides: Overrides = None, sets: Sets = None) -> None:
    """Fine-tune on prompts and answers (section sft)."""
    settings = _settings(config, overrides, sets)
    if settings.sft is not None and settings.tracking.enabled:
        _look_for_service(settings.service.url, "tracking.enabled=false does without it.")
    from trainer_client import tasks

    _train(tasks.sft, settings)


@cli.command()
def grpo(config: ConfigFile, overrides: Overrides = None, sets: Sets = None) -> None:
    """Train by rewards, with GRPO or one of its family (section grpo)."""
    settings = _settings(config, overrides, sets)
    if settings.grpo is not None:
        _look_for_service(settings.service.url)
    from trainer_client import tasks

    _train(tasks.grpo, settings)


@cli.command()
def dpo(config: ConfigFile, overrides: Overrides = None, sets: Sets = None) -> None:
    """Learn from pairs of answers, by DPO or IPO (section preference)."""
    settings = _settings(config, overrides, sets)
    if settings.preference is not None and settings.tracking.enabled:
        _look_for_service(settings.service.url)
    from trainer_client import tasks

    _train(tasks.dpo, settings)


@cli.command()
def kto(config: ConfigFile, overrides: Overrides = None, sets: Sets = None) -> None:
    """Learn from answers that are good or bad, by KTO (section preference)."""
    settings = _settings(config, overrides, sets)
    if settings.preference is not None and settings.tracking.enabled:
        _look_for_service(settings.service.url)
    from trainer_client import tasks

    _train(tasks.kto, settings)


@cli.command()
def iterate(config: ConfigFile, overrides: Overrides = None, sets: Sets = None) -> None:
    """Sample, score and learn by DPO, IPO or KTO, again and again (section preference)."""
    settings = _settings(config, overrides, sets)
    if settings.preference is not None:
        _look_for_service(settings.service.url)
    from trainer_client import tasks

    _train(tasks.iterate, settings)


@cli.command()
def labels(
    out: Annotated[Path, typer.Argument(help="The file of rows to write.")],
    run: Annotated[str | None, typer.Option("--run", help="Only outcomes of this run.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Only those of this verifier.")] = None,
    good_from: Annotated[float, typer.Option("--good-from", help="The score from which an outcome is good.")] = 0.5,
) -> None:
    """Write the service's settled signals as rows for kto."""
    from trainer_client.client import RewardClient
    from trainer_client.labels import write_labels

    _look_for_service(None)
    with RewardClient() as client:
        written, left_out = write_labels(client, out, run=run, verifier=verifier, good_from=good_from)
    typer.echo(f"{out}: {written} rows; {left_out} outcomes had no score, or no text that was kept")


@cli.command(name="eval")
def evaluate(
    config: ConfigFile,
    overrides: Overrides = None,
    sets: Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Score a model on the held-out prompts: the mean, and pass@k (section evaluation).

    For a trained model, set model.path to the folder model/ in the folder of its run.
    """
    settings = _settings(config, overrides, sets)
    _look_for_service(settings.service.url)
    from trainer_client import tasks

    values = tasks.evaluate(settings)
    if as_json:
        import json

        typer.echo(json.dumps(values))
        return
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name.removeprefix('heldout/'):<{width}}  {value:.4f}")


@cli.command()
def fields(
    section: Annotated[str, typer.Argument(help="Only its fields, such as grpo; all where none is named.")] = "",
) -> None:
    """List the fields of the YAML file, with their defaults."""
    from trainer_client.fields import field_lines

    for field in field_lines(section):
        typer.echo(f"{field.name}  [{field.type}; {field.default}]")
        if field.meaning:
            typer.echo(f"    {field.meaning}")


@cli.command()
def plot(
    run: Annotated[str, typer.Argument(help="The folder of a run; or its name or id, to ask the service.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The PNG to write; by default NAME.png.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Only these, such as 'reward/*'. May be repeated.")
    ] = None,
) -> None:
    """Draw a run's curves into a PNG."""
    from trainer_client import plot as drawing
    from trainer_client.client import RewardClient

    history = drawing.local_history(Path(run))
    if history is None and len(Path(run).parts) > 1 and Path(run).is_dir():
        raise TrackingError(f"{run} has no record of a run: name the folder of one, or a run of the service")
    if history is None:
        with RewardClient(deadline_s=30) as client:
            try:
                history = drawing.recorded_history(client, run)
            except NotFoundError as error:
                raise TrackingError(f"{run} is neither the folder of a run nor, in the service, a run") from error
    path = out or Path(history.run.replace("/", "-") + ".png")
    drawing.draw(history, path, metrics or ())
    typer.echo(str(path))


@cli.command()
def send(
    folder: Annotated[Path, typer.Argument(help="The folder of a run that has ended.")], wait: Wait = 60.0
) -> None:
    """Send what a run could not send while the service was away."""
    from trainer_client.client import RewardClient
    from trainer_client.tracking import send_rest, to_stderr

    with RewardClient() as client:
        left = send_rest(folder, client, wait, to_stderr)
    if left:
        raise TrainingError(f"{left} events remain in {folder}; is the service up? Give the command again")
    typer.echo("everything is sent")


def _settings(config: Path, overrides: Sequence[str] | None, sets: Sequence[str] | None) -> Config:
    from trainer_client.config import load

    return load(config, [*(overrides or ()), *(sets or ())])


def _look_for_service(url: str | None, advice: str = "") -> None:
    """Say at once where no service answers: what follows goes on trying, for minutes and without a word.

    Raises `AuthError` without a key.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    from trainer_client.client import RewardClient

    with RewardClient(url, deadline_s=LOOK_S) as client:
        try:
            client.request("GET", "/healthz")
        except (ServiceUnavailableError, DeadlineError) as error:
            typer.echo(f"assay-train: {error} Trying on. {advice}".rstrip(), err=True)


def _train(task: Callable[[Config], Outcome], config: Config) -> None:
    """Do a task and say how it ended. Raises `typer.Exit` where an alarm or Ctrl-C ended it."""
    try:
        outcome = task(config)
    except KeyboardInterrupt:
        typer.echo(
            f"{config.run}: stopped; the same command goes on from the last checkpoint, if there is one", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    if os.environ.get("RANK", "0") != "0":
        return
    ended = {
        "finished": "finished at",
        "paused": "paused by an alarm at",
        "rolled_back": "rolled back by an alarm to",
    }
    typer.echo(f"{config.run}: {ended[outcome.status]} step {outcome.step}; the model is in {outcome.folder}")
    typer.echo(f"curves: assay-train plot {config.folder}")
    if outcome.status != "finished":
        raise typer.Exit(STOPPED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; always ends in SystemExit with its exit code."""
    run: Callable[..., object] = cli
    try:
        run(arguments, prog_name="assay-train")
    except (TrainingError, AssayError) as error:
        typer.echo(f"assay-train: {error}", err=True)
        sys.exit(MISUSED if isinstance(error, ConfigError) else FAILED)
    except OSError as error:  # a file that cannot be written, a disk that is full
        typer.echo(f"assay-train: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        sys.exit(FAILED)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "trainer_client"):
            raise
        typer.echo(f"assay-train: {package} is not installed: {INSTALL}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
