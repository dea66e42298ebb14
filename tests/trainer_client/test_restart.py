"""A service that is killed in the middle of a step and started again on the same data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.service import Service
from trainer_client import RewardClient, Verdict

CALLS, SIZE = 60, 20


def test_nothing_is_lost_and_nothing_recorded_twice(homes: Path) -> None:
    running = Service(homes / "restarted").start()
    try:
        with RewardClient(running.url, running.key, deadline_s=400, max_in_flight=4) as client:

            def call(number: int) -> list[Verdict]:
                texts = [f"{number}.{i}" for i in range(SIZE)]
                return client.score("text", completions=texts, references=texts, run="step", step=number)

            with ThreadPoolExecutor(12) as pool:
                calls = [pool.submit(call, number) for number in range(CALLS)]
                next(as_completed(calls))  # some are answered, some in flight, and most not yet made
                running.kill()
                running.start()
                verdicts = [verdict for done in calls for verdict in done.result()]
            assert [verdict.score for verdict in verdicts] == [1.0] * CALLS * SIZE
            recorded: list[str] = []
            cursor: str | None = None
            for _ in range(CALLS * SIZE):
                params = {"run": "step", "limit": "1000", **({"cursor": cursor} if cursor else {})}
                page = client.request("GET", "/scores", params=params)
                recorded += [row["id"] for row in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
        assert sorted(recorded) == sorted(str(verdict.score_id) for verdict in verdicts)
    finally:
        running.stop()
