"""Use up resources: programs that take all they can get of something.

Each expects `ESCAPED` and prints it only once it holds several times what its limits allow; `contained` where the
limit showed as an error that it survived. What multiplies or fills is bounded, even where no sandbox holds it: such
bombs stop by themselves after ten seconds or a gigabyte, long after their limits should have ended them.

Compile-time bombs run under the compilation's limits, which are wider than a configuration's `limits`: they are the
slow ones of this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.sandbox.attacks.model import (
    BASH,
    CPP,
    ESCAPED,
    JAVASCRIPT,
    NOT_COMPILED,
    PYTHON,
    Attack,
    C,
    Contained,
    config,
    fenced,
    item,
    outcomes,
    prints,
    stdio,
)  # fmt: skip

RESOURCES: list[Attack] = []

_BOMB = frozenset({Contained.IN_TIME, Contained.GONE, Contained.CLEAN})


def _add(
    line: str,
    name: str,
    code: str,
    ends: frozenset[str],
    language: str = PYTHON,
    *,
    reference: dict[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
) -> None:
    RESOURCES.append(
        Attack(
            name=name,
            line=line,
            item=item(code, prints(ESCAPED + "\n") if reference is None else reference, language),
            config=config(language, limits),
            outcomes=ends,
            contained=_BOMB,
        )
    )


_STOPPED = outcomes("timeout", "crashed", "memory_exceeded")
_SURVIVED = outcomes("incorrect", "timeout", "crashed", "memory_exceeded")
_TIMEOUT = outcomes("timeout")
_MEMORY = outcomes("memory_exceeded", "crashed")
_FLOOD = outcomes("output_exceeded")
_SHORT = {"cpu_s": 0.5, "wall_s": 2.0}

# --- fork bomb

_add(
    "fork bomb",
    "fork-bomb-python",
    r"""
    import os, time
    end = time.time() + 10
    while time.time() < end:
        try:
            os.fork()
        except OSError:
            pass
""",
    _STOPPED,
)

_add(
    "fork bomb",
    "fork-bomb-counts-its-children",
    r"""
    # Children that do nothing: counts how many live at once.
    import os, time
    count = 0
    try:
        while count < 300:
            if os.fork() == 0:
                time.sleep(10)
                os._exit(0)
            count += 1
    except OSError:
        pass
    print("ESCAPED" if count >= 100 else "contained", flush=True)
""",
    outcomes("incorrect", "crashed", "memory_exceeded"),
)

_add(
    "fork bomb",
    "fork-bomb-c-vfork-and-setsid",
    r"""
    #define _GNU_SOURCE
    #include <time.h>
    #include <unistd.h>
    int main(void) {
        time_t end = time(0) + 10;
        while (time(0) < end) {
            if (fork() == 0) setsid();
        }
        return 0;
    }
""",
    _STOPPED,
    C,
)

_add(
    "fork bomb",
    "fork-bomb-c-clone",
    r"""
    #define _GNU_SOURCE
    #include <signal.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int main(void) {
        /* CLONE_PARENT: the children are not this process's own */
        time_t end = time(0) + 10;
        while (time(0) < end) syscall(SYS_clone, 0x00008000L | SIGCHLD, 0, 0, 0, 0);
        return 0;
    }
""",
    _STOPPED,
    C,
)

_add(
    "fork bomb",
    "fork-bomb-bash",
    r"""
    bomb() { [ "$SECONDS" -lt 10 ] && { bomb | bomb & } ; }
    bomb
    while [ "$SECONDS" -lt 10 ]; do bomb; done
""",
    _STOPPED | outcomes("output_exceeded"),
    BASH,
)

_add(
    "fork bomb",
    "fork-bomb-by-exec",
    r"""
    # Every process replaces itself and leaves two behind, so that no process lives long.
    import os, sys, time
    end = sys.argv[1] if len(sys.argv) > 1 else str(time.time() + 10)
    code = (
        "import os, sys, time\n"
        "while time.time() < float(sys.argv[1]):\n"
        "    try:\n"
        "        if os.fork():\n"
        "            continue\n"
        "    except OSError:\n"
        "        continue\n"
        "    os.setsid()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', sys.orig_argv[2], sys.argv[1]])\n"
    )
    os.execv(sys.executable, [sys.executable, "-c", code, end])
""",
    _STOPPED,
)

# --- thread bomb

_add(
    "thread bomb",
    "thread-bomb-python",
    r"""
    import threading, time
    threading.stack_size(65536)
    end = time.time() + 10
    count = 0
    try:
        while count < 1000 and time.time() < end:
            threading.Thread(target=time.sleep, args=(10,), daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    print("ESCAPED" if count >= 200 else "contained", flush=True)
    import os
    os._exit(0)
""",
    _SURVIVED,
)

_add(
    "thread bomb",
    "thread-bomb-c",
    r"""
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    static void *rest(void *nothing) { sleep(10); return nothing; }
    int main(void) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 65536);
        int count = 0;
        pthread_t thread;
        while (count < 2000 && pthread_create(&thread, &attributes, rest, 0) == 0) count++;
        puts(count >= 200 ? "ESCAPED" : "contained");
        fflush(stdout);
        _exit(0);
    }
