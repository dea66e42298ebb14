"""`assay serve`: the service itself."""

from __future__ import annotations

import signal
from contextlib import suppress

from app.cli.faults import CommandError, read_settings


def serve() -> None:
    """Run the service until Ctrl-C or SIGTERM. Settings are ASSAY_* variables; docs/settings.md lists them."""
    from app.doctor import check_verifiers

    settings = read_settings()
    package = check_verifiers()
    if package.todo:
        raise CommandError(f"{package.message}: {package.todo}")

    from app import supervisor

    # SIGTERM would otherwise end the process where it stands, and leave the embedded database running
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):  # how it is ended; what it held has been released by now
            supervisor.serve(settings)
    except supervisor.StartError as error:
        raise CommandError(str(error)) from error
