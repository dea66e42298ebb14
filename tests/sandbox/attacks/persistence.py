"""Reach the next run: a plant leaves something behind, and a finder of a later run looks for it.

Every plant prints `planted` at its end where it lives so long, and expects something else: `incorrect` shows that it
came that far. Every finder expects `FOUND` and prints it only if it sees what the plant left, so that `correct` means
that two runs are not apart. What plants leave stops by itself within half a minute.

`BETWEEN_CASES` are single items that can only pass if a case, a call or a test sees the one before it. `REPEATS` are
programs whose output must differ from run to run.
"""

from __future__ import annotations

from typing import Any

from tests.sandbox.attacks.model import (
    BASH,
    FOUND,
    NOT_DONE,
    PYTHON,
    Attack,
    C,
    Contained,
    Pair,
    Repeat,
    config,
    item,
    outcomes,
    prints,
    source,
    stdio,
)

PAIRS: list[Pair] = []
BETWEEN_CASES: list[Attack] = []
REPEATS: list[Repeat] = []

_AFTER = frozenset({Contained.IN_TIME, Contained.GONE, Contained.CLEAN, Contained.HEALTHY})
_CAME_FAR = outcomes("incorrect")
_PERHAPS = outcomes("incorrect", "crashed")
"""Of plants that the sandbox may stop, or kill on the way."""


def _pair(
    line: str,
    name: str,
    plant: str,
    find: str,
    *,
    language: str = PYTHON,
    find_language: str | None = None,
    plant_outcomes: frozenset[str] = _CAME_FAR,
    find_outcomes: frozenset[str] = NOT_DONE,
) -> None:
    PAIRS.append(
        Pair(
            name=name,
            line=line,
            plant=item(plant, prints("never\n"), language),
            plant_config=config(language),
            find=item(find, prints(FOUND + "\n"), find_language or language),
            find_config=config(find_language or language),
            plant_outcomes=plant_outcomes,
            find_outcomes=find_outcomes,
            contained=_AFTER,
        )
    )


def _between(line: str, name: str, code: str, reference: dict[str, Any], language: str = PYTHON) -> None:
    BETWEEN_CASES.append(
        Attack(name, line, item(code, reference, language), config(language), NOT_DONE, contained=_AFTER)
    )


# --- files

_pair(
    "files left behind",
    "files-everywhere",
    r"""
    import os
    for folder in (".", "..", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", os.path.expanduser("~"), "/",
                   "/mnt", "/srv", "/opt", "/job", "/packages", "/usr/lib", "/var/lib", "/dev", "/dev/mqueue"):
        try:
            with open(os.path.join(folder, "assay-left-file"), "w") as file:
                file.write("planted")
        except OSError:
            pass
    print("planted")
""",
    r"""
    import os
    found = False
    for folder in (".", "..", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", os.path.expanduser("~"), "/",
                   "/mnt", "/srv", "/opt", "/job", "/packages", "/usr/lib", "/var/lib", "/dev", "/dev/mqueue"):
        found = found or os.path.exists(os.path.join(folder, "assay-left-file"))
    print("FOUND" if found else "nothing")
""",
)

_pair(
    "files left behind",
    "files-that-resist-clean-up",
    r"""
    # Unreadable folders, odd names, a deep path, a name that looks like an option, links out.
    import os
    os.makedirs("/tmp/assay-left/locked/inner", exist_ok=True)
    for name in ("-rf", "new\nline", "\\x", "*", b"\xff\xfe", " ", "~"):
        path = os.path.join(b"/tmp/assay-left", name if isinstance(name, bytes) else name.encode())
        with open(path, "w") as file:
            file.write("planted")
    os.symlink("/", "/tmp/assay-left/root")
    os.symlink("assay-left", "/tmp/assay-left-link")
    here = os.open("/tmp/assay-left", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    os.fchdir(here)
    os.chmod("/tmp/assay-left/locked/inner", 0)
    os.chmod("/tmp/assay-left/locked", 0)
    os.chmod("/tmp/assay-left", 0o555)
    print("planted")
""",
    r"""
    import os
    print("FOUND" if os.path.lexists("/tmp/assay-left") or os.path.lexists("/tmp/assay-left-link") else "nothing")
""",
)

_pair(
    "files left behind",
    "files-in-c-and-bash",
    r"""
    #include <stdio.h>
    int main(void) {
        const char *names[] = {"/tmp/assay-left-c", "/dev/shm/assay-left-c", "/var/tmp/assay-left-c", "assay-left-c"};
        for (int n = 0; n < 4; n++) {
            FILE *file = fopen(names[n], "w");
            if (file) { fputs("planted", file); fclose(file); }
        }
        puts("planted");
        return 0;
    }
""",
    r"""
    for folder in /tmp /dev/shm /var/tmp .; do
        if [ -e "$folder/assay-left-c" ]; then echo FOUND; exit 0; fi
    done
    echo nothing
""",
    language=C,
    find_language=BASH,
)

