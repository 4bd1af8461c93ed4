# SPDX-License-Identifier: MIT
"""Mounts, and those who read through them."""
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

import stuck
from points import LIVE, PURGED
from world import Failed, unmount

READER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "reader.py")
OPTIONS = (["-o", "cache=1M"], [], ["-o", "nopush"], ["-o", "cache=4M,nopush"])
SERVES = 8  # seconds, about


class Mount:
    """A chunkfs, unmounted or killed now and then, and made anew."""

    def __init__(self, world, name):
        self.world = world
        self.path = world.path("mnt", name)
        self.rng = world.rng(name)
        self.job = None
        self.changed = threading.Condition()
        # guarded by changed
        self.users = 0
        self.sitters = 0  # users whom it must not be killed under
        self.serving = False
        self.deaths = 0
        os.makedirs(self.path)

    def is_mounted(self):
        return self.path in stuck.mounts_below(self.world.dir)

    def step(self):
        self.begin()
        until = time.monotonic() + SERVES * (0.3 + self.rng.random())
        while time.monotonic() < until and self.job.process.poll() is None:
            if self.world.stop.wait(0.1):
                break
        if self.job.process.poll() is not None:
            raise Failed(f"chunkfs on {self.path} ended: {self.world.finish(self.job).told()}")
        if not self.world.stop.is_set() and self.rng.random() < 0.4:
            self.die()
        else:
            self.leave()

    def begin(self):
        argv = ["chunkfs", "-f", *self.rng.choice(OPTIONS), self.world.store, self.path]
        self.job = self.world.start("mount", argv, mounted=True)
        end = time.monotonic() + self.world.limit()
        while not self.is_mounted():
            if self.job.process.poll() is not None or time.monotonic() > end:
                self.world.kill(self.job)
                raise Failed(f"{' '.join(argv)}: {self.world.finish(self.job).told()}")
            time.sleep(0.01)
        with self.changed:
            self.serving = True

    def die(self):
        with self.changed:
            if self.sitters:
                return self.leave()
            self.deaths += 1
            self.serving = False
            self.world.kill(self.job)
        self.job.process.wait()
        self.world.finish(self.job)
        self.world.remark("mount killed")
        unmount(self.path, lazily=True)
        with self.changed:
            self.changed.wait_for(lambda: not self.users, self.world.limit())
        return None

    def leave(self):
        """Unmount when nobody is in it any more: then it is not busy, but for a moment at its
        begin, when chunkfs itself asks what it is."""
        with self.changed:
            self.serving = False
            if not self.changed.wait_for(lambda: not self.users, 3 * self.world.limit()):
                raise Failed(f"{self.path}: somebody is still in it")
        until = time.monotonic() + 2
        while (r := unmount(self.path)).returncode != 0 and time.monotonic() < until:
            time.sleep(0.01)
        if r.returncode != 0:
            raise Failed(f"umount {self.path}: {r.stderr.strip()}")
        r = self.world.finish(self.job)
        if r.status != 0 and "unmounted before the mount was ready" not in r.told():
            raise Failed(f"chunkfs on {self.path}, unmounted: {r.told()}")

    @contextlib.contextmanager
    def entered(self, sits=False):
        """Be a user; yields whether it serves."""
        with self.changed:
            ok = self.serving
            self.users += ok
            self.sitters += ok and sits
        try:
            yield ok
        finally:
            with self.changed:
                self.users -= ok
                self.sitters -= ok and sits
                self.changed.notify_all()