""",
    _SURVIVED,
    C,
)

_add(
    "thread bomb",
    "thread-bomb-that-burns",
    r"""
    import threading, time
    def burn(end):
        while time.time() < end:
            try:
                threading.Thread(target=burn, args=(end,)).start()
            except RuntimeError:
                pass
    burn(time.time() + 10)
""",
    _STOPPED,
    limits=_SHORT,
)

_add(
    "thread bomb",
    "thread-bomb-node-workers",
    r"""
    const { Worker, isMainThread } = require("worker_threads");
    let online = 0;
    for (let n = 0; n < 64; n++) {
        try {
            const worker = new Worker("setTimeout(() => {}, 10000)", { eval: true });
            worker.on("online", () => { online++; if (online >= 60) { console.log("ESCAPED"); process.exit(0); } });
            worker.on("error", () => {});
        } catch (error) { break; }
    }
""",
    _SURVIVED,
    JAVASCRIPT,
)

# --- memory bomb

_add(
    "memory bomb",
    "memory-bomb-bytes",
    r"""
    held = []
    for _ in range(1024):
        held.append(b"x" * 1048576)
    print("ESCAPED")
""",
    _MEMORY,
)

_add(
    "memory bomb",
    "memory-bomb-at-once",
    r"""
    held = bytearray(1 << 30)
    held[::4096] = b"x" * (1 << 18)
    print("ESCAPED")
""",
    _MEMORY,
)

_add(
    "memory bomb",
    "memory-bomb-that-swallows",
    r"""
    # The error is caught each time, and the memory kept.
    import time
    held, size, end = [], 1 << 26, time.time() + 10
    total = 0
    while total < 1 << 30 and time.time() < end:
        try:
            held.append(b"x" * size)
            total += size
        except BaseException:
            size = max(size // 2, 1 << 12)
    print("ESCAPED" if total >= 1 << 30 else "contained")
""",
    _MEMORY | _TIMEOUT,
)

_add(
    "memory bomb",
    "memory-bomb-spread-over-children",
    r"""
    # No process has more than its share; together they have eight times the limit.
    import os, time
    readers = []
    for _ in range(12):
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            held = os.urandom(1 << 20) * 90
            os.write(writer, b"1")
            time.sleep(2)
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    done = sum(os.read(reader, 1) == b"1" for reader in readers)
    print("ESCAPED" if done >= 6 else "contained")
""",
    outcomes("memory_exceeded", "crashed", "incorrect"),
)

_add(
    "memory bomb",
    "memory-bomb-c",
    r"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    int main(void) {
        for (int n = 0; n < 1024; n++) {
            char *block = malloc(1 << 20);
            if (!block) { puts("contained"); return 3; }
            memset(block, n + 1, 1 << 20);
        }
        puts("ESCAPED");
        return 0;
    }
""",
    _MEMORY,
    C,
)

_add(
    "memory bomb",
    "memory-bomb-node",
    r"""
    const held = [];
    for (let n = 0; n < 2048; n++) held.push(Buffer.alloc(1 << 20, n & 255));
    console.log("ESCAPED");
""",
    _MEMORY,
    JAVASCRIPT,
)

_add(
    "memory bomb",
    "memory-bomb-a-string-in-a-string",
    r"""
    text = "ha"
    while len(text) < 1 << 31:
        text = text.replace("h", "hhhh").replace("a", "aaaa")
    print("ESCAPED")
""",
    _MEMORY | _TIMEOUT,
)

# --- mmap, shared memory and tmpfs fill

_add(
    "mmap, shared memory and tmpfs fill",
    "mmap-anonymous",
    r"""
    import mmap
    area = mmap.mmap(-1, 1 << 30)
    for offset in range(0, 1 << 30, 4096):
        area[offset] = 1
    print("ESCAPED")
""",
    _MEMORY,
)

_add(
    "mmap, shared memory and tmpfs fill",
    "dev-shm-fill",
    r"""
    import os
    total = 0
    try:
        for number in range(64):
            with open(f"/dev/shm/fill{number}", "wb") as file:
                total += file.write(os.urandom(1 << 20) * 4)
                file.flush()
    except OSError:
        pass
    print("ESCAPED" if total >= 128 << 20 else "contained")
""",
    outcomes("incorrect", "memory_exceeded", "crashed", "timeout"),
)

_add(
    "mmap, shared memory and tmpfs fill",
    "tmpfs-fill-in-c",
    r"""
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    static char block[1 << 20];
    int main(void) {
        const char *paths[] = {"/dev/shm/fill", "/run/fill", "/tmp/fill", "/var/tmp/fill", "/run/lock/fill", "fill"};
        long total = 0;
        memset(block, 7, sizeof block);
        for (int p = 0; p < 6; p++) {
            int file = open(paths[p], O_CREAT | O_WRONLY, 0600);
            for (int n = 0; file >= 0 && n < 256; n++) {
                long written = write(file, block, sizeof block);
                if (written <= 0) break;
                total += written;
            }
        }
        puts(total >= 128L << 20 ? "ESCAPED" : "contained");
        return 0;
    }
""",
    outcomes("incorrect", "memory_exceeded", "crashed"),
    C,
)

