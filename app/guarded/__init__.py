"""Guarded workers: our own functions run on hostile input in processes that the service bounds and kills.

The service's side is `pool` (which worker runs what), `process` (one worker and its limits) and `spawner` (the
zygote). The other side is `zygote`, which imports once and forks, and `worker`, which is what it forks. `frames` is
what they say to each other.
"""
