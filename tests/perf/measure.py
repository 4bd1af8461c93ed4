# SPDX-License-Identifier: MIT
"""Run one thing and say what it took; mount one thing and watch its server.

Every process started here leads a session of its own, so that what is ended
at the end, or at a signal, is exactly what was started. A process counts as
ours until it was waited for: its number cannot have been given to another.
"""
import mmap
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

DROP_CACHES = "/proc/sys/vm/drop_caches"
POLL = 0.01  # seconds between two looks at a process's memory
GRACE = 10  # seconds a server gets to leave before it is told to, and then again


class Failed(Exception):
    """Something could not be measured; the text is one sentence."""


class CannotMount(Failed):
    """Nor can anything else that needs this mount."""


@dataclass
class Cmd:
    argv: list
    cwd: str = None
    env: dict = field(default_factory=dict)
    ok: tuple = (0,)
    seconds: object = None  # takes them from what it printed, if not from the clock

    def text(self):
        """As a user would type it."""
        if self.argv[:2] == ["bash", "-c"]:
            line = self.argv[2]
        else:
            line = " ".join(a if a else "''" for a in self.argv)
        return f"(cd {self.cwd}; {line})" if self.cwd else line


def shell(line, cwd=None):
    return Cmd(["bash", "-c", line], cwd)


@dataclass
class Sample:
    wall: float
    cpu: float = None
    rss: int = None  # peak, bytes; counts what is mapped from files, too
    anon: int = None  # peak of what is not, as seen now and then
    server: dict = None  # cpu, rss, anon of the process behind a mount
    kernel: float = None  # how much of cpu was spent in the kernel

    def as_dict(self):
        return {k: v for k, v in vars(self).items() if v is not None}

    def then(self, other):
        """Both, one after the other."""
        return Sample(self.wall + other.wall, (self.cpu or 0) + (other.cpu or 0),
                      max(self.rss or 0, other.rss or 0) or None,
                      max(self.anon or 0, other.anon or 0) or None,
                      kernel=(self.kernel or 0) + (other.kernel or 0))


