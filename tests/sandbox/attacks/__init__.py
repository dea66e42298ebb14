"""The attack corpus: what untrusted completions try, as data, and honest items to run beside it.

Every phrase of the attack list ("Use up resources", "Get out", "Reach the next run", "Forge the verdict", and the
rules of its last paragraph) has at least two different programs here; `test_corpus.py` counts them. Programs are
text: nothing in this package runs one. They are meant for a sandbox, and only for that.

What a runner does with it:

- Before the sandbox starts, it sets `SECRET_ENV` in the service's environment, writes `SECRET_FILE` to each of
  `SECRET_FILES` (mode 0644), makes sure that `PWNED_FILE` does not exist, and listens on `ABSTRACT_SOCKET` and on a
  TCP port of 127.0.0.1 (and ::1), which `filled(item, port)` puts in the place of `{PORT}` in completions.
- `ATTACKS`: each item through `POST /score` with its inline verifier, in batches mixed with `HONEST`. The outcome
  must be one of `outcomes` (and an `unscored` one's `error.type` one of `errors`); what `EVERYWHERE` and the attack's
  own `contained` say must hold. Items of a language that the sandbox does not offer (`config["language"]`) are
  skipped.
- `PAIRS`: plants, then finders, many times through a pool of one or two cells; never a finder that is `correct`.
- `FETCHES`, `REPEATS`: through `POST /compat/sandbox-fusion/run_code`. `BAD_PATHS` are also no names for `files` of a
  configuration.
- `HONEST`: `correct`, whatever else runs.
"""

from __future__ import annotations

from tests.sandbox.attacks.escape import BAD_PATHS, ESCAPES, FETCHES
from tests.sandbox.attacks.forgery import FORGERIES
from tests.sandbox.attacks.honest import HONEST
from tests.sandbox.attacks.model import (
    ABSTRACT_SOCKET,
    ESCAPED,
    EVERYWHERE,
    FOUND,
    MARGIN_S,
    PHRASES,
    PORT,
    PWNED_FILE,
    SECRET_ENV,
    SECRET_FILE,
    SECRET_FILES,
    Attack,
    Contained,
    Fetch,
    Honest,
    Pair,
    Repeat,
    filled,
    programs,
)
from tests.sandbox.attacks.persistence import BETWEEN_CASES, PAIRS, REPEATS
from tests.sandbox.attacks.resources import RESOURCES

ATTACKS: list[Attack] = [*RESOURCES, *ESCAPES, *BETWEEN_CASES, *FORGERIES]

__all__ = [
    "ABSTRACT_SOCKET",
    "ATTACKS",
    "BAD_PATHS",
    "BETWEEN_CASES",
    "ESCAPED",
    "ESCAPES",
    "EVERYWHERE",
    "FETCHES",
    "FORGERIES",
    "FOUND",
    "HONEST",
    "MARGIN_S",
    "PAIRS",
    "PHRASES",
    "PORT",
    "PWNED_FILE",
    "REPEATS",
    "RESOURCES",
    "SECRET_ENV",
    "SECRET_FILE",
    "SECRET_FILES",
    "Attack",
    "Contained",
    "Fetch",
    "Honest",
    "Pair",
    "Repeat",
    "filled",
    "programs",
]
