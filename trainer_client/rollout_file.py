"""The unfinished rollout on disk: a resumed run takes from it what was drawn and scored, and draws only the rest.

Each rollout since the last checkpoint has a file beside the checkpoints. It is of one run, step and policy: where the
weights are not to the bit those that it was drawn from, it is begun anew. Records are framed by their length and
CRC-32. The system has them when they are written, so that a killed process loses none. They are not forced onto the
disk, so that after a power cut the end may be missing, and what is torn there ends the file.

What is taken from it is a whole pass of the sampler: `sampling.rows` completions, which are drawn side by side. The
last bits of a log-probability depend on what is computed beside it, so that a part of a pass could not be completed
to the bit: it is drawn again, and its verdicts are taken where its content is the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from trainer_client.checkpoint import trainable
from trainer_client.results import Verdict, read_verdicts
from trainer_client.rollout import Completion
from trainer_client.training_errors import CheckpointError

FORMAT = 1
_FRAME = struct.Struct("<II")
"""Length of the content in bytes, at least 1, and its CRC-32."""
_ARRAYS = (("token_ids", "<i8"), ("logprobs", "<f4"), ("mask", "i1"))
"""What of a completion is binary, in its order, one of each for a token; log-probabilities are single precision."""
Place = tuple[int, int]
"""A prompt's place in the request, and the sample's in its group."""


class RolloutFile(AbstractContextManager["RolloutFile"]):
    """What was drawn and scored of one rollout. Verdicts may be noted from any thread."""

    def __init__(self, path: Path, binding: dict[str, Any], model: Any) -> None:
        """Opens or begins the file of what `binding` and the weights of `model` name. Raises `CheckpointError`."""
        self._path = path
        self._lock = threading.Lock()
        self._passes: dict[str, list[bytes]] = {}
        self._verdicts: dict[str, list[Verdict]] = {}
        self._rows: dict[Place, int] = {}
        self.failures = 0
        """How often the run has failed because of what was unscored."""
        header = b"H" + json.dumps({"format": FORMAT, **binding, "policy": weights_digest(trainable(model))}).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.read_bytes() if path.exists() else b""
            frames = list(_frames(kept))
            if not frames or frames[0][0] != header:
                frames = []
            self._file: FileIO = path.open("r+b" if frames else "wb", buffering=0)  # what is not whole is cut off
            self._file.truncate(self._file.seek(frames[-1][1] if frames else 0))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from error
        for content, _ in frames:
            self._read(content)
        if not frames:
            self._append(header)

    def drawn(self, names: Sequence[str], places: Sequence[Place]) -> list[list[Completion]] | None:
        """The completions of a pass as they ended, together where at the same token; None where not all are there.

        `names` are those of the random numbers of each completion, `places` where each belongs.
        """
        ended = self._passes.get(_pass_id(names))
        if ended is None:
            return None
        found = [_completions(content, places) for content in ended]
        return found if sum(map(len, found)) == len(places) else None

    def begin(self, names: Sequence[str], places: Sequence[Place]) -> None:
        """A pass is drawn from its beginning, whatever there is of it."""
        self._rows = {place: row for row, place in enumerate(places)}
        self._append(b"P" + _pass_id(names).encode())

    def add(self, finished: Sequence[Completion]) -> None:
        """Completions of the pass that was begun, which have ended at the same token."""
        rows = [self._rows[completion.prompt, completion.sample] for completion in finished]
        self._append(b"E" + _ending(finished, rows))

    def verdicts(self, content: str) -> list[Verdict] | None:
        """The verdicts of a request with this content, if they have come."""
        return self._verdicts.get(content)

    def note(self, content: str, verdicts: Sequence[Verdict]) -> None:
        """What a request with this content has been answered."""
        answer = json.dumps(verdicts, default=_fields)
        self._append(b"V" + json.dumps(content).encode() + b"\n" + answer.encode())

    def ask_again(self) -> None:
        """The run fails because of what is unscored: the next attempt asks for those verdicts anew."""
        self._append(b"F")

    def close(self) -> None:
        """Nothing is written any more; what threads still note is dropped."""
        with self._lock:
            self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, content: bytes) -> None:
        with self._lock:
            if self._file.closed:
                return
            frame = _FRAME.pack(len(content), zlib.crc32(content)) + content
            try:
                written = self._file.write(frame)
            except OSError as error:
                raise CheckpointError(f"{self._path}: cannot be written: {error.strerror or error}") from error
            if written != len(frame):
                raise CheckpointError(f"{self._path}: cannot be written: the disk is full; free space, and resume")

    def _read(self, content: bytes) -> None:
        kind, rest = content[:1], content[1:]
        if kind == b"P":
            self._passes[rest.decode()] = self._current = []
        elif kind == b"E":
            self._current.append(rest)
        elif kind == b"V":
            name, _, answer = rest.partition(b"\n")
            items = json.loads(answer)
            self._verdicts[json.loads(name)] = read_verdicts({"items": items}, len(items))
        elif kind == b"F":
            self.failures += 1
            scored = {name: own for name, own in self._verdicts.items() if all(v.score is not None for v in own)}
            self._verdicts = scored


def rollout_path(folder: Path, step: int, rank: int) -> Path:
    """The file of a step's rollout, or of the part of it that a process draws."""
    return folder / f"rollout-{step:06d}-{rank}.bin"


