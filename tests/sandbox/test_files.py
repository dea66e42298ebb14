"""Files that a run finds, and files that are brought back from it."""

from __future__ import annotations

import pytest

from sandbox.base import Limits, NotOfferedError, Status
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import one, run, stdio


@pytest.mark.parametrize("language", ["python", "c", "javascript"])
async def test_files_are_there_in_every_run(sandbox: LiveSandbox, language: str) -> None:
    files = {"a.txt": b"\0\xff", "deep/er/b.txt": b"nested", "deep/c": b"", "name with spaces \u00e9": b"x"}
    source = {
        "python": "import os\nfor path in ('a.txt', 'deep/er/b.txt', 'deep/c', 'name with spaces \\u00e9'):\n"
        "    print(len(open(path, 'rb').read())); os.unlink(path)",
        "javascript": "for (const path of ['a.txt', 'deep/er/b.txt', 'deep/c', 'name with spaces \\u00e9'])"
        " { console.log(require('fs').readFileSync(path).length); require('fs').unlinkSync(path); }",
        "c": "#include <stdio.h>\n#include <unistd.h>\nint main() { const char *all[] = {\"a.txt\","
        " \"deep/er/b.txt\", \"deep/c\", \"name with spaces \\xc3\\xa9\"}; char b[100]; for (int i = 0; i < 4; i++) {"
        " FILE *f = fopen(all[i], \"r\"); if (!f) return 1; printf(\"%d\\n\", (int)fread(b, 1, 100, f));"
        " fclose(f); unlink(all[i]); } }",
    }[language]  # fmt: skip
    ran = await run(sandbox, stdio(source, b"", b"", language=language, files=files))
    assert [(each.status, each.stdout) for each in ran.runs] == [(Status.OK, b"2\n6\n0\n1\n")] * 2


async def test_a_programs_own_module(sandbox: LiveSandbox) -> None:
    assert (await one(sandbox, "import helper; print(helper.x)", files={"helper.py": b"x = 5"})).stdout == b"5\n"


@pytest.mark.parametrize(
    "name", ["../up", "/etc/up", "/tmp/up", "../../up", "a/../../up", "", ".", "a/", "a//b", "main.py"]
)
async def test_names_that_lead_elsewhere_are_refused(sandbox: LiveSandbox, name: str) -> None:
    """And `main.py`, which is the program's own."""
    with pytest.raises(NotOfferedError, match="no path of a file inside the working folder"):
        await run(sandbox, stdio("pass", files={name: b"planted"}))
    if name != "main.py":
        with pytest.raises(NotOfferedError, match="no path of a file inside the working folder"):
            await run(sandbox, stdio("pass", fetch=["fine", name]))


WRITES = (
    "import os\n"
    "os.makedirs('deep/er')\n"
    "open('empty', 'w').close()\n"
    "open('plain', 'wb').write(b'\\0\\xff')\n"
    "open('deep/er/nested', 'w').write('inner')\n"
    "os.symlink('/etc/passwd', 'link')\n"
    "os.symlink('/etc', 'deep/out')\n"
    "os.symlink('plain', 'near')\n"
    "os.mkfifo('fifo')\n"
    "os.mkdir('folder')\n"
    "os.link('plain', 'hard')\n"
    "open('closed', 'w').write('c'); os.chmod('closed', 0)\n"
)
NAMES = ("plain", "empty", "deep/er/nested", "missing", "link", "deep/out/passwd", "near", "fifo", "folder", "hard",
         "main.py", "a/b/c", "plain/x", "x" * 60)  # fmt: skip


async def test_regular_files_come_back_and_nothing_else(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, stdio(WRITES, b"", b"", fetch=NAMES))
    for each in ran.runs:
        assert each.status is Status.OK, each
        assert each.files == {
            "plain": b"\0\xff", "empty": b"", "deep/er/nested": b"inner", "hard": b"\0\xff",
            "main.py": WRITES.encode(),
        }  # fmt: skip


@pytest.mark.parametrize("language", ["python", "c"])
async def test_a_large_file_comes_back(sandbox: LiveSandbox, language: str) -> None:
    source = {
        "python": "open('large', 'wb').write(bytes(range(256)) * (20 * 4096))",
        "c": "#include <stdio.h>\nint main() { FILE *f = fopen(\"large\", \"w\"); for (int i = 0; i < 20 << 20; i++)"
        " fputc(i, f); return 0; }",
    }[language]  # fmt: skip
    result = await one(sandbox, source, language=language, fetch=["large"])
    assert result.files["large"] == bytes(range(256)) * (20 * 4096)


async def test_files_come_back_from_a_run_that_failed(sandbox: LiveSandbox) -> None:
    result = await one(sandbox, "open('f', 'w').write('x')\nwhile True: pass", fetch=["f"], limits=Limits(cpu_s=0.3))
    assert (result.status, result.files) == (Status.CPU, {"f": b"x"})


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.unlink('main.py'); os.chdir('/'); os.rmdir('/tmp/work')",
        "import os; os.rename('/tmp/work', '/tmp/away'); os.symlink('/', '/tmp/work')",
        "import os; os.rename('/tmp/work', '/tmp/away'); os.symlink('/tmp/away', '/tmp/work')",
        "import os; os.rename('/tmp/work', '/tmp/away'); open('/tmp/work', 'w').close()",
        "import os; os.chmod('/tmp/work', 0)",
        "import os; os.chmod('/tmp', 0)",
        "import os; open('sparse', 'w').truncate(2**40)",
        "import os; open('main.py', 'r+').truncate(0)",
    ],
)
async def test_no_trick_with_the_working_folder_is_a_fault_of_the_sandbox(sandbox: LiveSandbox, source: str) -> None:
    before = sandbox.pool.counters["faults"]
    job = stdio(source, b"", b"", fetch=["main.py", "etc/passwd", "sparse"])
    ran = await run(sandbox, job)
    assert len(ran.runs) == 2
    assert all("etc/passwd" not in each.files for each in ran.runs)
    assert sandbox.pool.counters["faults"] == before


async def test_more_than_an_answer_can_hold_does_not_come_back(sandbox: LiveSandbox) -> None:
    """Files of 600 MB in all, each sparse, so that they cost nothing."""
    before = sandbox.pool.counters["faults"]
    names = [f"f{number}" for number in range(6)]
    source = (
        "import os\nfor number in range(6): os.truncate(os.open(f'f{number}', os.O_CREAT | os.O_RDWR), 100 * 2**20)"
    )
    job = stdio(source, fetch=names, limits=Limits(disk_mb=1024, memory_mb=256))
    ran = await run(sandbox, job)
    assert ran.runs[0].status is Status.OK
    assert len(ran.runs[0].files) < 6
    assert sandbox.pool.counters["faults"] == before