_add(
    "mmap, shared memory and tmpfs fill",
    "memfd-fill",
    r"""
    import os
    files, total = [], 0
    try:
        for number in range(1024):
            files.append(os.memfd_create(f"fill{number}"))
            total += os.write(files[-1], b"x" * (1 << 20))
    except OSError:
        pass
    print("ESCAPED" if total >= 512 << 20 else "contained")
""",
    outcomes("incorrect", "memory_exceeded", "crashed"),
)

_add(
    "mmap, shared memory and tmpfs fill",
    "shared-file-mapping-fill",
    r"""
    # A sparse file as large as it gets, filled through a shared mapping rather than by write.
    import mmap, os
    file = os.open("sparse", os.O_CREAT | os.O_RDWR)
    size = 1 << 30
    while size > 1 << 20:
        try:
            os.ftruncate(file, size)
            break
        except OSError:
            size //= 2
    area = mmap.mmap(file, size)
    for offset in range(0, size, 4096):
        area[offset] = 1
    print("ESCAPED" if os.fstat(file).st_blocks * 512 >= 128 << 20 else "contained")
""",
    outcomes("incorrect", "memory_exceeded", "crashed"),
)

_add(
    "mmap, shared memory and tmpfs fill",
    "sysv-segments-fill",
    r"""
    #include <stdio.h>
    #include <string.h>
    #include <sys/ipc.h>
    #include <sys/shm.h>
    int main(void) {
        long total = 0;
        for (int n = 0; n < 256; n++) {
            int segment = shmget(IPC_PRIVATE, 4 << 20, IPC_CREAT | 0600);
            if (segment < 0) break;
            char *area = shmat(segment, 0, 0);
            if (area == (void *) -1) break;
            memset(area, 7, 4 << 20);
            total += 4 << 20;
        }
        puts(total >= 512L << 20 ? "ESCAPED" : "contained");
        return 0;
    }
""",
    outcomes("incorrect", "memory_exceeded", "crashed"),
    C,
)

# --- disk fill

_add(
    "disk fill",
    "disk-fill-one-file",
    r"""
    total = 0
    try:
        with open("fill", "wb", buffering=0) as file:
            while total < 256 << 20:
                total += file.write(b"x" * (1 << 20))
    except OSError:
        pass
    print("ESCAPED" if total >= 64 << 20 else "contained")
""",
    outcomes("incorrect", "crashed"),
)

_add(
    "disk fill",
    "disk-fill-wherever-it-may-write",
    r"""
    import os
    total, seen = 0, set()
    folders = [".", "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), "/run", "/mnt", "/srv", "/opt", "/job"]
    for folder in folders:
        for number in range(16):
            try:
                with open(f"{folder}/fill-{number}", "wb", buffering=0) as file:
                    for _ in range(8):
                        total += file.write(b"x" * (1 << 20))
            except OSError:
                break
    print("ESCAPED" if total >= 64 << 20 else "contained")
""",
    outcomes("incorrect", "crashed", "timeout"),
)

_add(
    "disk fill",
    "disk-fill-fallocate",
    r"""
    import os
    total = 0
    for number in range(32):
        try:
            file = os.open(f"fill-{number}", os.O_CREAT | os.O_WRONLY)
            os.posix_fallocate(file, 0, 8 << 20)
            total += os.fstat(file).st_blocks * 512
        except OSError:
            break
    print("ESCAPED" if total >= 64 << 20 else "contained")
""",
    outcomes("incorrect", "crashed"),
)

_add(
    "disk fill",
    "disk-fill-deleted-but-open",
    r"""
    # Files without a name: nothing to see in any folder.
    import os
    held, total = [], 0
    try:
        for number in range(48):
            held.append(os.open("fill", os.O_CREAT | os.O_RDWR | os.O_TRUNC))
            os.unlink("fill")
            total += os.write(held[-1], b"x" * (4 << 20))
    except OSError:
        pass
    print("ESCAPED" if total >= 64 << 20 else "contained")
""",
    outcomes("incorrect", "crashed"),
)

_add(
    "disk fill",
    "disk-fill-bash",
    r"""
    for n in 1 2 3 4 5 6 7 8 9 10; do head -c 16777216 /dev/zero > "fill$n" 2>/dev/null || break; done
    total=0
    for file in fill*; do size=$(wc -c < "$file"); total=$((total + size)); done
    if [ "$total" -ge 67108864 ]; then echo ESCAPED; else echo contained; fi
""",
    outcomes("incorrect", "crashed", "timeout"),
    BASH,
)

# --- inode flood

_add(
    "inode flood",
    "inode-flood-files",
    r"""
    import os
    count = 0
    try:
        while count < 100_000:
            os.close(os.open(f"f{count}", os.O_CREAT))
            count += 1
    except OSError:
        pass
    print("ESCAPED" if count >= 100_000 else "contained")
""",
    outcomes("incorrect", "crashed", "timeout", "memory_exceeded"),
    limits={"cpu_s": 3.0, "wall_s": 9.0},
)