def status_bytes(pid, key):
    """A 'Vm…' or 'Rss…' line of /proc/PID/status; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def last_line(path):
    try:
        with open(path, errors="replace") as f:
            lines = [s.strip() for s in f if s.strip()]
    except OSError:
        lines = []
    return lines[-1][:200] if lines else "without a word"


class Watch:
    """Looks at the memory of a process until told to stop."""

    def __init__(self, pid):
        self.pid = pid
        self.anon = self.rss = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def look(self):
        self.anon = max(self.anon, status_bytes(self.pid, "RssAnon"))
        self.rss = max(self.rss, status_bytes(self.pid, "VmHWM"))

    def watch(self):
        while not self.done.wait(POLL):
            self.look()

    def stop(self):
        self.done.set()
        self.thread.join()


class Bench:
    """The scratch directories, the processes and the mounts of one run."""

    def __init__(self, scratch, ram, timeout):
        self.running = {}  # pid -> Popen, not yet waited for
        self.mounts = []
        self.timeout = timeout
        self.dest = None  # where copies go now
        self.ram = tempfile.mkdtemp(prefix="perf.", dir=ram)
        try:
            os.makedirs(scratch, exist_ok=True)
            self.dir = tempfile.mkdtemp(prefix="perf.", dir=scratch)
        except OSError:
            os.rmdir(self.ram)
            raise
        self.log = os.path.join(self.dir, "log")

    # ------------------------------------------------------------ processes

    def start(self, cmd, log):
        try:
            p = subprocess.Popen(cmd.argv, cwd=cmd.cwd, env={**os.environ, **cmd.env},
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        except OSError as e:
            raise Failed(f"{cmd.argv[0]}: {e.strerror}") from e
        self.running[p.pid] = p
        return p

    def reap(self, p, flags=0):
        """Its usage once it has ended; None while it runs (WNOHANG)."""
        pid, status, usage = os.wait4(p.pid, flags)
        if pid == 0:
            return None
        del self.running[p.pid]
        p.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def kill(self, p, sig):
        if p.pid in self.running:
            try:
                os.killpg(p.pid, sig)
            except ProcessLookupError:
                pass

    def run(self, cmd, mount=None, timeout=None):
        """Run to the end; raises Failed unless the exit status is one of cmd.ok."""
        late = []
        timeout = timeout or self.timeout

        def too_late():
            late.append(True)
            if mount:  # else the client may sleep in the kernel for good
                self.kill(mount.server, signal.SIGKILL)
            self.kill(p, signal.SIGKILL)

        with open(self.log, "wb") as log:
            floor = status_bytes("self", "VmHWM")
            begin = time.monotonic()
            p = self.start(cmd, log)
            alarm = threading.Timer(timeout, too_late)
            alarm.start()
            memory = Watch(p.pid)
            try:
                usage = self.reap(p)
                wall = time.monotonic() - begin
            finally:
                alarm.cancel()
                memory.stop()
        if late:
            raise Failed(f"{cmd.text()}: not done after {timeout} s")
        if p.returncode not in cmd.ok:
            how = f"exit status {p.returncode}" if p.returncode > 0 else f"signal {-p.returncode}"
            raise Failed(f"{cmd.text()}: {how}: {last_line(self.log)}")
        # A child's peak starts from what this process had when it was made.
        rss = usage.ru_maxrss * 1024
        anon = memory.anon if cmd.argv[0] != "bash" else 0  # which only waits for the others
        if cmd.seconds:
            with open(self.log, errors="replace") as f:
                wall = cmd.seconds(f.read())
        return Sample(wall, usage.ru_utime + usage.ru_stime, rss if rss > floor else None,
                      anon or None, kernel=usage.ru_stime)

    def run_all(self, commands):
        """One after the other, as if they were one."""
        sample = Sample(0)
        for c in commands:
            sample = sample.then(self.run(c))
        return sample

    def output(self, cmd):
        self.run(cmd)
        with open(self.log, errors="replace") as f:
            return f.read()

    # ------------------------------------------------------------ directories

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def fresh(self, room):
        """An empty directory for a copy that may take so much; the one before is removed."""
        self.clear()
        self.dest = os.path.join(self.ram if self.fits(room) else self.dir, "dest")
        os.mkdir(self.dest)
        return self.dest

    def clear(self):
        if self.dest:
            remove(self.dest)
            self.dest = None

    def fits(self, room):
        """Whether a copy fits into memory, and leaves as much."""
        with open("/proc/meminfo") as f:
            free = next(int(s.split()[1]) for s in f if s.startswith("MemAvailable:")) * 1024
        where = os.statvfs(self.ram)
        return where.f_bavail * where.f_frsize > room and free > 2 * room

    def end(self):
        """Unmount, end and remove what was started and made here."""
        for m in list(self.mounts):
            m.stop()
        for p in list(self.running.values()):
            self.kill(p, signal.SIGKILL)
            self.reap(p)
        for path in mounted_below(self.dir):
            subprocess.run(["umount", "-l", path], check=False)
        if mounted_below(self.dir):
            print(f"perf: {self.dir} is left: something in it is still mounted", flush=True)
        else:
            remove(self.dir)
        remove(self.ram)


def end_on_signals():
    """Also in the background as at the keyboard: end what was started, remove what was made."""
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.default_int_handler)


def remove(path):
    """A directory and all in it, read-only directories too."""
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "-f", "u+rwX", path], check=False)
    shutil.rmtree(path, ignore_errors=True)


def remove_file(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def mounted_below(path):
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    return [p for p in points if p.startswith(os.path.realpath(path) + "/")]


def disk_usage(path):
    """(blocks in bytes, sizes in bytes) of path and all below it, as du tells them."""
    os.sync()
    disk = apparent = 0
    inside = (os.path.join(top, name) for top, dirs, names in os.walk(path)
              for name in dirs + names)
    for p in [path] if os.path.isfile(path) else inside:
        st = os.lstat(p)
        disk += st.st_blocks * 512
        apparent += st.st_size if stat.S_ISREG(st.st_mode) else 0
    return disk, apparent


# ---------------------------------------------------------------- page cache

def can_drop():
    return os.access(DROP_CACHES, os.W_OK)


def touch_memory(size):
    """Have so much of the free memory at hand.

    The host of a virtual machine takes back what lies free, and gives it again page by page:
    that can take longer than all that is to be measured.
    """
    with open("/proc/meminfo") as f:
        free = int(re.search(r"^MemFree:\s+(\d+)", f.read(), re.M).group(1)) << 10
    size = min(size, free - (1 << 30))
    if size > 0:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def make_cold(memory):
    """Nothing of the stores and trees is in memory; the programs that read are, and so much is free."""
    os.sync()
    with open(DROP_CACHES, "w") as f:
        f.write("3\n")
    for program in ("bash", "cat", "cp", "dd", "find", "fio", "grep", "ls", "tar",
                    "xargs"):
        if shutil.which(program):
            subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=False)
    touch_memory(memory)


def make_warm(*paths):
    os.sync()
    for path in paths:
        subprocess.run(["bash", "-c", 'tar cf - -- "$1" 2>/dev/null | cat >/dev/null', "-", path],
                       check=False)


# ---------------------------------------------------------------- mounts

class Mount:
    """A FUSE server in the foreground, from its start until its end."""

    def __init__(self, bench, name):
        self.bench = bench
        self.name = name
        self.point = bench.path("mnt-" + name)
        self.log = bench.path("log-" + name)
        self.server = None
        self.memory = None

    def start(self, cmd, newest):
        """Seconds from the start of the server until newest can be listed."""
        os.makedirs(self.point, exist_ok=True)
        with open(self.log, "wb") as log:
            begin = time.monotonic()
            self.server = self.bench.start(cmd, log)
        self.bench.mounts.append(self)
        # A server that hangs would hold our question in the kernel for good.
        alarm = threading.Timer(self.bench.timeout,
                                lambda: self.bench.kill(self.server, signal.SIGKILL))
        alarm.start()
        try:
            while not answers(newest, self.point):
                if self.bench.reap(self.server, os.WNOHANG):
                    raise CannotMount(f"{cmd.text()}: {last_line(self.log)}")
                time.sleep(0.001)
            wall = time.monotonic() - begin
        except Failed:
            self.stop()
            raise
        finally:
            alarm.cancel()
        self.memory = Watch(self.server.pid)
        return wall

    def stop(self):
        """Unmount and wait for the server; what it took, or None if it had gone before."""
        if self in self.bench.mounts:
            self.bench.mounts.remove(self)
        memory, self.memory = self.memory, None
        if memory:
            memory.look()
            memory.stop()
        self.unmount()
        usage = self.wait_for_server()
        if not usage or not memory:
            return None
        return {"cpu": usage.ru_utime + usage.ru_stime, "rss": memory.rss, "anon": memory.anon}

    def unmount(self):
        tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        lazy = "-l" if os.geteuid() == 0 else "-z"
        deadline = time.monotonic() + GRACE
        while self.point in mounted_below(self.bench.dir):
            late = time.monotonic() > deadline
            subprocess.run(tool + ([lazy] if late else []) + [self.point],
                           stderr=subprocess.DEVNULL, check=False)
            if late:
                break
            time.sleep(0.01)

    def wait_for_server(self):
        for sig in (None, signal.SIGTERM, signal.SIGKILL):
            if self.server.pid not in self.bench.running:
                return None
            if sig:
                self.bench.kill(self.server, sig)
            deadline = time.monotonic() + GRACE
            while time.monotonic() < deadline:
                usage = self.bench.reap(self.server, os.WNOHANG)
                if usage:
                    return usage
                time.sleep(0.01)
        return None


def answers(newest, point):
    """Whether the newest point can be listed, and it is the mount that answers."""
    try:
        if not os.listdir(newest):
            return False
        return os.stat(newest).st_dev != os.stat(os.path.dirname(point)).st_dev
    except OSError:
        return False
