# SPDX-License-Identifier: MIT
"""The run as a whole: its scratch directory, processes, deadlines, counts and verdict.

Nothing here touches what is below a mount point: a mount that hangs must never
hang the run. Whoever does is a process with a deadline. The first failure
kills what changes the store, so that it is found as it was at that moment.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

import stuck

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
DEADLINE = 90  # seconds for any one command; far beyond what one takes on a busy machine
SLOWER = {"release": 1, "asan": 4, "tsan": 8}


class Failed(Exception):
    """The store, or what shows it, is wrong. The text says how."""


@dataclass
class Result:
    status: int
    out: str
    err: str
    killed: bool  # by us
    seconds: float

    def told(self):
        lines = (self.err + self.out).strip()
        return f"status {self.status}: {lines[:3000] or 'without a word'}"


@dataclass
class Job:
    """A process that was started and not yet waited for."""
    kind: str
    argv: list
    process: subprocess.Popen
    began: float
    mounted: bool  # it only reads, below a mount point: a failure need not kill it at once
    met: list = field(default_factory=list)  # of a gc: those that ran at the same time


class World:
    def __init__(self, seconds, seed, keep):
        self.seconds = seconds
        self.seed = seed
        self.keep = keep
        self.flavour = os.environ.get("FLAVOUR") or "release"
        self.slower = SLOWER.get(self.flavour, 1)
        self.build = os.path.abspath(os.environ.get("BUILD") or
                                     os.path.join(TOP, "build", self.flavour))
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="chunkstore-stress."))
        self.store = self.path("store")
        self.stop = threading.Event()  # no new operations
        self.began = time.monotonic()
        self.threads = []
        self.dumping = threading.Lock()
        self.lock = threading.Lock()
        # guarded by lock
        self.jobs = {}  # pid -> Job
        self.counts = Counter()  # processes that ended, by kind
        self.remarks = Counter()
        self.bytes = 0
        self.failures = []
        self.failed_at = 0
        self.typical = {}  # kind -> seconds
        self.over = False  # no new processes
        self.logfile = open(self.path("log"), "w", buffering=1)
        self.env = self.environment()

    def environment(self):
        report = self.path("sanitizer")
        supp = os.path.join(TOP, "tests/lib/lsan.supp")
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "CHUNKSTORE_STORE": self.store}
        env["PATH"] = f"{self.build}:{self.build}/tests/gen:{env['PATH']}:/usr/sbin:/sbin"
        for name, more in (("ASAN", "exitcode=99"), ("UBSAN", "print_stacktrace=1"),
                           ("TSAN", "exitcode=99")):
            name += "_OPTIONS"
            env[name] = f"log_path={report}:{more}:{env.get(name, '')}"
        env["LSAN_OPTIONS"] = (f"suppressions={supp}:print_suppressions=0:"
                               f"{env.get('LSAN_OPTIONS', '')}")
        return env

    # ------------------------------------------------------------ small things

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def rng(self, who):
        return random.Random(f"{self.seed}/{who}")

    def elapsed(self):
        return time.monotonic() - self.began

    def say(self, text):
        print(f"# {text}", flush=True)
        self.log(text)

    def log(self, text):
        self.logfile.write(f"{self.elapsed():9.3f} {text}\n")

    def remark(self, what):
        """Something worth counting that is no operation of its own."""
        with self.lock:
            self.remarks[what] += 1

    def compared(self, n):
        with self.lock:
            self.bytes += n

    # ------------------------------------------------------------ failing

    def fail(self, text):
        with self.lock:
            if self.over:
                return  # of what was interrupted nothing else is to be expected
            self.failures.append(text)
            first = len(self.failures) == 1
            self.failed_at = time.monotonic()
            changing = [j for j in self.jobs.values() if not j.mounted]
        self.say(f"FAILED after {self.elapsed():.1f} s: {text}")
        self.stop.set()
        if first:
            for job in changing:
                self.kill(job)

    def failed(self):
        with self.lock:
            return bool(self.failures)

    def actor(self, name, step):
        """A thread that takes step after step until the run ends or something fails."""
        def body():
            try:
                while not self.stop.is_set():
                    step()
            except Failed as e:
                if not self.failed():
                    self.fail(str(e))
                else:
                    self.log(f"failed later: {e}")
            except Exception:  # pylint: disable=broad-except
                self.fail(traceback.format_exc())
        t = threading.Thread(target=body, name=name, daemon=True)
        self.threads.append(t)
        t.start()

    def join(self):
        """Wait for all actors; after a failure not for ever."""
        for t in self.threads:
            while t.is_alive():
                t.join(1)
                if self.failed() and time.monotonic() > self.failed_at + self.limit() / 2:
                    return

    # ------------------------------------------------------------ processes

    def start(self, kind, argv, mounted=False, stdin=subprocess.DEVNULL):
        with self.lock:
            if self.over:
                raise Failed("interrupted")
            p = subprocess.Popen(argv, env=self.env, stdin=stdin, text=True, errors="replace",
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 start_new_session=True)
            job = Job(kind, argv, p, time.monotonic(), mounted)
            self.jobs[p.pid] = job
        self.log(f"begin {kind} [{p.pid}] {' '.join(argv)}")
        return job

    def kill(self, job, sig=signal.SIGKILL):
        if job.process.poll() is None:
            try:
                os.killpg(job.process.pid, sig)
            except ProcessLookupError:
                pass

    def finish(self, job, kill_after=None):
        """Wait until it ends; or kill it, if it has not ended by then. Late is a failure."""
        try:
            text = job.process.communicate(timeout=kill_after or self.limit())
        except subprocess.TimeoutExpired:
            if kill_after is None:
                self.deadlock(job)
            self.log(f"kill -9 {job.kind} [{job.process.pid}]")
            self.kill(job)
            text = job.process.communicate()
        status = job.process.returncode
        killed = kill_after is not None and status == -signal.SIGKILL
        seconds = time.monotonic() - job.began
        with self.lock:
            del self.jobs[job.process.pid]
            self.counts[job.kind + (" killed" if killed else "")] += 1
            if not killed:
                old = self.typical.get(job.kind, seconds)
                self.typical[job.kind] = old * 0.9 + seconds * 0.1
        r = Result(status, *text, killed, seconds)
        self.log(f"end   {job.kind} [{job.process.pid}] {seconds:.3f} s, {r.told()[:400]!r}")
        return r

    def limit(self):
        return DEADLINE * self.slower

    def deadlock(self, job):
        """It has not done in time what it had to do."""
        self.stop.set()
        with self.dumping:
            if not os.path.exists(self.path("stuck")):
                stuck.dump(self, job)
        self.kill(job)
        raise Failed(f"deadlock: {' '.join(job.argv)} has not got on for {self.limit()} s; "
                     f"see {self.path('stuck')}")

    def run(self, kind, argv, rng=None, kill=0.0, **kw):
        """Run to the end. rng, kill: with this probability it is killed somewhere on its way."""
        return self.finish(self.start(kind, argv, **kw), self.kill_time(kind, rng, kill))

    def kill_time(self, kind, rng, probability):
        if not rng or rng.random() >= probability:
            return None
        with self.lock:
            return 0.001 + rng.random() * self.typical.get(kind, 0.5) * 1.2

    def must(self, kind, argv, **kw):
        """Run what has to succeed."""
        r = self.run(kind, argv, **kw)
        if r.status != 0 and not r.killed:
            raise Failed(f"{' '.join(argv)}: {r.told()}")
        return r

    # ------------------------------------------------------------ the end

    def leftovers(self):
        """Processes of this run, and mounts below its directory, that are still there."""
        found = [f"mount {m}" for m in stuck.mounts_below(self.dir)]
        found += [f"process {pid}: {text}" for pid, text in stuck.processes_of(self.dir)]
        return found

    def reports(self):
        return [self.path(n) for n in os.listdir(self.dir) if re.match(r"sanitizer\.", n)]

    def end(self):
        """Kill and unmount what is left; remove the directory, unless it is evidence."""
        self.stop.set()
        with self.lock:
            self.over = True
            jobs = list(self.jobs.values())
        for job in jobs:
            self.kill(job)
        for m in reversed(stuck.mounts_below(self.dir)):
            unmount(m, lazily=True)
        for t in self.threads:
            t.join(10)
        self.logfile.close()
        if self.failed() or self.keep:
            return
        subprocess.run(["chmod", "-R", "-f", "u+rwX", self.dir], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def unmount(path, lazily=False):
    if os.geteuid() == 0:
        argv = ["umount", *(["-l"] if lazily else []), path]
    else:
        argv = ["fusermount3", "-uz" if lazily else "-u", path]
    return subprocess.run(argv, capture_output=True, text=True, check=False)
