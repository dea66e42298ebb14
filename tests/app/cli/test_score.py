"""`assay score`, against the live service."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.score import ScoreOptions
from app.cli.stream import BATCH_ITEMS, IN_FLIGHT, batches, made_in_thread
from app.cli.tally import Tally
from app.readers import Choice, Source
from tests.app.cli.conftest import Assay, Ran
from tests.app.cli.faulty import Fault, faulty
from tests.conftest import DATA
from tests.service import ROOT, Service

SAMPLE = ROOT / "examples" / "sample.jsonl"
WriteRows = Callable[..., Path]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def letters(count: int) -> list[dict[str, Any]]:
    """Rows for `text`: every third is correct."""
    return [{"id": str(n), "completion": "abc"[n % 3], "reference": "a"} for n in range(count)]


def recorded(assay: Assay, *filters: str) -> list[dict[str, Any]]:
    return assay("scores", "--json", "--limit", "100000", *filters).json_lines()


class TestSample:
    """The sample that the README scores."""

    def test_summary_is_what_is_written_and_recorded(self, assay: Assay, tmp_path: Path) -> None:
        out = tmp_path / "scored.jsonl"
        ran = assay("score", SAMPLE, "--out", out, "--json", "--run", "sample", "--step", "3")
        assert ran.code == 0, ran.err
        rows, results, summary = read(SAMPLE), read(out), ran.json()
        assert [result["id"] for result in results] == [row["id"] for row in rows]
        assert [result["line"] for result in results] == list(range(1, len(rows) + 1))
        assert summary["outcomes"] == Counter(result["outcome"] for result in results)
        assert set(summary["outcomes"]) == {"correct", "incorrect", "scored", "unparseable", "rejected", "unscored"}
        assert (summary["unscored"], summary["errors"]) == (1, {"bad_item": 1})
        scores = [result["score"] for result in results if result["score"] is not None]
        assert summary["mean"] == pytest.approx(sum(scores) / len(scores))
        assert {row["id"] for row in recorded(assay, "--run", "sample")} == {r["score_id"] for r in results}
        assert {row["step"] for row in recorded(assay)} == {3}

    def test_verdicts(self, assay: Assay, tmp_path: Path) -> None:
        out = tmp_path / "scored.jsonl"
        assay("score", SAMPLE, "--out", out)
        outcomes = {result["id"]: result["outcome"] for result in read(out)}
        assert outcomes["rolls-1"] == outcomes["tank-4"] == outcomes["root-2"] == outcomes["json-1"] == "correct"
        assert outcomes["rolls-3"] == outcomes["river-4"] == outcomes["tags-2"] == outcomes["json-2"] == "incorrect"
        assert outcomes["rolls-4"] == "rejected"
        assert outcomes["rolls-5"] == outcomes["root-4"] == outcomes["json-3"] == "unparseable"
        assert outcomes["no-reference"] == "unscored"

    def test_table(self, assay: Assay) -> None:
        ran = assay("score", SAMPLE)
        assert ran.code == 0
        lines = dict(line.rsplit(maxsplit=1) for line in ran.out.splitlines() if line.strip())
        assert lines["items"] == "32"
        assert lines["outcome rejected"] == "1"
        assert lines["error bad_item"] == "1"
        assert lines["groups"] == "7"
        assert lines["groups with equal scores"] == "0.0%"
        # no terminal, no progress bar; but why an item is unscored
        assert ran.err.startswith("bad_item, for example: reference: ")
        assert ran.err.count("\n") == 1


class TestRows:
    def test_a_verifier_for_rows_that_name_none(self, assay: Assay, write_rows: WriteRows) -> None:
        file = write_rows(
            {"completion": "4", "reference": "4"},
            {"completion": "2", "reference": "\\frac{4}{2}", "verifier": "math"},
        )
        assert assay("score", file, "-v", "text", "--json").json()["outcomes"] == {"correct": 2}
        assert assay("score", file, "--json").json()["outcomes"] == {"correct": 1, "unscored": 1}

    def test_malformed_rows_cost_only_themselves(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        good = {"completion": "a", "reference": "a"}
        file = write_rows(good, b"{broken", b"", [1], good, b'{"completion": NaN}', {"prompt": "?"}, b"\xff", good)
        out = tmp_path / "out.jsonl"
        ran = assay("score", file, "-v", "text", "--out", out, "--json")
        assert ran.code == 1
        assert ran.json()["malformed"] == 5
        assert [line.split(":")[0] for line in ran.err.splitlines()] == [
            *(f"line {number}" for number in (2, 4, 6, 7, 8)),
            "5 malformed rows were not scored",
        ]
        results = read(out)
        assert [result["line"] for result in results] == [1, 2, 4, 5, 6, 7, 8, 9]
        assert [result["score"] for result in results] == [1, None, None, 1, None, None, None, 1]
        assert {r["error"]["type"] for r in results if r["score"] is None} == {"bad_item"}
        # what stands in for the service's result has its form
        assert all(result.keys() == results[0].keys() for result in results)

    def test_only_the_first_malformed_rows_are_named(self, assay: Assay, write_rows: WriteRows) -> None:
        ran = assay("score", write_rows(*[b"no"] * 30), "-v", "text", "--json")
        assert ran.err.count("\nline ") + 1 == 20
        assert "... and 10 more malformed rows\n30 malformed rows were not scored\n" in ran.err
        assert ran.json()["count"] == ran.json()["unscored"] == 30

    def test_several_completions_of_a_row_are_a_group(
        self, assay: Assay, write_rows: WriteRows, tmp_path: Path
    ) -> None:
        file = write_rows(
            {"id": "q1", "completions": ["a", "b"], "reference": "a"},
            {"samples": ["a", "a", "a"], "reference": "a"},
            {"id": "alone", "group": "q3", "completion": "b", "reference": "a"},
        )
        out = tmp_path / "out.jsonl"
        summary = assay("score", file, "-v", "text", "--out", out, "--json").json()
        assert summary["groups"] == {"count": 2, "mean": 0.75, "equal": 0.5}
        assert [(r["line"], r.get("sample"), r["id"], r["score"]) for r in read(out)] == [
            (1, 0, "q1/0", 1),
            (1, 1, "q1/1", 0),
            (2, 0, None, 1),
            (2, 1, None, 1),
            (2, 2, None, 1),
            (3, None, "alone", 0),
        ]
        assert sorted(row["group"] for row in recorded(assay)) == ["line 2"] * 3 + ["q1"] * 2 + ["q3"]

    def test_public_formats_score_their_own_answers(
        self, assay: Assay, write_rows: WriteRows, tmp_path: Path
    ) -> None:
        file = write_rows(
            {"question": "How many?", "answer": "2000 + 125 = <<2000+125=2125>>2125\n#### 2,125"},
            {"problem": "Halve 1.", "solution": "It is $\\boxed{\\frac{1}{2}}$.", "unique_id": "m/1"},
        )
        assert assay("score", file, "-v", "math", "--gold", "--json").json()["outcomes"] == {"correct": 2}
        assert "--gold" in assay("score", file, "-v", "math", "--gold", "--completion-field", "x").err

        ran = assay("score", file, "-v", "math", "--format", "gsm8k", "--gold")
        assert ran.code == 1
        assert ran.err.startswith("line 2: 'ground_truth' is missing")

    def test_no_text_is_changed_on_the_way(self, assay: Assay, service: Service, write_rows: WriteRows) -> None:
        completion = 'nul \x00, surrogate \ud800, quote ", \u2028, 中文, \U0001f600'
        assay("score", write_rows({"completion": completion, "reference": completion}), "-v", "text")
        [row] = recorded(assay)
        assert row["outcome"] == "correct"
        kept = service.get(f"/scores/{row['id']}", key=os.environ["ASSAY_API_KEY"]).json()
        assert kept["item"]["completion"] == completion

    def test_nesting_up_to_the_services_bound(self, assay: Assay, write_rows: WriteRows) -> None:
        def row(depth: int) -> bytes:
            deep = b"[" * depth + b"]" * depth
            return b'{"completion": "a", "reference": "a", "metadata": {"deep": ' + deep + b"}}"

        ran = assay("score", write_rows(row(60), row(62)), "-v", "text", "--json")
        assert ran.json()["outcomes"] == {"correct": 1, "unscored": 1}
        assert ran.err.startswith("line 2: nests deeper than 62 levels")

    def test_gzip(self, assay: Assay, tmp_path: Path) -> None:
        file = tmp_path / "rows"
        file.write_bytes(gzip.compress(SAMPLE.read_bytes()))
        assert assay("score", file, "--json").json()["count"] == 32

    def test_damaged_gzip(self, assay: Assay, tmp_path: Path) -> None:
        file, out = tmp_path / "rows.jsonl.gz", tmp_path / "out.jsonl"
        file.write_bytes(gzip.compress(os.urandom(50_000).hex().encode() + b"\n" + SAMPLE.read_bytes())[:-500])
        ran = assay("score", file, "--out", out)
        assert ran.code == 1
        assert re.search(rf"^{file} cannot be read after line \d+: ", ran.err)
        assert list(tmp_path.iterdir()) == [file]

    def test_an_empty_file(self, assay: Assay, write_rows: WriteRows) -> None:
        ran = assay("score", write_rows(), "--json")
        assert (ran.code, ran.json()["count"], ran.json()["mean"]) == (0, 0, None)


class TestOptions:
    def test_choices_are_those_of_the_service(self, bare_assay: Assay) -> None:
        said = " ".join(bare_assay("score", "--help").out.split())
        for name in ("on_error", "detail"):
            for choice in get_args(ScoreOptions.model_fields[name].annotation):
                assert choice in said

    def test_detail(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        file, out = write_rows(*letters(1)), tmp_path / "out.jsonl"
        details = []
        for detail in ("none", "brief"):
            assay("score", file, "-v", "text", "--detail", detail, "--out", out)
            details.append(read(out)[0]["detail"])
        assert details == [{}, {"stage": "exact"}]

    def test_on_error_zero(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        file, out = write_rows({"completion": "a", "reference": "a"}, {"completion": "a"}, b"no"), tmp_path / "out"
        summary = assay("score", file, "-v", "text", "--on-error", "zero", "--out", out, "--json").json()
        assert [result["score"] for result in read(out)] == [1, 0, 0]
        # a zero that was asked for is not averaged as a score
        assert (summary["scored"], summary["unscored"], summary["mean"]) == (1, 2, 1)

    def test_on_error_fail(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        file, out = write_rows(*letters(3), {"completion": "a"}), tmp_path / "out.jsonl"
        ran = assay("score", file, "-v", "text", "--on-error", "fail", "--out", out)
        assert ran.code == 1
        assert "1 of 4 items could not be scored" in ran.err
        assert f"{out} was not written" in ran.err
        assert not out.exists()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["-v", "nothing"], "no verifier 'nothing'"),
            (["-v", "text@99"], "no verifier 'text@99'"),
            (["-v", "text", "--step", "-1"], "/step"),
            (["-v", "text", "--run", "a\nb"], "/run"),
        ],
    )
    def test_what_is_wrong_with_every_batch_is_said_once(
        self, assay: Assay, write_rows: WriteRows, options: list[str], said: str
    ) -> None:
        ran = assay("score", write_rows(*letters(3 * BATCH_ITEMS)), *options)
        assert ran.code == 1
        assert said in ran.err
        assert ran.err.count("\n") == 1
        assert recorded(assay) == []

    def test_wrong_key(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        ran = assay("score", write_rows(*letters(3)), "-v", "text", "--key", "assay_x", "--out", tmp_path / "out")
        assert ran.code == 1
        assert "check --key or ASSAY_API_KEY" in ran.err
        assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]

    def test_dead_service(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        ran = assay("score", write_rows(*letters(3)), "--url", "http://127.0.0.1:1", "--out", tmp_path / "out")
        assert ran.code == 1
        assert "nothing answers at http://127.0.0.1:1" in ran.err
        assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]

    def test_files_that_are_none(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        assert "No such file" in assay("score", tmp_path / "none").err
        assert "Is a directory" in assay("score", tmp_path).err
        rows = write_rows(*letters(1))
        assert "cannot be written" in assay("score", rows, "-v", "text", "--out", tmp_path / "none" / "out").err
        for taken in (tmp_path, Path("/dev/null")):
            assert "is not a file that can be replaced" in assay("score", rows, "--out", taken).err

    def test_out_is_replaced_through_a_link(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_text("old")
        link.symlink_to(target)
        assay("score", write_rows(*letters(2)), "-v", "text", "--out", link)
        assert link.is_symlink()
        assert len(read(target)) == 2


class TestManyRows:
    def test_order_over_many_batches(self, assay: Assay, write_rows: WriteRows, tmp_path: Path) -> None:
        rows = letters(6 * BATCH_ITEMS + 1)
        rows[700] = {"id": "700", "nothing": 0}
        out = tmp_path / "out.jsonl"
        summary = assay("score", write_rows(*rows), "-v", "text", "--out", out, "--json").json()
        results = read(out)
        assert [result["line"] for result in results] == list(range(1, len(rows) + 1))
        assert [r["id"] for n, r in enumerate(results) if n != 700] == [
            r["id"] for n, r in enumerate(rows) if n != 700
        ]
        assert summary["outcomes"] == {"incorrect": 2047, "correct": 1025, "unscored": 1}

    def test_lost_batches_are_sent_again_and_recorded_once(
        self, assay: Assay, service: Service, write_rows: WriteRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.http_client.FIRST_PAUSE_S", 0.01)
        rows, out = letters(5 * BATCH_ITEMS), tmp_path / "out.jsonl"
        lost, away = Fault.LOSE_ANSWER, Fault.ANSWER_503
        faults = (lost, away, Fault.NONE, lost, Fault.LOSE_REQUEST, lost)
        with faulty(service, *faults) as url:
            ran = assay("score", write_rows(*rows), "-v", "text", "--url", url, "--out", out, "--json")
        assert ran.code == 0, ran.err
        assert "trying again" in ran.err
        assert [result["id"] for result in read(out)] == [row["id"] for row in rows]
        assert ran.json()["count"] == len(rows)
        assert Counter(row["id"] for row in recorded(assay)) == Counter(r["score_id"] for r in read(out))

    def test_a_service_that_stays_away(
        self, assay: Assay, service: Service, write_rows: WriteRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.http_client.FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr("app.http_client.PATIENCE_S", 0.2)
        out = tmp_path / "out.jsonl"
        with faulty(service, Fault.NONE, *[Fault.LOSE_REQUEST] * 1000) as url:
            ran = assay("score", write_rows(*letters(2 * BATCH_ITEMS)), "-v", "text", "--url", url, "--out", out)
        assert ran.code == 1
        assert ran.err.splitlines()[-3:] == [
            f"{BATCH_ITEMS} items were answered and recorded, {BATCH_ITEMS} of them scored",
            f"{BATCH_ITEMS} more items were sent; they may be recorded too",
            f"{out} was not written",
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]

    def test_items_that_do_not_fit_in_a_request(
        self, assay: Assay, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.cli.stream.BATCH_BYTES", 3000)
        monkeypatch.setattr("app.cli.stream.MAX_ITEM_BYTES", 5000)
        sizes = (10, 1500, 1500, 4500, 10, 6000, 10)
        rows = [{"completion": "a" * size, "reference": "b"} for size in sizes]
        file = write_rows(*rows)
        made = list(batches(Source(file), Choice()))
        assert [[entry.place["line"] for entry in batch.entries] for batch in made] == [[1, 2], [3], [4], [5, 6, 7]]
        ran = assay("score", file, "-v", "text", "--json")
        assert ran.json()["outcomes"] == {"incorrect": 6, "unscored": 1}
        assert ran.err.startswith("line 6: an item of more than")


def start(service: Service, key: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "score", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "ASSAY_URL": service.url, "ASSAY_API_KEY": key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


class TestProcess:
    def test_standard_input(self, service: Service, project_key: str) -> None:
        for content in (SAMPLE.read_bytes(), gzip.compress(SAMPLE.read_bytes())):
            ran = subprocess.run(
                [sys.executable, "-m", "app.cli", "score", "-", "--json", "--key", project_key, "--url", service.url],
                cwd=ROOT,
                input=content,
                capture_output=True,
                check=True,
            )
            assert json.loads(ran.stdout)["count"] == 32

    def test_ctrl_c_leaves_no_half_file(
        self, service: Service, assay: Assay, project_key: str, tmp_path: Path
    ) -> None:
        out = tmp_path / "out.jsonl"
        out.write_text("what was there before\n")
        process = start(service, project_key, "-", "-v", "text", "--out", out)
        assert process.stdin is not None
        # enough that the first batches are answered, while the reader goes on waiting for more
        count = (IN_FLIGHT + 2) * BATCH_ITEMS
        for row in letters(count + 1):
            process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        limit = time.monotonic() + 60
        while len(recorded(assay)) < count and time.monotonic() < limit:
            time.sleep(0.05)
        assert len(list(tmp_path.glob(".out.jsonl.*.partial"))) == 1
        process.send_signal(signal.SIGINT)
        process.wait(60)  # although its standard input is still open
        said = process.communicate()[1]
        assert process.returncode == 130
        assert said.startswith("interrupted\n")
        assert "items were answered and recorded" in said
        assert "Traceback" not in said
        assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
        assert out.read_text() == "what was there before\n"

    def test_a_terminal_shows_progress(self, service: Service, project_key: str, write_rows: WriteRows) -> None:
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "score", str(write_rows(*letters(2000))), "-v", "text"],
            cwd=ROOT,
            env={**os.environ, "ASSAY_URL": service.url, "ASSAY_API_KEY": project_key, "TERM": "xterm"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # Linux says EIO once the other end is closed
            assert process.wait(60) == 0
        os.close(ours)
        assert b"2000 items" in shown
        assert b"outcome correct" in shown


class TestThread:
    """Values that are made in a thread."""

    @staticmethod
    def values(count: int, fault: Exception | None = None) -> Generator[int, None, None]:
        yield from range(1, count + 1)
        if fault is not None:
            raise fault

    @pytest.mark.parametrize("count", [0, 1, 5])
    async def test_all_in_order(self, count: int) -> None:
        assert [value async for value in made_in_thread(self.values(count))] == list(range(1, count + 1))

    async def test_what_is_raised_there_is_raised_here(self) -> None:
        seen = []
        with pytest.raises(ValueError, match="in the thread"):
            async for value in made_in_thread(self.values(2, ValueError("in the thread"))):
                seen.append(value)
        assert seen == [1, 2]

    async def test_the_values_are_closed_where_nobody_wants_more(self) -> None:
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def values() -> Generator[int, None, None]:
            try:
                yield 1
                yield 2
            finally:
                loop.call_soon_threadsafe(closed.set)

        made = made_in_thread(values())
        assert await anext(made) == 1
        await made.aclose()
        await asyncio.wait_for(closed.wait(), 10)


RESULT = st.one_of(
    st.builds(lambda score: {"outcome": "scored", "score": score, "error": None}, st.integers(-2, 2).map(float)),
    st.just({"outcome": "unscored", "score": None, "error": {"type": "worker_lost", "message": "lost"}}),
    st.just({"outcome": "unscored", "score": 0.0, "error": {"type": "bad_item", "message": "bad"}}),
)


@given(st.lists(st.tuples(RESULT, st.sampled_from([None, "g", "h"]))))
def test_tally_counts_every_result_once(results: list[tuple[dict[str, Any], str | None]]) -> None:
    tally = Tally()
    for result, group in results:
        tally.add(result, group)
    summary = tally.summary(2.0)
    scores = [result["score"] for result, _ in results if result["outcome"] == "scored"]
    assert summary["count"] == len(results) == summary["scored"] + summary["unscored"]
    assert summary["mean"] == (pytest.approx(sum(scores) / len(scores)) if scores else None)
    assert sum(summary["outcomes"].values()) == len(results)
    assert sum(summary["errors"].values()) == summary["unscored"]
    groups = [
        [result["score"] for result, group in results if group == name and result["outcome"] == "scored"]
        for name in ("g", "h")
    ]
    several = [group for group in groups if len(group) > 1]
    if several:
        assert summary["groups"] == {
            "count": len(several),
            "mean": pytest.approx(sum(sum(group) / len(group) for group in several) / len(several)),
            "equal": sum(len(set(group)) == 1 for group in several) / len(several),
        }
    else:
        assert summary["groups"] is None


def check(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    summary: dict[str, Any] = ran.json()
    return summary


def labelled(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.mark.data
class TestRealData:
    """What real models wrote, against the labels that came with it."""

    def test_gsm8k_solutions(self, assay: Assay, tmp_path: Path) -> None:
        file, out = DATA / "math" / "gsm8k_solutions_labelled.jsonl.gz", tmp_path / "out.jsonl"
        summary = check(assay("score", file, "-v", "math", "--json", "--out", out))
        assert (summary["count"], summary["unscored"]) == (5276, 0)
        labels = [row["is_correct"] for row in labelled(file)]
        agreed = sum(bool(r["score"]) == label for r, label in zip(read(out), labels, strict=True))
        assert agreed >= 5275

    def test_math_completions(self, assay: Assay, tmp_path: Path) -> None:
        file, out = DATA / "math" / "math_qwen25_100x8_labelled.jsonl.gz", tmp_path / "out.jsonl"
        summary = check(assay("score", file, "-v", "math", "--json", "--out", out))
        assert (summary["count"], summary["unscored"], summary["groups"]["count"]) == (800, 0, 100)
        labels = [label for row in labelled(file) for label in row["correct"]]
        assert sum(bool(r["score"]) == label for r, label in zip(read(out), labels, strict=True)) >= 799

    def test_gsm8k_golds(self, assay: Assay) -> None:
        summary = check(assay("score", DATA / "math" / "gsm8k_test.jsonl.gz", "-v", "math", "--gold", "--json"))
        assert summary["outcomes"] == {"correct": 1319}
