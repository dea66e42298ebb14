"""`assay doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

import typer

from app.cli.faults import CommandError, read_settings
from app.cli.output import printable
from app.cli.session import Url, service_url
from app.doctor import HOST_CHECKS, INSTALLATION_CHECKS, Finding, Host, Status

COLOURS = {
    Status.OK: typer.colors.GREEN,
    Status.WARNING: typer.colors.YELLOW,
    Status.PROBLEM: typer.colors.RED,
}


def doctor(url: Url = None) -> None:
    """Check this machine and the service on it. Exit code 1 means that there is a problem."""
    if url is not None:
        url = service_url(url)
    problems = sum(_shown(check()) is Status.PROBLEM for check in INSTALLATION_CHECKS)
    if not problems:
        import asyncio

        problems = asyncio.run(_examine(url))
    if problems:
        raise CommandError("1 problem" if problems == 1 else f"{problems} problems")


async def _examine(url: str | None) -> int:
    try:
        host = Host(read_settings(), url)
    except CommandError as error:
        _shown(Finding("settings", Status.PROBLEM, str(error), "correct these variables; docs/settings.md lists all"))
        return 1
    return sum([_shown(await check(host)) is Status.PROBLEM for check in HOST_CHECKS])


def _shown(finding: Finding) -> Status:
    status = typer.style(f"{finding.status:8}", fg=COLOURS[finding.status])
    typer.echo(f"{status} {finding.name:12} {printable(finding.message)}")
    if finding.todo:
        typer.echo(f"{'':21} -> {printable(finding.todo)}")
    return finding.status