_pair(
    "files left behind",
    "files-by-rights-and-folders",
    r"""
    # Not a file but a state: the folders' rights, the umask, the working folder itself.
    import os
    os.umask(0o777)
    for folder in (".", "/tmp", "/dev/shm", "/var/tmp"):
        try:
            os.chmod(folder, 0o700 if folder == "." else 0o1733)
        except OSError:
            pass
    here = os.getcwd()
    os.chdir("/")
    try:
        os.rename(here, here + "-moved")
        os.symlink("/proc", here)
    except OSError:
        pass
    print("planted")
""",
    r"""
    import os
    mask = os.umask(0o022)
    moved = any("-moved" in name for name in os.listdir(os.path.dirname(os.getcwd()) or "/"))
    print("FOUND" if mask == 0o777 or moved or os.getcwd().startswith("/proc") else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_between(
    "files left behind",
    "files-between-cases",
    r"""
    import os
    seen = [os.path.exists(f"{folder}/assay-case") for folder in (".", "/tmp", "/dev/shm", "/var/tmp")]
    for folder in (".", "/tmp", "/dev/shm", "/var/tmp"):
        try:
            open(f"{folder}/assay-case", "w").close()
        except OSError:
            pass
    print("FOUND" if input() == "first" or any(seen) else "nothing")
""",
    stdio(("first\n", FOUND + "\n"), ("second\n", FOUND + "\n"), ("third\n", FOUND + "\n")),
)

_between(
    "files left behind",
    "files-between-cases-in-bash",
    r"""
    read -r line
    if [ "$line" = first ] || [ -e /tmp/assay-case-bash ] || [ -e assay-case-bash ]
    then echo FOUND; else echo nothing; fi
    : > /tmp/assay-case-bash
    : > assay-case-bash
""",
    stdio(("first\n", FOUND + "\n"), ("second\n", FOUND + "\n")),
    BASH,
)

# --- daemons

_DAEMON = r"""
    import os, signal, socket, sys, time
    end = time.time() + 20
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            quiet = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            os.closerange(3, 256)
            BODY
        os._exit(0)
    os.wait()
    time.sleep(0.05)
    print("planted")
"""


def _daemon(body: str) -> str:
    lines = source(body).rstrip("\n").split("\n")
    return _DAEMON.replace("            BODY", "\n".join("            " + line for line in lines))


_pair(
    "a double-forked daemon",
    "daemon-that-writes",
    _daemon(r"""
    while time.time() < end:
        for folder in ("/tmp", "/dev/shm", "/var/tmp", "."):
            try:
                with open(f"{folder}/assay-left-by-daemon", "a") as file:
                    file.write("alive\n")
            except OSError:
                pass
        time.sleep(0.01)
"""),
    r"""
    import os, time
    time.sleep(0.1)
    print("FOUND" if any(os.path.exists(f"{folder}/assay-left-by-daemon")
                         for folder in ("/tmp", "/dev/shm", "/var/tmp", ".")) else "nothing")
""",
)

_pair(
    "a double-forked daemon",
    "daemon-on-an-abstract-socket",
    _daemon(r"""
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0assay-left-daemon")
    server.listen()
    server.settimeout(1)
    while time.time() < end:
        try:
            server.accept()[0].sendall(b"FOUND")
        except OSError:
            pass
"""),
    r"""
    import socket
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("\0assay-left-daemon")
            print("FOUND")
    except OSError:
        print("nothing")
""",
)

_pair(
    "a double-forked daemon",
    "daemon-on-a-loopback-port",
    _daemon(r"""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 28471))
    server.listen()
    server.settimeout(1)
    while time.time() < end:
        try:
            server.accept()[0].sendall(b"FOUND")
        except OSError:
            pass
"""),
    r"""
    import socket
    try:
        socket.create_connection(("127.0.0.1", 28471), timeout=0.3).close()
        print("FOUND")
    except OSError:
        print("nothing")
""",
)

_pair(
    "a double-forked daemon",
    "daemon-in-the-process-list",
    r"""
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/prctl.h>
    #include <unistd.h>
    int main(void) {
        for (int n = 0; n < 3; n++) {
            if (fork() == 0) {
                setsid();
                if (fork() == 0) {
                    sigset_t all;
                    sigfillset(&all);
                    sigprocmask(SIG_BLOCK, &all, 0);
                    prctl(PR_SET_NAME, "assay-daemon", 0, 0, 0);
                    for (int descriptor = 0; descriptor < 256; descriptor++) close(descriptor);
                    alarm(20);
                    sleep(20);
                }
                _exit(0);
            }
        }
        puts("planted");
        return 0;
    }
""",
    r"""
    import os
    names = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                names.append(open(f"/proc/{pid}/comm").read().strip())
            except OSError:
                pass
    print("FOUND" if "assay-daemon" in names else "nothing")
""",
    language=C,
    find_language=PYTHON,
)

_pair(
    "a double-forked daemon",
    "daemon-that-keeps-forking",
    _daemon(r"""
    # A new process every few milliseconds, so that killing one by one comes too late.
    while time.time() < end:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            pass
        if os.getpgid(0) != os.getpid():
            os.setsid()
        open("/tmp/assay-left-by-hydra", "w").close()
        time.sleep(0.002)