def drop_rollouts(folder: Path, up_to: int | None = None) -> None:
    """Remove the files of all processes, those of later steps than `up_to` excepted."""
    for path in folder.glob("rollout-*-*.bin"):
        if up_to is None or int(path.stem.split("-")[1]) <= up_to:
            path.unlink(missing_ok=True)


def request_content(items: Sequence[dict[str, Any]]) -> str:
    """What a request for verdicts is about: which completions, and what they say."""
    said = [[item[name] for name in ("id", "completion", "tokens", "finish_reason")] for item in items]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """A digest of named weights: the sums of their bits as integers, which are exact on any device.

    Other weights have other sums, up to a chance that matters to nobody, and reading them once is all that it costs.
    """
    named = sorted(weights.items())
    sums = [_sum_of_bits(weight.detach()) for _, weight in named]
    told = [[name, *weight.shape] for name, weight in named], torch.stack(sums).tolist()
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _sum_of_bits(weight: torch.Tensor) -> torch.Tensor:
    """That of its bytes, eight as one integer, which wraps around; the few that remain at its end each by itself."""
    content = weight.contiguous().view(-1).view(torch.uint8)
    content = content if content.storage_offset() % 8 == 0 else content.clone()  # or no integers of eight bytes fit
    whole = len(content) // 8 * 8
    return content[:whole].view(torch.int64).sum() + content[whole:].sum()


def _frames(kept: bytes) -> Iterator[tuple[bytes, int]]:
    """The contents of whole frames, each with where it ends; what follows one that is not whole is not read."""
    start = 0
    while start + _FRAME.size < len(kept):
        length, checksum = _FRAME.unpack_from(kept, start)
        content = kept[start + _FRAME.size : start + _FRAME.size + length]
        if not length or len(content) != length or zlib.crc32(content) != checksum:  # a power cut leaves zeros
            return
        start += _FRAME.size + length
        yield content, start


def _pass_id(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _ending(finished: Sequence[Completion], rows: Sequence[int]) -> bytes:
    heads = [
        [row, len(completion.token_ids), completion.finish_reason, completion.text]
        for row, completion in zip(rows, finished, strict=True)
    ]
    arrays = [np.asarray(getattr(each, name), kind).tobytes() for each in finished for name, kind in _ARRAYS]
    return json.dumps(heads).encode() + b"\n" + b"".join(arrays)


def _completions(ending: bytes, places: Sequence[Place]) -> list[Completion]:
    heads, _, arrays = ending.partition(b"\n")
    completions, start = [], 0
    for row, length, finish_reason, text in json.loads(heads):
        fields = {}
        for name, kind in _ARRAYS:
            fields[name] = np.frombuffer(arrays, kind, length, start).tolist()
            start += length * np.dtype(kind).itemsize
        prompt, sample = places[row]
        completions.append(Completion(prompt, sample, **fields, finish_reason=finish_reason, text=text))
    return completions


def _fields(value: Any) -> dict[str, Any]:
    """A verdict, or a part of it, for JSON."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