class Readers:
    """What reads through mounts, and what is thought of what it read."""

    def __init__(self, world, registry, mounts):
        self.world = world
        self.registry = registry
        self.mounts = mounts

    def argv(self, how, mount, point, rng, *more):
        path = os.path.join(mount.path, point.series, point.name)
        return [sys.executable, "-I", "-S", READER, how, path, point.truth.path,
                str(rng.randrange(1 << 32)), *more]

    def read(self, rng, serial):
        """Any point in any mount in any way."""
        mount = rng.choice(self.mounts)
        how = rng.choice(["files", "files", "mmap", "mmap", "list", "copy", "tree"])
        scratch = self.world.path("tmp", f"copy.{serial}")
        with mount.entered() as serves, self.registry.using(rng, 0.05) as use:
            if not serves or not use:
                self.world.stop.wait(0.05)
                return
            deaths = mount.deaths
            r = self.world.run(f"read {how}", self.argv(how, mount, use.point, rng, scratch),
                               rng, 0.02, mounted=True)
            if not r.killed:
                self.judge(r, use, mount, deaths)
        shutil.rmtree(scratch, ignore_errors=True)

    def judge(self, r, use, mount, deaths):
        died = mount.deaths != deaths
        if r.status != 0 or not r.out.startswith("{"):
            if died and r.status == -signal.SIGBUS:
                self.world.remark("reader of a killed mount")
                return None
            raise Failed(f"reader of {use.point}: {r.told()}")
        got = json.loads(r.out.splitlines()[-1])
        self.world.compared(got["bytes"])
        if use.point.renamed:
            self.world.remark("another point had got the name")
            return None
        if "wrong" in got:
            raise Failed(f"{mount.path}: {use.point} against {use.truth.path}: {got}")
        if "error" not in got:
            return got
        if died:
            self.world.remark("reader of a killed mount")
        elif use.was_there():
            raise Failed(f"{mount.path}: {use.point} is there, but: {got}")
        elif got["entered"] or got["error"] != "ENOENT":
            raise Failed(f"{mount.path}: {use.point} was forgotten, but: {got}")
        else:
            self.world.remark("answered: forgotten")
        return None

    def seen_gone(self, rng, point):
        """The name of a point that was forgotten is gone from a mount."""
        mount = rng.choice(self.mounts)
        use = self.registry.use(point)
        with mount.entered() as serves:
            if not serves or use.state == LIVE:
                return
            deaths = mount.deaths
            r = self.world.run("look for forgotten", self.argv("gone", mount, point, rng),
                               mounted=True)
            if use.undisturbed():  # not brought back
                got = self.judge(r, use, mount, deaths)
                if got and got["tries"] > 1:
                    self.world.remark("forgotten, but seen for another moment")


class Reader:
    """One of those who read."""

    def __init__(self, readers, name):
        self.readers = readers
        self.rng = readers.world.rng(name)
        self.name = name
        self.serial = 0

    def step(self):
        self.serial += 1
        self.readers.read(self.rng, f"{self.name}.{self.serial}".replace(" ", "-"))


class Holder:
    """Is in a point while that is purged and collected, then reads all of it."""

    def __init__(self, readers, name, series, collector):
        self.readers = readers
        self.world = readers.world
        self.registry = readers.registry
        self.rng = self.world.rng(name)
        self.series = series  # a keepers.Series of its own, which nobody else forgets in
        self.collector = collector

    def step(self):
        self.series.step()
        live = self.registry.of_state(LIVE, self.series.name)
        for p in live:
            mount = self.rng.choice(self.readers.mounts)
            with mount.entered(sits=True) as serves:
                if serves:
                    self.hold(mount, p)
        self.world.stop.wait(0.2)

    def hold(self, mount, p):
        """The truth is kept by the series' own use of it until the next step."""
        job = self.world.start("hold", self.readers.argv("hold", mount, p, self.rng),
                               mounted=True, stdin=subprocess.PIPE)
        with self.registry.keeping(p.truth):
            if not select.select([job.process.stdout], [], [], self.world.limit())[0]:
                self.world.deadlock(job)
            said = job.process.stdout.readline()
            if said != "in\n":
                raise Failed(f"{p} could not be entered: {said!r} {self.world.finish(job).told()}")
            self.forget(p)
            if self.collector.to_the_end():
                self.world.remark("held through a gc")
            r = self.world.finish(job)  # the end of its stdin tells it to go on
            got = self.readers.judge(r, self.registry.use(p), mount, mount.deaths)
            self.world.log(f"held {p}: {got}")

    def forget(self, p):
        self.registry.claim([p])
        self.world.must("forget --purge",
                        ["chunkstore", "forget", "--purge", f"{p.series}/{p.name}"])
        self.registry.settle(p, PURGED)