"""),
    r"""
    import os, time
    time.sleep(0.1)
    many = len([name for name in os.listdir("/proc") if name.isdigit()]) > 8
    print("FOUND" if many or os.path.exists("/tmp/assay-left-by-hydra") else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "a double-forked daemon",
    "daemon-of-a-bash-job",
    r"""
    (trap "" TERM HUP INT; while [ "$SECONDS" -lt 20 ]; do : > /tmp/assay-left-by-bash; sleep 0.05; done) \
        > /dev/null 2>&1 < /dev/null &
    disown
    sleep 0.1
    echo planted
""",
    r"""
    sleep 0.2
    if [ -e /tmp/assay-left-by-bash ]; then echo FOUND; else echo nothing; fi
""",
    language=BASH,
)

# --- a daemon that holds the stdout pipe: the plant's verdict must not wait for it

_pair(
    "a daemon that holds the stdout pipe",
    "pipe-held",
    r"""
    import os, time
    print("planted", flush=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(20)
        os._exit(0)
    os._exit(0)
""",
    r"""
    import os
    print("FOUND" if len([pid for pid in os.listdir("/proc") if pid.isdigit()]) > 6 else "nothing")
""",
)

_pair(
    "a daemon that holds the stdout pipe",
    "pipe-held-and-written-later",
    r"""
    # What comes after the end of the program belongs to nobody; least of all to the next program.
    import os, time
    print("planted", flush=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            end = time.time() + 20
            while time.time() < end:
                time.sleep(0.02)
                try:
                    os.write(1, b"FOUND\n")
                    os.write(2, b"FOUND\n")
                except OSError:
                    break
        os._exit(0)
    os.wait()
    os._exit(0)
""",
    r"""
    import time
    time.sleep(0.1)
""",
)

_pair(
    "a daemon that holds the stdout pipe",
    "pipe-held-in-c",
    r"""
    #include <stdio.h>
    #include <unistd.h>
    int main(void) {
        puts("planted");
        fflush(stdout);
        for (int n = 0; n < 4; n++) {
            if (fork() == 0) {
                setsid();
                if (fork() == 0) {
                    for (int copy = 10; copy < 60; copy++) dup2(1, copy);
                    for (int second = 0; second < 200; second++) { usleep(100000); write(1, "FOUND\n", 6); }
                }
                _exit(0);
            }
        }
        return 0;
    }
""",
    r"""
    #include <unistd.h>
    int main(void) { usleep(200000); return 0; }
""",
    language=C,
)

_between(
    "a daemon that holds the stdout pipe",
    "pipe-held-by-a-call",
    r"""
    import os, time
    def answer(number):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(20)
            os._exit(0)
        os.wait()
        return number
""",
    {
        "type": "function",
        "entry_point": "answer",
        "cases": [
            {"args": [1], "expected": 2},
            {"args": [2], "expected": 3},
            {"args": [3], "expected": 4},
        ],
    },
)

_between(
    "a daemon that holds the stdout pipe",
    "child-that-returns-from-the-call-as-well",
    r"""
    # Both the parent and the child come back from the function, with different results.
    import os
    def answer(number):
        return number + (1 if os.fork() else 2)
""",
    {
        "type": "function",
        "entry_point": "answer",
        "cases": [
            {"args": [1], "expected": 4},
            {"args": [2], "expected": 5},
            {"args": [3], "expected": 6},
        ],
    },
)

# --- SysV and POSIX shared memory, message queues, semaphores

_pair(
    "SysV shared memory and message queues",
    "sysv-segment",
    r"""
    #include <stdio.h>
    #include <string.h>
    #include <sys/ipc.h>
    #include <sys/shm.h>
    int main(void) {
        int segment = shmget(0x41535359, 4096, IPC_CREAT | 0666);
        char *area = segment < 0 ? (char *) -1 : shmat(segment, 0, 0);
        if (area != (char *) -1) strcpy(area, "planted");
        puts("planted");
        return 0;
    }
""",
    r"""
    #include <stdio.h>
    #include <string.h>
    #include <sys/ipc.h>
    #include <sys/shm.h>
    int main(void) {
        int segment = shmget(0x41535359, 4096, 0);
        puts(segment >= 0 ? "FOUND" : "nothing");
        return 0;
    }
""",
    language=C,
    plant_outcomes=_PERHAPS,
)

_pair(
    "SysV shared memory and message queues",
    "sysv-queue-and-semaphore",
    r"""
    #include <stdio.h>
    #include <sys/ipc.h>
    #include <sys/msg.h>
    #include <sys/sem.h>
    struct message { long kind; char text[16]; };
    int main(void) {
        struct message message = {1, "planted"};
        int queue = msgget(0x41535359, IPC_CREAT | 0666);
        if (queue >= 0) msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
        semget(0x41535359, 1, IPC_CREAT | 0666);
        puts("planted");
        return 0;
    }
""",
    r"""
    #include <stdio.h>
    #include <sys/ipc.h>
    #include <sys/msg.h>
    #include <sys/sem.h>
    int main(void) {
        puts(msgget(0x41535359, 0) >= 0 || semget(0x41535359, 1, 0) >= 0 ? "FOUND" : "nothing");
        return 0;
    }
""",
    language=C,
    plant_outcomes=_PERHAPS,
)

