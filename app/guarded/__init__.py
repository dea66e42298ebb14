"""Guarded workers: our own functions run on hostile input in processes that the service bounds and kills.

The service's side is `pool` (which worker runs what), `call` (what is left of a call), `process` (one worker and its
limits), `request` (what is sent to it) and `spawner` (the zygote). The other side is `zygote`, which imports once and
forks, and `worker`, which is what it forks. `frames` is the wire between the two.
"""
