"""Clients in other processes: pickled, forked, and at the end of an interpreter."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.service import ROOT
from tests.trainer_client.faulty import FaultyService
from trainer_client import AsyncRewardClient, RewardClient


def score_in_child(client: RewardClient, text: str) -> float | None:
    return client.score_one("text", text).score


def run(program: str, faulty: FaultyService, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "ASSAY_URL": faulty.url, "ASSAY_API_KEY": "key"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_a_client_pickles_with_its_settings(
    faulty: FaultyService, kind: type[RewardClient] | type[AsyncRewardClient]
) -> None:
    client = kind(faulty.url, "key", deadline_s=7, max_in_flight=3, unscored_tries=2)
    if isinstance(client, RewardClient):
        assert client.score_one("text", "abc").score == 3
    copy = pickle.loads(pickle.dumps(client))  # noqa: S301 - our own
    assert (copy.url, copy.deadline_s) == (faulty.url, 7)
    if isinstance(copy, RewardClient) and isinstance(client, RewardClient):
        assert copy.score_one("text", "abcd").score == 4
        copy.close()
        client.close()


def test_spawned_processes_score_with_a_pickled_client(faulty: FaultyService) -> None:
    with (
        RewardClient(faulty.url, "key") as client,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
    ):
        assert client.score_one("text", "here").score == 4
        assert list(pool.map(score_in_child, [client] * 6, ["x" * i for i in range(6)])) == [0, 1, 2, 3, 4, 5]


def test_forked_processes_and_their_parent_score_at_the_same_time(faulty: FaultyService) -> None:
    program = """
        import os, sys
        from trainer_client import RewardClient
        client = RewardClient()
        assert client.score_one("text", "parent").score == 6  # a thread and a connection before the fork
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                for i in range(20):
                    assert client.score_one("text", f"child {child} {i:2}").score == 10
                sys.exit(0)
            children.append(pid)
        for i in range(20):
            assert client.score_one("text", f"parent {i:2}").score == 9
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        assert client.score_one("text", "parent").score == 6
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(faulty.script.recorded.values()) == 4 * 20 + 20 + 2


def test_a_process_forked_in_the_midst_of_calls_has_calls_of_its_own(faulty: FaultyService) -> None:
    program = """
        import os, sys, threading
        from trainer_client import RewardClient
        client = RewardClient()
        threads = [threading.Thread(target=client.score_one, args=("text", f"thread {i}")) for i in range(50)]
        for thread in threads:
            thread.start()
        children = []
        for child in range(8):
            pid = os.fork()
            if pid == 0:
                os._exit(int(client.score_one("text", f"child {child}").score != 7))
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
        for thread in threads:
            thread.join()
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(faulty.script.recorded.values()) == 58
    assert set(faulty.script.recorded.values()) == {1}


def test_a_forked_process_may_use_the_asynchronous_client(faulty: FaultyService) -> None:
    program = """
        import asyncio, os
        from trainer_client import AsyncRewardClient
        client = AsyncRewardClient()
        async def score(text):
            async with client:
                return (await client.score_one("text", text)).score
        async def left_open():
            return (await client.score_one("text", "abc")).score
        assert asyncio.run(left_open()) == 3
        pid = os.fork()
        assert asyncio.run(score("abcd")) == 4
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")
    assert faulty.script.recorded == {"abc": 1, "abcd": 2}


@pytest.mark.parametrize(
    "program",
    [
        """
        from trainer_client import RewardClient
        client = RewardClient()
        assert client.score_one("text", "abc").score == 3
        """,
        """
        from trainer_client import RewardClient
        assert RewardClient().score_one("text", "abc").score == 3
        """,
        """
        import asyncio
        from trainer_client import AsyncRewardClient
        client = AsyncRewardClient()
        assert asyncio.run(client.score_one("text", "abc")).score == 3
        """,
    ],
    ids=["kept", "dropped", "asynchronous"],
)
def test_a_program_that_closes_nothing_ends_without_a_word(faulty: FaultyService, program: str) -> None:
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("end", ["client.close", "holder.clear"], ids=["closed", "dropped"])
def test_a_client_that_ends_in_its_own_thread_ends_that(faulty: FaultyService, end: str) -> None:
    program = f"""
        import threading
        from trainer_client import RewardClient
        client = RewardClient()
        assert client.score_one("text", "abc").score == 3
        loop, holder = client._background._thread.loop, [client]
        thread, = (thread for thread in threading.enumerate() if thread.name == "assay-client")
        end = {end}
        if {end.startswith("holder")}:
            del client
        loop.call_soon_threadsafe(end)  # as the garbage collector may
        thread.join(30)
        assert not thread.is_alive() and loop.is_closed()
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_call_from_the_clients_own_thread_is_refused(faulty: FaultyService) -> None:
    program = """
        from concurrent.futures import Future
        from trainer_client import RewardClient
        client, said = RewardClient(), Future()
        assert client.score_one("text", "abc").score == 3
        def call():
            try:
                client.score_one("text", "abc")
            except RuntimeError as error:
                said.set_result(str(error))
        client._background._thread.loop.call_soon_threadsafe(call)
        assert "cannot wait" in said.result(30)
        assert client.score_one("text", "abc").score == 3
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_item_that_leaves_the_interpreter_leaves_the_client(faulty: FaultyService) -> None:
    program = """
        from trainer_client import RewardClient
        class Leaves:
            def tolist(self):
                raise SystemExit
        client = RewardClient()
        for _ in range(2):
            try:
                client.score_one("text", "abc", reference=Leaves())
            except SystemExit:
                print("left")
            assert client.score_one("text", "abc").score == 3
    """
    result = run(program, faulty)
    assert (result.returncode, result.stdout, result.stderr) == (0, "left\nleft\n", "")


def test_a_client_that_is_closed_again_and_again_keeps_nothing(faulty: FaultyService) -> None:
    known = []
    client = RewardClient(faulty.url, "key")
    for _ in range(3):
        with client:
            assert client.score_one("text", "abc").score == 3
            known.append(weakref.ref(client._background._thread))
    gc.collect()
    assert [thread() for thread in known] == [None] * 3


def test_event_loops_that_end_leave_no_descriptors(faulty: FaultyService) -> None:
    program = """
        import asyncio, gc, os
        from trainer_client import AsyncRewardClient
        gc.disable()  # in a large process it comes by as rarely
        client = AsyncRewardClient()
        async def step():
            await asyncio.gather(*(client.score("text", completions=["abc"], step=step) for step in range(4)))
        counts = []
        for _ in range(5):
            asyncio.run(step())
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts == counts[:1] * 5, counts
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_forked_process_holds_none_of_its_parents_connections(faulty: FaultyService) -> None:
    program = """
        import os
        from trainer_client import RewardClient
        client = RewardClient()
        assert client.score_one("text", "abc").score == 3
        batcher, = client._client._batchers.values()
        sockets = list(batcher.transport._connector._sockets)
        pid = os.fork()
        if pid == 0:
            os._exit(int([each.fileno() for each in sockets] != [-1]))
        assert os.waitpid(pid, 0)[1] == 0
        assert sockets[0].fileno() > 0
        assert client.score_one("text", "abc").score == 3
        assert list(batcher.transport._connector._sockets) == sockets  # the same connection
    """
    result = run(program, faulty)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_interrupted_call_ends_at_once(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall"]
    program = """
        import os, signal, threading, time
        from trainer_client import RewardClient
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            RewardClient().score_one("text", "abc")
        except KeyboardInterrupt:
            print("interrupted")
    """
    result = run(program, faulty)
    assert (result.stdout, result.stderr) == ("interrupted\n", "")