_add(
    "inode flood",
    "inode-flood-folders-and-links-in-c",
    r"""
    #include <stdio.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int main(void) {
        char name[64];
        int count = 0;
        for (; count < 200000; count++) {
            snprintf(name, sizeof name, "n%d", count);
            if ((count % 3 == 0 ? mkdir(name, 0700) : count % 3 == 1 ? symlink("x", name) : mkfifo(name, 0600)) != 0)
                break;
        }
        puts(count >= 100000 ? "ESCAPED" : "contained");
        return 0;
    }
""",
    outcomes("incorrect", "crashed", "timeout", "memory_exceeded"),
    C,
    limits={"cpu_s": 3.0, "wall_s": 9.0},
)

_add(
    "inode flood",
    "inode-flood-one-deep-path",
    r"""
    # Folders in folders, far beyond PATH_MAX: whoever cleans up by path or by recursion fails.
    import os
    depth = 0
    try:
        while depth < 100_000:
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
            depth += 1
    except OSError:
        pass
    print("ESCAPED" if depth >= 100_000 else "contained")
""",
    outcomes("incorrect", "crashed", "timeout", "memory_exceeded"),
    limits={"cpu_s": 3.0, "wall_s": 9.0},
)

_add(
    "inode flood",
    "inode-flood-unreadable-folders",
    r"""
    # Folders that even their owner may not list: clean-up must not stumble. Prints nothing useful.
    import os
    for number in range(200):
        os.makedirs(f"locked{number}/inner")
        open(f"locked{number}/inner/file", "w").close()
        os.chmod(f"locked{number}/inner", 0)
        os.chmod(f"locked{number}", 0)
    print("contained")
""",
    outcomes("incorrect", "crashed"),
)

# --- file descriptors

_add(
    "file-descriptor exhaustion",
    "descriptors-dup",
    r"""
    import os
    count = 0
    try:
        while count < 100_000:
            os.dup(1)
            count += 1
    except OSError:
        pass
    print("ESCAPED" if count >= 20_000 else "contained")
""",
    outcomes("incorrect", "crashed"),
)

_add(
    "file-descriptor exhaustion",
    "descriptors-pipes-and-a-higher-limit",
    r"""
    import os, resource
    for wanted in (1 << 20, 1 << 18, 1 << 16):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            break
        except (OSError, ValueError):
            pass
    count = 0
    try:
        while count < 40_000:
            os.pipe()
            count += 2
    except OSError:
        pass
    print("ESCAPED" if count >= 20_000 else "contained")
""",
    outcomes("incorrect", "crashed", "memory_exceeded"),
)

_add(
    "file-descriptor exhaustion",
    "descriptors-in-flight",
    r"""
    # Descriptors inside messages that nobody reads count against no RLIMIT_NOFILE.
    import array, os, socket
    count, held = 0, []
    payload = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1] * 250))]
    try:
        for _ in range(400):
            left, right = socket.socketpair()
            left.setblocking(False)
            held.append((left, right))
            for _ in range(100):
                left.sendmsg([b"x"], payload)
                count += 250
    except OSError:
        pass
    print("ESCAPED" if count >= 1_000_000 else "contained")
""",
    outcomes("incorrect", "crashed", "memory_exceeded", "timeout"),
)

_add(
    "file-descriptor exhaustion",
    "descriptors-sockets-in-c",
    r"""
    #include <stdio.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/socket.h>
    int main(void) {
        int count = 0;
        while (count < 60000) {
            if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || epoll_create1(0) < 0 || eventfd(0, 0) < 0) break;
            count += 3;
        }
        puts(count >= 20000 ? "ESCAPED" : "contained");
        return 0;
    }
""",
    outcomes("incorrect", "crashed", "memory_exceeded"),
    C,
)

_add(
    "file-descriptor exhaustion",
    "descriptors-none-left-for-a-call",
    r"""
    # All descriptors are gone when the interpreter wants to print, import or report.
    import os
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        pass
    import decimal, xml.dom
    print("ESCAPED")
    raise SystemExit(3)
""",
    outcomes("incorrect", "crashed"),
)

# --- output

_add(
    "a gigabyte of stdout",
    "stdout-flood-python",
    r"""
    import sys
    block = "5\n" * 500_000
    for _ in range(1000):
        sys.stdout.write(block)
    sys.stdout.flush()
""",
    _FLOOD,
)

_add(
    "a gigabyte of stdout",
    "stdout-flood-c",
    r"""
    #include <string.h>
    #include <unistd.h>
    static char block[1 << 20];
    int main(void) {
        memset(block, 'x', sizeof block);
        for (int n = 0; n < 1024; n++) if (write(1, block, sizeof block) < 0) break;
        return 0;
    }
""",
    _FLOOD | outcomes("crashed"),
    C,
)

_add(
    "a gigabyte of stdout",
    "stdout-flood-from-children",
    r"""
    # The children write, the parent has ended: who reads until the pipe closes reads on.
    import os, time
    end = time.time() + 10
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            while time.time() < end:
                os.write(1, b"y\n" * 30000)
    time.sleep(0.5)
""",
    _FLOOD | outcomes("incorrect"),
)

