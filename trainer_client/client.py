"""`RewardClient`: the client of a reward service, for code without an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Unpack

from trainer_client.async_client import AsyncRewardClient
from trainer_client.background import Background
from trainer_client.calls import CallOptions, OneItem, ScoreOptions, Text, Verifier
from trainer_client.results import Comparison, TakenSignal, Verdict


class RewardClient:
    """`AsyncRewardClient` for code without an event loop; every call returns when it has its answer.

    An event loop in a thread of its own does the work, so that calls from several threads share requests too, and
    calls from inside somebody else's event loop work. It starts with the first call in each process, also after a
    fork or unpickling.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        deadline_s: float = 120.0,
        max_in_flight: int = 8,
        unscored_tries: int = 3,
    ) -> None:
        self._client = AsyncRewardClient(
            url, api_key, deadline_s=deadline_s, max_in_flight=max_in_flight, unscored_tries=unscored_tries
        )
        self._background = Background(self._client.close)

    def __getstate__(self) -> AsyncRewardClient:
        return self._client

    def __setstate__(self, client: AsyncRewardClient) -> None:
        self._client = client
        self._background = Background(client.close)

    def __repr__(self) -> str:
        return f"RewardClient({self._client.url!r})"

    @property
    def url(self) -> str:
        """The service's URL."""
        return self._client.url

    @property
    def deadline_s(self) -> float:
        """Seconds until a call ends."""
        return self._client.deadline_s

    def score(
        self,
        verifier: Verifier,
        items: Sequence[Mapping[str, Any]] | None = None,
        *,
        completions: Sequence[Text] | None = None,
        prompts: Sequence[Text] | None = None,
        references: Sequence[Any] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> list[Verdict]:
        """One verdict for each item, in order; see `AsyncRewardClient.score`."""
        return self._background.run(
            self._client.score(
                verifier, items, completions=completions, prompts=prompts, references=references, **options
            )
        )

    def score_one(self, verifier: Verifier, completion: Text, **fields: Unpack[OneItem]) -> Verdict:
        """The verdict of one completion."""
        return self._background.run(self._client.score_one(verifier, completion, **fields))

    def compare(
        self,
        verifier: Verifier,
        items: Sequence[Mapping[str, Any]],
        *,
        method: Literal["auto", "all", "tournament"] = "auto",
        **options: Unpack[CallOptions],
    ) -> list[Comparison]:
        """Each prompt's completions from best to worst; see `AsyncRewardClient.compare`."""
        return self._background.run(self._client.compare(verifier, items, method=method, **options))

    def signals(self, signals: Sequence[Mapping[str, Any]], **options: Unpack[CallOptions]) -> list[TakenSignal]:
        """Tell of outcomes that came later; see `AsyncRewardClient.signals`."""
        return self._background.run(self._client.signals(signals, **options))

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """The JSON value of any endpoint's answer; see `AsyncRewardClient.request`."""
        return self._background.run(
            self._client.request(
                method, path, json, params=params, idempotency_key=idempotency_key, deadline_s=deadline_s
            )
        )

    def close(self) -> None:
        """Close the connections and end the thread; what waits for an answer fails. A later call starts anew."""
        self._background.stop()

    def __enter__(self) -> RewardClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