_pair(
    "SysV shared memory and message queues",
    "posix-shared-memory",
    r"""
    from multiprocessing import resource_tracker, shared_memory
    try:
        area = shared_memory.SharedMemory("assay-left-memory", create=True, size=64)
        area.buf[:7] = b"planted"
        resource_tracker.unregister(area._name, "shared_memory")
        area.close()
    except OSError:
        pass
    print("planted")
""",
    r"""
    import os, sys
    from multiprocessing import shared_memory
    try:
        shared_memory.SharedMemory("assay-left-memory")
        print("FOUND")
    except OSError:
        print("FOUND" if os.path.exists("/dev/shm/assay-left-memory") else "nothing")
    sys.stdout.flush()
    os._exit(0)
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "SysV shared memory and message queues",
    "posix-message-queue",
    r"""
    import ctypes, os
    name = b"assay-left-queue"
    queue = ctypes.CDLL(None, use_errno=True).syscall(240, name, os.O_CREAT | os.O_RDWR, 0o666, None)
    if queue >= 0:
        ctypes.CDLL(None).syscall(242, queue, b"planted", 7, 0, None)
    print("planted")
""",
    r"""
    import ctypes, os
    queue = ctypes.CDLL(None, use_errno=True).syscall(240, b"assay-left-queue", os.O_RDONLY | os.O_NONBLOCK, 0, None)
    print("FOUND" if queue >= 0 else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "SysV shared memory and message queues",
    "kernel-lists-and-named-semaphores",
    r"""
    import _multiprocessing
    for kind in (0, 1):
        try:
            _multiprocessing.SemLock(kind, 1, 1, "/assay-left-semaphore", False)
        except OSError:
            pass
    print("planted")
""",
    r"""
    import os
    lines = 0
    for name in ("shm", "msg", "sem"):
        try:
            lines += len(open(f"/proc/sysvipc/{name}").read().splitlines()) - 1
        except OSError:
            pass
    semaphore = any("assay-left" in name for folder in ("/dev/shm", "/tmp") if os.path.isdir(folder)
                    for name in os.listdir(folder))
    print("FOUND" if lines > 0 or semaphore else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

# --- modules

_pair(
    "poisoned modules or .pyc",
    "modules-patched-in-memory",
    r"""
    import builtins, collections, json, math, random, re, string, sys, types
    json.dumps = json.loads = lambda *_, **__: "FOUND"
    math.sqrt = lambda _: -1
    builtins.assay_left = True
    builtins.len = lambda _: 0
    sys.modules["assay_left"] = types.ModuleType("assay_left")
    sys.modules["decimal"] = types.ModuleType("decimal")
    sys.path.insert(0, "/tmp")
    re.compile = None
    collections.OrderedDict = list
    string.digits = ""
    print("planted")
""",
    r"""
    import builtins, sys
    found = hasattr(builtins, "assay_left") or "assay_left" in sys.modules or len("ab") != 2
    import collections, decimal, json, math, re, string
    found = found or json.dumps(1) != "1" or math.sqrt(4) != 2 or not re.compile or not string.digits
    found = found or collections.OrderedDict is list or not hasattr(decimal, "Decimal")
    print("FOUND" if found else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "poisoned modules or .pyc",
    "modules-on-the-search-path",
    r"""
    # A module of one's own wherever the search path leads, and where Python looks at its start.
    import os, site, sys
    folders = [*sys.path, "/tmp", os.path.expanduser("~"), site.getusersitepackages(), os.getcwd(),
               os.path.dirname(os.__file__), "/job", "/packages"]
    for folder in folders:
        if not folder or not isinstance(folder, str):
            continue
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            pass
        for name in ("assay_left_module.py", "sitecustomize.py", "usercustomize.py", "json.py", "assay-left.pth"):
            try:
                with open(os.path.join(folder, name), "x") as file:
                    file.write("import builtins; builtins.assay_left = True\n")
            except OSError:
                pass
    print("planted")
""",
    r"""
    import builtins
    try:
        import assay_left_module
        found = True
    except ImportError:
        found = False
    import json
    print("FOUND" if found or hasattr(builtins, "assay_left") or not hasattr(json, "dumps") else "nothing")
""",
)

_pair(
    "poisoned modules or .pyc",
    "compiled-files",
    r"""
    # A compiled module without a source, in every folder of the search path; and those of the standard library,
    # of which nothing but the time is changed, in case that this works.
    import importlib.util, marshal, os, sys
    code = importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile("LEFT = 1", "left.py", "exec"))
    for folder in (*sys.path, ".", "/tmp", "/job", "/packages", os.path.dirname(os.__file__)):
        for name in ("", "__pycache__"):
            try:
                os.makedirs(os.path.join(folder, name), exist_ok=True)
                with open(os.path.join(folder, name, "assay_left_compiled.pyc"), "xb") as file:
                    file.write(code)
            except OSError:
                pass
    for module in ("colorsys", "sched", "fractions", "json", "decimal"):
        try:
            os.utime(importlib.util.find_spec(module).cached, (1234567890, 1234567890))
        except (OSError, TypeError):
            pass
    print("planted")
""",
    r"""
    import importlib.util, os, sys
    found = False
    sys.path += ["/tmp", "/job", "/tmp/__pycache__", "__pycache__"]
    try:
        import assay_left_compiled
        found = True
    except ImportError:
        pass
    for module in ("colorsys", "sched", "fractions", "json", "decimal"):
        try:
            found = found or os.stat(importlib.util.find_spec(module).cached).st_mtime == 1234567890
        except (OSError, TypeError):
            pass
    print("FOUND" if found else "nothing")
""",
)

_pair(
    "poisoned modules or .pyc",
    "hooks-and-registries",
    r"""
    # Registries that outlive a program: import hooks, codecs, exit handlers, excepthook, audit hooks, tracing.
    import atexit, codecs, copyreg, gc, os, sys, threading, warnings
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "assay_left_module":
                import importlib.util
                return importlib.util.spec_from_loader(name, loader=None)
    sys.meta_path.insert(0, Finder())
    sys.path_hooks.insert(0, lambda path: 1 / 0)
    sys.excepthook = lambda *_: os.write(1, b"FOUND\n")
    sys.unraisablehook = sys.excepthook
    threading.excepthook = sys.excepthook
    atexit.register(lambda: os.write(1, b"left\n"))
    codecs.register(lambda name: None if name != "assay_left" else codecs.lookup("utf-8"))
    os.environ["ASSAY_LEFT"] = "1"
    os.register_at_fork(after_in_child=lambda: os.environ.__setitem__("ASSAY_LEFT", "1"))
    sys.addaudithook(lambda event, arguments: None)
    sys.setswitchinterval(7.0)
    sys.setrecursionlimit(12345)
    sys.displayhook = None
    gc.disable()
    warnings.filterwarnings("error")
    print("planted")
""",
    r"""
    import codecs, gc, os, sys
    found = "ASSAY_LEFT" in os.environ or sys.getrecursionlimit() == 12345 or sys.getswitchinterval() > 1
    found = found or any(type(finder).__name__ == "Finder" for finder in sys.meta_path) or sys.displayhook is None
    try:
        codecs.lookup("assay_left")
        found = True
    except LookupError:
        pass
    print("FOUND" if found else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_between(
    "poisoned modules or .pyc",
    "modules-between-calls",
    r"""
    import json, math
    COUNT = []
    def answer(number):
        COUNT.append(number)
        seen = len(COUNT) > 1 or getattr(math, "assay_left", 0) or hasattr(json, "assay_left")
        math.assay_left = json.assay_left = 1
        answer.left = True
        return "FOUND" if number == 0 or seen else "nothing"
""",
    {
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [number], "expected": "FOUND"} for number in range(3)],
    },
)

# --- signals

_FUSE = "len([name for name in os.listdir('/proc') if name.isdigit()]) > 12"

_pair(
    "signalling the parent interpreter",
    "signals-to-the-parent",
    f"""
    import os, signal, time
    if {_FUSE}:
        print("no sandbox")
    else:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM,
                       signal.SIGHUP, signal.SIGPIPE, signal.SIGTSTP, signal.SIGSTOP, signal.SIGQUIT, signal.SIGKILL):
            for target in {{os.getppid(), 1}} - {{0, os.getpid()}}:
                try:
                    os.kill(target, number)
                except OSError:
                    pass
        time.sleep(0.05)
        print("planted")
""",
    r"""
    # Whatever the parent was told must not have come down to this run.
    import signal
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    # (SIGINT, SIGQUIT and SIGHUP may be ignored because the service was started so.)
    ours = sum(1 << number - 1 for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2))
    masks = [int(status[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn")]
    print("FOUND" if any(mask & ours for mask in masks) else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "signalling the parent interpreter",
    "signals-to-everyone",
    f"""
    import os, signal
    if {_FUSE}:
        print("no sandbox")
    else:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGKILL):
            try:
                os.kill(-1, number)
            except OSError:
                pass
        print("planted")
""",
    r"""
    import signal
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    ignored = [number for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
               if signal.getsignal(number) is signal.SIG_IGN]
    print("FOUND" if blocked or ignored else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "signalling the parent interpreter",
    "signals-by-death-and-timers",
    r"""
    # A signal for the parent when this process ends, a timer that would fire in whoever comes after, SIGIO by fcntl.
    import fcntl, os, signal, time
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    signal.setitimer(signal.ITIMER_PROF, 0.2, 0.2)
    for descriptor in (0, 1, 2):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getppid() or os.getpid())
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
        except OSError:
            pass
    print("planted")
""",
    r"""
    import fcntl, os, signal
    timers = [signal.getitimer(which)[0] for which in (signal.ITIMER_REAL, signal.ITIMER_PROF, signal.ITIMER_VIRTUAL)]
    flags = [fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ASYNC for descriptor in (0, 1, 2)]
    print("FOUND" if any(timers) or any(flags) else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

# --- descriptors

_pair(
    "writing inherited descriptors",
    "descriptors-written",
    r"""
    # To whatever is open: text, frames of several kinds, JSON lines.
    import os, struct
    left = b"assay-left-here\n"
    texts = [left, struct.pack("<I", 16) + left, struct.pack(">I", 16) + left,
             b'{"status": "ok", "exit_code": 0, "stdout": "assay-left-here"}\n', b"\0" * 64]
    for descriptor in range(3, 256):
        for text in texts:
            try:
                os.set_blocking(descriptor, False)
                os.write(descriptor, text)
            except OSError:
                pass
    print("planted")
""",
    r"""
    import os
    found = False
    for descriptor in range(3, 256):
        try:
            os.set_blocking(descriptor, False)
            found = found or b"assay-left" in os.read(descriptor, 65536)
        except OSError:
            pass
    print("FOUND" if found else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "writing inherited descriptors",
    "descriptors-changed",
    r"""
    # The flags and the position belong to what is open, not to the process: they would be there for the next run.
    import fcntl, os
    for descriptor in range(256):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
            os.lseek(descriptor, 7, os.SEEK_SET)
        except OSError:
            pass
    os.set_blocking(1, True)
    print("planted", flush=True)
    os.set_blocking(1, False)
""",
    r"""
    import fcntl, os
    found = False
    for descriptor in range(3):
        try:
            found = found or bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK)
            found = found or os.lseek(descriptor, 0, os.SEEK_CUR) == 7
        except OSError:
            pass
    os.set_blocking(1, True)
    print("FOUND" if found else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "writing inherited descriptors",
    "descriptors-closed-and-shut-down",
    r"""
    # Shut down, not only closed: the other end would notice.
    import os, socket
    for descriptor in range(3, 256):
        try:
            copy = socket.socket(fileno=os.dup(descriptor))
            copy.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    os.closerange(3, 4096)
    print("planted")
""",
    r"""
    # Beyond the three that every program has, nothing that leads to another process.
    import os
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass
    left = [link for number, link in links if number > 2 and ("socket:" in link or "pipe:" in link)]
    print("FOUND" if left else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "writing inherited descriptors",
    "descriptors-in-c",
    r"""
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    int main(void) {
        for (int n = 3; n < 1024; n++) {
            int flags = fcntl(n, F_GETFL);
            if (flags < 0) continue;
            fcntl(n, F_SETFL, flags | O_NONBLOCK);
            for (int times = 0; times < 100; times++) if (write(n, "assay-left-here\n", 16) < 0) break;
            ftruncate(n, 0);
        }
        puts("planted");
        return 0;
    }
""",
    r"""
    #include <fcntl.h>
    #include <stdio.h>
    int main(void) {
        int open = 0;
        for (int n = 3; n < 1024; n++) open += fcntl(n, F_GETFD) >= 0;
        puts(open ? "FOUND" : "nothing");
        return 0;
    }
""",
    language=C,
)

# --- memory

_SCAN = r"""
    # The marker is in two halves here, so that this program does not find itself; they are never put together.
    first, second = b"assay-memory-", b"left-7f3a91c0"
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or "[v" in line or end - start > 1 << 28:
                continue
            try:
                memory.seek(start)
                block = memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            at = block.find(first)
            while at >= 0:
                if block[at + len(first):at + len(first) + len(second)] == second:
                    found += 1
                at = block.find(first, at + 1)
    print("FOUND" if found else "nothing")
"""

_pair(
    "memory left over from an earlier run",
    "memory-of-python-objects",
    r"""
    marker = "assay-memory-left-7f3a91c0"
    held = [marker.encode() * 100 for _ in range(1000)] + [{marker + str(n): n} for n in range(1000)]
    text = marker * 100_000
    print("planted", len(held) and "")
""",
    _SCAN,
)

_pair(
    "memory left over from an earlier run",
    "memory-of-mappings-and-threads",
    r"""
    import mmap, threading
    marker = b"assay-memory-left-7f3a91c0"
    area = mmap.mmap(-1, 8 << 20)
    area.write(marker * 100_000)
    def hold():
        local = marker * 1000
        return local
    for _ in range(8):
        threading.Thread(target=hold).start()
    with open("/tmp/memory", "wb") as file:
        file.write(marker * 10_000)
    print("planted")
""",
    _SCAN,
)

_pair(
    "memory left over from an earlier run",
    "memory-of-a-source-with-an-error",
    r"""
    # The source itself, its error message and its traceback hold the marker: assay-memory-left-7f3a91c0.
    MARKER = "assay-memory-left-7f3a91c0"
    print("planted", flush=True)
    raise ValueError(MARKER * 10)
""",
    _SCAN,
    plant_outcomes=outcomes("crashed"),
)

_pair(
    "memory left over from an earlier run",
    "memory-fresh-from-the-kernel-in-c",
    r"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    int main(void) {
        for (int n = 0; n < 2000; n++) {
            char *block = malloc(16384);
            for (int at = 0; at + 26 < 16384; at += 26) memcpy(block + at, "assay-memory-left-7f3a91c0", 26);
        }
        puts("planted");
        return 0;
    }
""",
    r"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    int main(void) {
        static const char second[] = "left-7f3a91c0";
        long found = 0;
        for (int n = 0; n < 2000; n++) {
            char *block = malloc(16384);
            for (int at = 0; at + 40 < 16384; at++)
                if (at > 13 && !memcmp(block + at, second, 13) && !memcmp(block + at - 13, "assay-memory-", 13))
                    found++;
        }
        puts(found ? "FOUND" : "nothing");
        return 0;
    }
""",
    language=C,
)

_pair(
    "memory left over from an earlier run",
    "memory-of-inputs",
    r"""
    # Its input is as private as its memory; here it stands in the output that the finder's cell may still hold.
    import sys
    sys.stdout.write("assay-memory-left-7f3a91c0" * 1000)
    sys.stderr.write("assay-memory-left-7f3a91c0" * 1000)
    print("planted")
""",
    _SCAN,
)

_between(
    "memory left over from an earlier run",
    "memory-between-cases",
    r"""
    first, second = b"assay-case-", b"left-5b1d77"
    if input() == "first":
        held = [(first + second) * 1000 for _ in range(100)]
        print("FOUND")
    else:
        found = False
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
            for entry in maps.read().splitlines():
                start, end = (int(part, 16) for part in entry.split()[0].split("-"))
                if entry.split()[1][0] != "r" or "[v" in entry or end - start > 1 << 28:
                    continue
                try:
                    memory.seek(start)
                    block = memory.read(end - start)
                except (OSError, ValueError, OverflowError):
                    continue
                at = block.find(first)
                while at >= 0:
                    found = found or block[at + len(first):at + len(first) + len(second)] == second
                    at = block.find(first, at + 1)
        print("FOUND" if found else "nothing")
""",
    stdio(("first\n", FOUND + "\n"), ("second\n", FOUND + "\n"), ("third\n", FOUND + "\n")),
)

_between(
    "memory left over from an earlier run",
    "memory-between-calls",
    r"""
    # What an earlier call computed, in what the allocator hands out and in caches of the interpreter.
    import functools, gc
    @functools.lru_cache(None)
    def remember(key):
        return []
    def answer(number):
        kept = remember("key")
        seen = bool(kept) or any(type(thing) is set and "assay-call-left" in thing for thing in gc.get_objects())
        kept.append({"assay-call-left"})
        return "FOUND" if number == 0 or seen else "nothing"
""",
    {
        "type": "function",
        "entry_point": "answer",
        "cases": [
            {"args": [0], "expected": FOUND},
            {"args": [1], "expected": FOUND},
            {"args": [2], "expected": FOUND},
        ],
    },
)

# --- the result cache: here the plant is honest, and the finder is its wrong twin

_DOUBLE = r"""
    def double(number):
        return number * 2
"""


def _twins(name: str, plant: dict[str, Any], find: dict[str, Any], ends: frozenset[str], **more: Any) -> None:
    PAIRS.append(
        Pair(
            name=name,
            line="poisoning the result cache",
            plant=plant,
            plant_config=config(),
            find=find,
            find_config=more.get("find_config", config()),
            plant_outcomes=outcomes("correct"),
            find_outcomes=ends,
        )
    )


def _cases(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "entry_point": "double",
        "cases": [{"args": [given], "expected": expected} for given, expected in pairs],
    }


_twins(
    "cache-another-reference",
    item(_DOUBLE, _cases((1, 2), (5, 10))),
    item(_DOUBLE, _cases((1, 2), (5, 11))),
    outcomes("incorrect"),
)
_twins(
    "cache-one-character-of-the-program",
    item(_DOUBLE, _cases((1, 2), (5, 10))),
    item(_DOUBLE.replace("* 2", "* 3"), _cases((1, 2), (5, 10))),
    outcomes("incorrect"),
)
_twins(
    "cache-two-programs-that-look-alike",  # the same letters to the eye and to NFKC, other names to the second test
    item(_DOUBLE + '\n    TEXT = "double"\n', _cases((1, 2), ("ab", "abab"))),
    item(_DOUBLE.replace("* 2", "* 2 if number == 1 else '\uff41b' * 2"), _cases((1, 2), ("ab", "abab"))),
    outcomes("incorrect"),
)
_twins(
    "cache-numbers-that-hash-alike",
    item(_DOUBLE, _cases((1, 2), (2**61, 2**62))),
    item(_DOUBLE.replace("* 2", "* 2 if number < 9 else 2"), _cases((1, 2), (2**61, 2**62))),
    outcomes("incorrect"),
)
_twins(
    "cache-other-limits",
    item("import time\ntime.sleep(0.3)\nprint('done')\n", prints("done\n")),
    item("import time\ntime.sleep(0.3)\nprint('done')\n", prints("done\n")),
    outcomes("timeout"),
    find_config=config(limits={"wall_s": 0.1, "cpu_s": 0.1}),
)
_twins(
    "cache-one-escape-more",
    item("print(len('''a\\r\\nb'''))\n", prints("4\n")),
    item("print(len('''a\\nb'''))\n", prints("4\n")),
    outcomes("incorrect"),
)

_between(
    "poisoning the result cache",
    "compiled-program-replaced-between-cases",
    r"""
    /* Compiled once for all cases: the first run tries to replace the program that the others execute. */
    #include <stdio.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int main(int count, char **arguments) {
        char line[64] = "", path[512] = "";
        if (!fgets(line, sizeof line, stdin)) return 1;
        long size = readlink("/proc/self/exe", path, sizeof path - 1);
        path[size > 0 ? size : 0] = 0;
        const char *paths[] = {path, count ? arguments[0] : "a.out", "/job/main", "/job/a.out", "/tmp/a.out"};
        for (int n = 0; n < 5; n++) {
            unlink(paths[n]);
            FILE *file = fopen(paths[n], "w");
            if (!file) continue;
            fputs("#!/bin/sh\necho FOUND\n", file);
            fchmod(fileno(file), 0755);
            fclose(file);
        }
        puts(strncmp(line, "first", 5) == 0 ? "FOUND" : "nothing");
        return 0;
    }
""",
    stdio(("first\n", FOUND + "\n"), ("second\n", FOUND + "\n"), ("third\n", FOUND + "\n")),
    C,
)

_pair(
    "poisoning the result cache",
    "compiler-cache-and-temporary-files",
    r"""
    #include <stdio.h>
    #include <stdlib.h>
    int main(void) {
        /* Headers and objects where a later compilation would look for them. */
        const char *names[] = {"/tmp/stdio.h", "stdio.h", "/job/stdio.h", "/usr/include/assay_left.h",
                               "/usr/local/include/assay_left.h", "/job/assay_left.h", "/tmp/assay_left.h"};
        for (int n = 0; n < 7; n++) {
            FILE *file = fopen(names[n], "w");
            if (file) { fputs("#define ASSAY_LEFT 1\n", file); fclose(file); }
        }
        puts("planted");
        return 0;
    }
""",
    r"""
    #if __has_include("assay_left.h")
    #include "assay_left.h"
    #elif __has_include(<assay_left.h>)
    #include <assay_left.h>
    #endif
    #include <stdio.h>
    int main(void) {
    #ifdef ASSAY_LEFT
        puts("FOUND");
    #else
        puts("nothing");
    #endif
        return 0;
    }
""",
    language=C,
)

# --- random state

_pair(
    "shared random state",
    "random-seeded",
    r"""
    import random
    random.seed(20240731)
    random.random()
    print("planted")
""",
    r"""
    import random
    drawn = [random.random() for _ in range(3)]
    twin = random.Random(20240731)
    stream = [twin.random() for _ in range(10)]
    print("FOUND" if set(drawn) & set(stream) else "nothing")
""",
)

_pair(
    "shared random state",
    "random-replaced",
    r"""
    import os, random, secrets, tempfile, uuid
    random.random = random._inst.random = lambda: 0.25
    random.SystemRandom.random = lambda self: 0.25
    os.urandom = lambda size: bytes(size)
    secrets.token_hex = lambda size=32: "00"
    uuid.uuid4 = lambda: uuid.UUID(int=0)
    tempfile._name_sequence = iter(["assay"] * 1000)
    print("planted")
""",
    r"""
    import os, random, secrets, tempfile, uuid
    found = random.random() == 0.25 or random.SystemRandom().random() == 0.25 or os.urandom(8) == bytes(8)
    found = found or secrets.token_hex() == "00" or uuid.uuid4().int == 0
    found = found or next(tempfile._get_candidate_names()) == "assay"
    print("FOUND" if found else "nothing")
""",
    plant_outcomes=_PERHAPS,
)

_pair(
    "shared random state",
    "random-state-written-down",
    r"""
    # Leaves the state of its generator where the next run may find it.
    import os, pickle, random
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "."):
        try:
            with open(f"{folder}/assay-left-state", "wb") as file:
                pickle.dump(random.getstate(), file)
        except OSError:
            pass
    print("planted")
""",
    r"""
    import pickle, random
    found = False
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "."):
        try:
            with open(f"{folder}/assay-left-state", "rb") as file:
                found = found or pickle.load(file) == random.getstate()
        except OSError:
            pass
    print("FOUND" if found else "nothing")
""",
)

REPEATS += [
    Repeat(
        "random-numbers-differ",
        "shared random state",
        source(r"""
            import random
            print(random.random(), random.getrandbits(64), random.sample(range(10 ** 6), 3))
        """),
    ),
    Repeat(
        "random-sources-differ",
        "shared random state",
        source(r"""
            import os, secrets, uuid
            print(secrets.token_hex(), uuid.uuid4(), os.urandom(8).hex())
        """),
    ),
    Repeat(
        "temporary-names-differ",
        "shared random state",
        source(r"""
            import tempfile
            print(next(tempfile._get_candidate_names()))
        """),
    ),
    Repeat(
        "numpy-numbers-differ",
        "shared random state",
        source(r"""
            import numpy
            print(numpy.random.random(), numpy.random.default_rng().random())
        """),
        packages=("numpy",),
    ),
]