_add(
    "a gigabyte of stdout",
    "stdout-flood-node",
    r"""
    const block = "5\n".repeat(1 << 19);
    for (let n = 0; n < 1024; n++) require("fs").writeSync(1, block);
""",
    _FLOOD | outcomes("crashed"),
    JAVASCRIPT,
)

_add(
    "a gigabyte of stdout",
    "stdout-flood-of-what-a-call-returns",
    r"""
    def big():
        return "x" * 50_000_000
""",
    outcomes("output_exceeded", "memory_exceeded"),
    reference={
        "type": "function",
        "entry_point": "big",
        "cases": [{"args": [], "expected": "x"}],
    },
    limits={"memory_mb": 256},
)

_add(
    "a gigabyte of stdout",
    "stdout-flood-while-a-call-runs",
    r"""
    def answer():
        for _ in range(1000):
            print("x" * 1_000_000)
        return 6
""",
    _FLOOD | outcomes("incorrect", "timeout"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
)

_add(
    "stderr flood with quiet stdout",
    "stderr-flood-python",
    r"""
    import sys
    for _ in range(1000):
        sys.stderr.write("x" * 1_000_000)
    print("ESCAPED")
""",
    _FLOOD,
)

_add(
    "stderr flood with quiet stdout",
    "stderr-flood-c",
    r"""
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    static char block[1 << 16];
    int main(void) {
        memset(block, 'e', sizeof block);
        for (int n = 0; n < 16384; n++) if (write(2, block, sizeof block) < 0) break;
        puts("ESCAPED");
        return 0;
    }
""",
    _FLOOD | outcomes("crashed"),
    C,
)

_add(
    "stderr flood with quiet stdout",
    "stderr-flood-of-one-traceback",
    r"""
    raise ValueError("x" * 5_000_000)
""",
    _FLOOD | outcomes("crashed", "memory_exceeded"),
)

_add(
    "stderr flood with quiet stdout",
    "stderr-flood-of-warnings-in-a-call",
    r"""
    import os
    def answer():
        for _ in range(20_000):
            os.write(2, b"w" * 50_000)
        return 6
""",
    _FLOOD | outcomes("incorrect", "timeout"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
)

# --- time

_add(
    "busy loop",
    "busy-loop-python",
    r"""
    while True:
        pass
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "busy loop",
    "busy-loop-c",
    r"""
    int main(void) { for (volatile unsigned long n = 0;; n++) {} }
""",
    _TIMEOUT,
    C,
    limits=_SHORT,
)

_add(
    "busy loop",
    "busy-loop-node",
    r"""
    for (;;) {}
""",
    _TIMEOUT,
    JAVASCRIPT,
    limits=_SHORT,
)

_add(
    "busy loop",
    "busy-loop-at-import-of-a-function",
    r"""
    while True:
        try:
            sum(range(1000))
        finally:
            continue
    def answer():
        return 5
""",
    _TIMEOUT,
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
    limits=_SHORT,
)

_add(
    "busy loop",
    "busy-loop-in-short-lived-children",
    r"""
    # No process uses much: the time is in children that are long gone.
    import os, time
    end = time.time() + 10
    while time.time() < end:
        pid = os.fork()
        if pid == 0:
            stop = time.process_time() + 0.05
            while time.process_time() < stop:
                pass
            os._exit(0)
        os.waitpid(pid, 0)
    print("ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "busy loop",
    "busy-loop-in-grandchildren-nobody-waits-for",
    r"""
    import os, time
    end = time.time() + 10
    while time.time() < end:
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                stop = time.process_time() + 0.2
                while time.process_time() < stop:
                    pass
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.1)
    print("ESCAPED")
""",
    _TIMEOUT | outcomes("crashed"),
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-python",
    r"""
    import time
    time.sleep(30)
    print("ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-pause-in-c",
    r"""
    #include <unistd.h>
    int main(void) { for (;;) pause(); }
""",
    _TIMEOUT,
    C,
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-on-a-lock",
    r"""
    import threading
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-node",
    r"""
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30000);
    console.log("ESCAPED");
""",
    _TIMEOUT,
    JAVASCRIPT,
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-in-a-call",
    r"""
    import select
    def answer():
        select.select([], [], [], 30)
        return 5
""",
    _TIMEOUT,
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
    limits=_SHORT,
)

_add(
    "sleep",
    "sleep-stopped-by-its-own-hand",
    r"""
    # A stopped process neither ends nor uses time.
    import os, signal
    os.kill(os.getpid(), signal.SIGSTOP)
    print("ESCAPED")
""",
    _TIMEOUT | outcomes("incorrect"),
    reference=prints("5\n"),
    limits=_SHORT,
)

_add(
    "blocking on stdin",
    "stdin-read-on",
    r"""
    # Reads on after the end: nothing more may come, and nothing may wait for more.
    import sys, time
    text = ""
    end = time.time() + 10
    while "ESCAPED" not in text and time.time() < end:
        text += sys.stdin.read()
        time.sleep(0.01)
    print(text)
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "blocking on stdin",
    "stdin-fifo",
    r"""
    import os
    os.mkfifo("fifo")
    print(open("fifo").read(), "ESCAPED")
""",
    _TIMEOUT | outcomes("crashed"),
    limits=_SHORT,
)

_add(
    "blocking on stdin",
    "stdin-reads-its-own-output",
    r"""
    # Reads from where it should write; from a pipe whose ends it holds; from a terminal.
    import os
    for descriptor in (1, 2):
        try:
            os.read(descriptor, 1)
        except OSError:
            pass
    try:
        os.read(os.open("/dev/tty", os.O_RDWR), 1)
    except OSError:
        pass
    reader, writer = os.pipe()
    os.read(reader, 1)
    print("ESCAPED")
""",
    _TIMEOUT | outcomes("crashed"),
    limits=_SHORT,
)

_add(
    "blocking on stdin",
    "stdin-never-read",
    r"""
    print("contained")
""",
    outcomes("incorrect"),
    reference=stdio(("5\n" * 2_000_000, ESCAPED + "\n")),
)

_add(
    "blocking on stdin",
    "stdin-of-a-call",
    r"""
    import sys
    def answer():
        return sys.stdin.readline() or input()
""",
    outcomes("incorrect", "crashed", "timeout"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": ESCAPED}],
    },
    limits=_SHORT,
)

_add(
    "ignoring SIGTERM and SIGALRM",
    "signals-ignored-python",
    r"""
    import signal
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        pass
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "ignoring SIGTERM and SIGALRM",
    "signals-blocked-c",
    r"""
    #include <signal.h>
    #include <unistd.h>
    int main(void) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, 0);
        for (;;) sleep(10);
    }
""",
    _TIMEOUT,
    C,
    limits=_SHORT,
)

_add(
    "ignoring SIGTERM and SIGALRM",
    "signals-swallowed-by-the-loop",
    r"""
    import signal, time
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGXCPU, signal.SIGINT, signal.SIGPROF, signal.SIGVTALRM):
        signal.signal(number, lambda *_: None)
    end = time.time() + 10
    while time.time() < end:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
    print("ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "ignoring SIGTERM and SIGALRM",
    "signals-ignored-node",
    r"""
    for (const name of ["SIGTERM", "SIGINT", "SIGALRM", "SIGHUP", "SIGXCPU", "SIGUSR2"]) process.on(name, () => {});
    setInterval(() => {}, 1000);
""",
    _TIMEOUT,
    JAVASCRIPT,
    limits=_SHORT,
)

_add(
    "ignoring SIGTERM and SIGALRM",
    "signals-ignored-by-children-in-other-sessions",
    r"""
    import os, signal, time
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            time.sleep(10)
            os._exit(0)
    print("contained", flush=True)
    os._exit(0)
""",
    outcomes("incorrect"),
)

_add(
    "one uninterruptible C call",
    "c-call-huge-power",
    r"""
    print(len(str(bin(7 ** (10 ** 8)))) and "ESCAPED")
""",
    _TIMEOUT | _MEMORY,
    limits=_SHORT,
)

_add(
    "one uninterruptible C call",
    "c-call-regex",
    r"""
    import re
    print(re.match(r"(a|aa)+$", "a" * 80 + "b") or "ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "one uninterruptible C call",
    "c-call-endless-iterator",
    r"""
    import collections, itertools
    collections.deque(itertools.repeat(None), maxlen=0)
    print("ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "one uninterruptible C call",
    "c-call-regex-node",
    r"""
    console.log(/^(a+)+$/.test("a".repeat(60) + "!") ? "" : "ESCAPED");
""",
    _TIMEOUT,
    JAVASCRIPT,
    limits=_SHORT,
)

_add(
    "one uninterruptible C call",
    "c-call-that-holds-the-interpreter-lock",
    r"""
    # libc's qsort through ctypes.PyDLL keeps the lock: no thread or signal handler of Python runs meanwhile.
    import ctypes
    libc = ctypes.PyDLL(None)
    libc.pause()
    print("ESCAPED")
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "one uninterruptible C call",
    "c-call-in-a-function",
    r"""
    def answer(digits):
        import sys
        sys.set_int_max_str_digits(0)
        return int("9" * digits) and 5
""",
    _TIMEOUT | _MEMORY,
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [30_000_000], "expected": 5}],
    },
    limits=_SHORT,
)

# --- recursion

_add(
    "deep recursion to a segfault",
    "recursion-python-frames",
    r"""
    import sys
    sys.setrecursionlimit(10 ** 9)
    def down(n):
        return down(n + 1) + 1
    print(down(0))
""",
    _MEMORY | _TIMEOUT,
)

_add(
    "deep recursion to a segfault",
    "recursion-python-through-c",
    r"""
    import sys
    sys.setrecursionlimit(10 ** 9)
    class Deep:
        def __getattr__(self, name):
            return getattr(self, name)
        def __repr__(self):
            return repr(self)
    print(repr(Deep()))
""",
    _MEMORY | _TIMEOUT,
)

_add(
    "deep recursion to a segfault",
    "recursion-c",
    r"""
    #include <stdio.h>
    static int down(volatile int n) { volatile char room[4096]; room[n & 4095] = 1; return down(n + 1) + room[0]; }
    int main(void) { printf("%d\n", down(0)); return 0; }
""",
    _MEMORY,
    C,
)

_add(
    "deep recursion to a segfault",
    "recursion-node",
    r"""
    const down = (n) => down(n + 1) + 1;
    console.log(down(0));
""",
    _MEMORY,
    JAVASCRIPT,
)

_add(
    "deep recursion to a segfault",
    "recursion-cpp",
    r"""
    #include <cstdio>
    #include <string>
    static std::string down(std::string text) { return down(text + "x") + "y"; }
    int main() { std::printf("%zu\n", down("").size()); }
""",
    _MEMORY | _TIMEOUT,
    CPP,
)

_add(
    "deep recursion to a segfault",
    "recursion-in-a-call",
    r"""
    import sys
    sys.setrecursionlimit(10 ** 9)
    def answer():
        nested = []
        for _ in range(200_000):
            nested = [nested]
        return nested
""",
    outcomes("incorrect", "crashed", "memory_exceeded", "output_exceeded"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
)

_add(
    "deep recursion to a segfault",
    "recursion-of-a-value-that-holds-itself",
    r"""
    def answer():
        nested = [1]
        nested.append(nested)
        table = {"a": nested}
        table["b"] = table
        return [nested, table]
""",
    outcomes("incorrect", "crashed"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
)

_add(
    "deep recursion to a segfault",
    "crash-by-a-null-pointer",
    r"""
    import ctypes
    ctypes.string_at(0)
""",
    outcomes("crashed"),
)

# --- compilation

RESOURCES.append(Attack(
    "compile-bomb-python-parentheses", "compile-time bomb",
    {"completion": fenced("print(" + "(" * 60_000 + "1" + ")" * 60_000 + ")\n"), "reference": prints(ESCAPED)},
    config(), outcomes("crashed", "output_exceeded", "incorrect", "rejected", "memory_exceeded", "timeout"),
    contained=_BOMB,
))  # fmt: skip
RESOURCES.append(Attack(
    "compile-bomb-python-operators", "compile-time bomb",
    {"completion": fenced("print(" + "-" * 200_000 + "1)\nprint(" + "not " * 100_000 + "1)\n"),
     "reference": prints(ESCAPED)},
    config(), outcomes("crashed", "incorrect", "unparseable", "rejected", "memory_exceeded", "timeout"),
    contained=_BOMB,
))  # fmt: skip
RESOURCES.append(Attack(
    "compile-bomb-python-attributes-in-a-call", "compile-time bomb",
    {"completion": fenced("def answer():\n    return x" + ".a" * 200_000 + "\n"),
     "reference": {"type": "function", "entry_point": "answer", "cases": [{"args": [], "expected": 5}]}},
    config(), outcomes("crashed", "incorrect", "unparseable", "rejected", "memory_exceeded", "timeout"),
    contained=_BOMB,
))  # fmt: skip
RESOURCES.append(Attack(
    "compile-bomb-c-parentheses", "compile-time bomb",
    {"completion": fenced("int main(void) { return " + "(" * 400_000 + "1" + ")" * 400_000 + "; }\n", C),
     "reference": prints(ESCAPED)},
    config(C), NOT_COMPILED | _STOPPED, contained=_BOMB,
))  # fmt: skip

_add(
    "compile-time bomb",
    "compile-bomb-python-constant-folding",
    r"""
    # Folding at compile time, or else one long call at run time.
    A = ((1 << 127) ** 127) << 100_000_000
    B = 9 ** 9 ** 9
    print("ESCAPED")
""",
    _STOPPED,
    limits=_SHORT,
)

_add(
    "compile-time bomb",
    "compile-bomb-c-a-large-array",
    r"""
    int main[2000000000] = {1};
""",
    NOT_COMPILED | _STOPPED | outcomes("output_exceeded"),
    C,
)

_add(
    "compile-time bomb",
    "compile-bomb-c-macros",
    r"""
    #define A(x) x x x x x x x x x x x x x x x x
    #define B(x) A(A(A(A(x))))
    #define C(x) B(B(B(x)))
    int main(void) { int n = 0; C(n += 1;) return n; }
""",
    NOT_COMPILED | _STOPPED,
    C,
)

_add(
    "compile-time bomb",
    "compile-bomb-c-includes-itself",
    r"""
    #if __INCLUDE_LEVEL__ < 190
    #include __FILE__
    #include __FILE__
    #endif
    int x;
""",
    NOT_COMPILED | _STOPPED,
    C,
)

_add(
    "compile-time bomb",
    "compile-bomb-c-reads-an-endless-device",
    r"""
    #include "/dev/zero"
    int main(void) { return 0; }
""",
    NOT_COMPILED | _STOPPED,
    C,
)

_add(
    "compile-time bomb",
    "compile-bomb-cpp-templates",
    r"""
    template <int N, class T> struct Tree { typename Tree<N - 1, Tree<N, T>>::type left;
                                            typename Tree<N - 1, Tree<N, int>>::type right; using type = Tree; };
    template <class T> struct Tree<0, T> { using type = int; };
    int main() { Tree<60, char> tree; return sizeof tree; }
""",
    NOT_COMPILED | _STOPPED | outcomes("output_exceeded"),
    CPP,
)

_add(
    "compile-time bomb",
    "compile-bomb-cpp-constexpr",
    r"""
    constexpr unsigned long burn(unsigned long n) {
        unsigned long sum = 0;
        for (int k = 0; k < 10; k++)
            for (unsigned long i = 0; i < 250000UL; i++) sum += i ^ n;
        return sum;
    }
    template <unsigned long N> struct Sum { static constexpr unsigned long value = burn(N) + Sum<N - 1>::value; };
    template <> struct Sum<0> { static constexpr unsigned long value = 0; };
    int main() { return static_cast<int>(Sum<500>::value); }
""",
    NOT_COMPILED | _STOPPED,
    CPP,
)

_add(
    "compile-time bomb",
    "compile-bomb-node-pattern",
    r"""
    const source = "(".repeat(200000) + "a" + ")".repeat(200000);
    console.log(eval(source), new RegExp(source), "ESCAPED");
""",
    _STOPPED,
    JAVASCRIPT,
)

# --- standard output as such

_add(
    "closing stdout and running on",
    "closed-stdout-busy",
    r"""
    import os
    os.close(0), os.close(1), os.close(2)
    while True:
        pass
""",
    _TIMEOUT,
    limits=_SHORT,
)

_add(
    "closing stdout and running on",
    "closed-stdout-asleep-in-c",
    r"""
    #include <stdio.h>
    #include <unistd.h>
    int main(void) {
        puts("ESCAPED");
        fflush(stdout);
        for (int n = 0; n < 1024; n++) close(n);
        sleep(30);
        return 0;
    }
""",
    _TIMEOUT | outcomes("crashed"),
    C,
    limits=_SHORT,
)

_add(
    "closing stdout and running on",
    "closed-stdout-then-failure",
    r"""
    # The right output, complete, and then no good end: the run failed.
    import os
    os.write(1, b"ESCAPED\n")
    os.close(1), os.close(2)
    os.abort()
""",
    outcomes("crashed"),
)

_add(
    "closing stdout and running on",
    "closed-everything-in-a-call",
    r"""
    import os
    def answer():
        os.closerange(0, 4096)
        while True:
            pass
""",
    _TIMEOUT | outcomes("crashed", "incorrect"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
    limits=_SHORT,
)

_add(
    "closing stdout and running on",
    "closed-everything-and-returned",
    r"""
    import os
    def answer():
        os.closerange(0, 4096)
        return 6
""",
    outcomes("crashed", "incorrect"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": 5}],
    },
)

_add(
    "invalid UTF-8 and NUL output",
    "output-invalid-utf8",
    r"""
    import sys
    sys.stdout.buffer.write(b"\xff\xfe\x00\x80\xc3\x28\xed\xa0\x80\xf8\x88\x80\x80\x80")
""",
    outcomes("incorrect"),
    reference=prints("5\n"),
)

_add(
    "invalid UTF-8 and NUL output",
    "output-that-decodes-to-the-replacement",
    r"""
    # Equal to U+FFFD only for who decodes with errors="replace".
    import sys
    sys.stdout.buffer.write(b"\xff\n")
""",
    outcomes("incorrect"),
    reference=prints("\ufffd\n"),
)

_add(
    "invalid UTF-8 and NUL output",
    "output-with-nul-in-c",
    r"""
    #include <unistd.h>
    int main(void) { return write(1, "5\0001\n", 4) != 4; }
""",
    outcomes("incorrect"),
    C,
    reference=prints("5\n"),
)

_add(
    "invalid UTF-8 and NUL output",
    "output-that-decodes-to-nothing",
    r"""
    # Equal to 5 only for who decodes with errors="ignore", or drops NUL and the byte order mark.
    import sys
    sys.stdout.buffer.write(b"\xef\xbb\xbf5\xff\x00\n")
""",
    outcomes("incorrect"),
    reference=prints("5\n"),
)

_add(
    "invalid UTF-8 and NUL output",
    "lone-surrogates-and-nul-of-a-call",
    r"""
    def answer():
        return ["\ud800", "\0", b"\xff".decode("utf-8", "surrogateescape")]
""",
    outcomes("incorrect"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": ["\ufffd", "", "\ufffd"]}],
    },
)

_add(
    "invalid UTF-8 and NUL output",
    "bytes-of-a-call",
    r"""
    def answer():
        return {"\udfff\0": b"\xff\0"}
""",
    outcomes("incorrect"),
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": {"\ufffd": "\ufffd"}}],
    },
)

_add(
    "invalid UTF-8 and NUL output",
    "an-exception-of-invalid-text",
    r"""
    import sys
    sys.stderr.buffer.write(b"\xff\0\xfe" * 1000)
    raise ValueError("\ud800\0\udfff")
""",
    outcomes("crashed"),
    reference=prints("5\n"),
)
