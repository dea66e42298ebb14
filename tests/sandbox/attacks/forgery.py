"""Forge the verdict: programs that try to pass without solving.

`forgery_process` has those that go through the process (exits, output, patches, frames, files, time, fences),
`forgery_values` those that go through what comes back (objects, numbers, arguments, and the rules of the split);
`forgery_tasks` the tasks that they do not solve. Most forgeries are aimed at every type of reference that the trick
can reach; the type is the last part of their name.
"""

from __future__ import annotations

from tests.sandbox.attacks.forgery_process import FORGED_PROCESSES
from tests.sandbox.attacks.forgery_values import FORGED_VALUES
from tests.sandbox.attacks.model import Attack

FORGERIES: list[Attack] = [*FORGED_PROCESSES, *FORGED_VALUES]
