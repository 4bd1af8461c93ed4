# SPDX-License-Identifier: MIT
"""Those who change the store, and those who look into it without a mount."""
import json
import os
import re
import shutil
import threading
import time

from points import LIVE, PURGED, TRASHED
from world import Failed

KEEP = 4  # points of a series, about
NOT_THERE = re.compile(r"no point|(not|is) in the (list|trash)|being removed|no series|forgotten by", re.I)


def rows(result):
    return json.loads(result.out or "[]")


class Series:
    """Backups of one source, one after the other and now and then two at once."""

    def __init__(self, world, registry, name, source):
        self.world = world
        self.registry = registry
        self.name = name
        self.source = source
        self.rng = world.rng(f"series {name}")
        self.version = 0
        self.killed = []  # backups: tag and truth

    def step(self):
        if len(self.registry.of_state(LIVE, self.name)) > 2 * KEEP:
            self.world.stop.wait(0.05)
            return
        self.source.mutate()
        self.version += 1
        tag = f"{self.name}.v{self.version}"
        truth = self.registry.freeze(self.world, self.source.path,
                                     self.world.path("truth", tag), tag)
        with self.registry.keeping(truth):
            if self.store(truth):
                self.look_for_killed()

    def store(self, truth):
        """True: a backup was completed."""
        rng, jobs, done = self.rng, [], False
        for i in range(2 if rng.random() < 0.15 else 1):
            tag = f"{truth.tag}.{i}"
            argv = ["chunkstore", "backup", "--json", "--series", self.name, "--tag", tag,
                    "--root", self.source.path]
            argv += ["--force"] if rng.random() < 0.2 else []
            jobs.append((tag, self.world.start("backup", argv)))
        for tag, job in jobs:
            r = self.world.finish(job, self.world.kill_time("backup", rng, 0.15))
            done |= r.status == 0
            self.stored(tag, truth, r)
        return done

    def stored(self, tag, truth, r):
        if r.status == 0:
            p = self.registry.add(rows(r), truth)
            self.world.log(f"stored {p}")
        elif r.killed:
            self.registry.keep(truth)
            self.killed.append((tag, truth))
        elif not self.world.failed():
            raise Failed(f"backup of {tag}: {r.told()}")

    def look_for_killed(self):
        """
        A backup that was killed may have stored its point in its last moment.
        If it died between LMDB's meta page and its lock file, readers see the
        point after the next write transaction: so we look after a later backup.
        """
        listed = rows(self.world.must("list", ["chunkstore", "list", "--json"]))
        for tag, truth in self.killed:
            for row in listed:
                if tag in row["tags"]:
                    self.registry.add(row, truth)
                    self.world.remark("backup killed when its point was stored")
            self.registry.let_go(truth)
        self.killed = []


class Forgetter:
    def __init__(self, world, registry, name, series, seen_gone):
        self.world = world
        self.registry = registry
        self.series = series
        self.seen_gone = seen_gone  # called with a point that was forgotten
        self.rng = world.rng(name)
        self.collector = Collector(world, registry, f"{name}'s gc")

    def step(self):
        series = self.rng.choice(self.series)
        lock = self.registry.forget_lock(series)
        if not lock.acquire(timeout=0.1):
            return
        try:
            self.forget_in(series)
        finally:
            lock.release()
        self.world.stop.wait(self.rng.random() * 0.1)

    def forget_in(self, series):
        rng = self.rng
        live = self.registry.of_state(LIVE, series)
        trashed = self.registry.of_state(TRASHED, series)
        kind = rng.random()
        if trashed and kind < 0.25:
            if rng.random() < 0.7:
                self.undelete(rng.choice(trashed))
            else:
                self.forget([rng.choice(trashed)], True)
        elif kind < 0.4:
            self.policy(series)
        elif len(live) > KEEP or (live and kind > 0.97):
            n = rng.randint(1, max(1, len(live) - KEEP + 1))
            self.forget(rng.sample(live, n), rng.random() < 0.5)

    # ------------------------------------------------------------ by name

    def forget(self, points, purge):
        self.registry.claim(points)
        argv = ["chunkstore", "forget", *(["--purge"] if purge else [])]
        argv += [p.selector(self.rng) for p in points]
        kind = "forget --purge" if purge else "forget"
        r = self.world.run(kind, argv, self.rng, 0.05)
        if r.status == 0:
            for p in points:
                self.registry.settle(p, PURGED if purge else TRASHED)
                self.seen_gone(p)
        elif r.killed:
            self.find_out(points)
        elif any(p.maybe_gone for p in points) and NOT_THERE.search(r.err):
            self.find_out(points)
        elif not self.world.failed():
            raise Failed(f"forget of {', '.join(map(str, points))}: {r.told()}")

    def undelete(self, p):
        self.registry.claim([p])
        r = self.world.run("undelete", ["chunkstore", "undelete", p.selector(self.rng)],
                           self.rng, 0.05)
        if r.status == 0:
            self.registry.settle(p, LIVE)
        elif r.killed or (p.maybe_gone and NOT_THERE.search(r.err)):
            self.find_out([p])
        elif not self.world.failed():
            raise Failed(f"undelete of {p}: {r.told()}")

    def find_out(self, points):
        """
        Where points are whose command was killed. They are claimed: nobody
        moves them. The command may have died between LMDB's meta page and its
        lock file: readers see what it did after the next write transaction.
        """
        self.collector.to_the_end()
        listed = {x["id"] for x in rows(self.world.must("list", ["chunkstore", "list", "--json"]))}
        trash = {x["id"] for x in rows(self.world.must(
            "list --trash", ["chunkstore", "list", "--trash", "--json"]))}
        for p in points:
            self.registry.settle(p, LIVE if p.id in listed else
                                 TRASHED if p.id in trash else PURGED)
            self.world.log(f"found out: {p}")

    # ------------------------------------------------------------ by policy

    def policy(self, series):
        rng, purge = self.rng, self.rng.random() < 0.3
        rule = rng.choice([["--keep-last", "2"], ["--keep-last", "3"], ["--keep-hourly", "1"],
                           ["--keep-within", "1d"], ["--keep-last", "2", "--keep-daily", "3"]])
        argv = ["chunkstore", "forget", "--json", "--series", series, *rule,
                *(["--purge"] if purge else [])]
        live = self.registry.policy_begins(series)
        done = set()
        state = PURGED if purge else TRASHED
        r = self.world.run("forget by policy", argv)
        if r.status == 0:
            done = {x["id"] for x in rows(r) if x["done"]}
        new = self.registry.policy_ends(series, done, state)
        if r.status != 0 and (live or not NOT_THERE.search(r.err)) and not self.world.failed():
            raise Failed(f"{' '.join(argv)}: {r.told()}")
        for p in live + new:
            self.registry.settle(p, state if p.id in done else LIVE)


class Collector:
    """gc and compact, also two at once. The second has to say so and leave."""

    lock = threading.Lock()
    running = []  # jobs of all collectors
    refused = []  # (job, what it said)

    def __init__(self, world, registry, name):
        self.world = world
        self.registry = registry
        self.rng = world.rng(name)

    def start(self, argv):
        with self.lock:
            job = self.world.start(" ".join(a for a in argv[1:] if a != "--json"), argv)
            job.met = list(self.running)
            for other in self.running:
                other.met.append(job)
            self.running.append(job)
        return job

    def finish(self, job, kill_after=None):
        """True: it ran to its end."""
        try:
            r = self.world.finish(job, kill_after)
        finally:
            with self.lock:
                self.running.remove(job)
        if r.status == 0 or r.killed or self.world.failed():
            return r.status == 0
        if r.status != 1 or "is running" not in r.err:
            raise Failed(f"{' '.join(job.argv)}: {r.told()}")
        if not job.met:
            raise Failed(f"a gc was refused though none ran: {r.told()}")
        self.world.remark("refused beside another gc")
        with self.lock:
            self.refused.append(job)
        return False

    def step(self):
        rng = self.rng
        argv = ["chunkstore", "gc", "--json"]
        if rng.random() < 0.2:
            with self.registry.emptying():
                self.finish(self.start([*argv, "--empty-trash"]))
        else:
            argv += ["--dry-run"] if rng.random() < 0.1 else []
            if rng.random() < 0.25:
                argv = ["chunkstore", "compact", "--json"]
            jobs = [self.start(argv) for _ in range(2 if rng.random() < 0.2 else 1)]
            for job in jobs:
                self.finish(job, self.world.kill_time(job.kind, rng, 0.2))
        self.world.stop.wait(rng.random() * 0.5)

    def to_the_end(self):
        """Be the one whose gc begins and ends now; False: something has failed meanwhile."""
        while not self.world.failed():
            if self.finish(self.start(["chunkstore", "gc", "--json"])):
                return True
            time.sleep(0.02)
        return False

    @classmethod
    def check(cls):
        """Who was refused met one that was not."""
        for job in cls.refused:
            if all(other in cls.refused for other in job.met):
                raise Failed(f"of gcs that ran at once, [{job.process.pid}] and "
                             f"{[o.process.pid for o in job.met]}, all were refused")


class Looker:
    """verify, list, stats and their like; restore and cat."""

    def __init__(self, world, registry, name, ways):
        self.world = world
        self.registry = registry
        self.rng = world.rng(name)
        self.ways = ways
        self.serial = 0

    def step(self):
        getattr(self, self.rng.choice(self.ways))()
        self.world.stop.wait(self.rng.random() * 0.2)

    def verify(self):
        r = self.world.run("verify", ["chunkstore", "verify", "--json"], self.rng, 0.05)
        if not r.killed and not self.world.failed():
            if r.status != 0 or json.loads(r.out)["findings"]:
                raise Failed(f"verify: {r.told()}")

    def stats(self):
        r = self.world.must("stats", ["chunkstore", "stats", "--json"])
        json.loads(r.out or "{}")

    def list(self):
        """All points that were there all the time, and none that was not."""
        before = self.registry.snapshot()
        r = self.world.must("list", ["chunkstore", "list", "--json"])
        if r.status != 0:
            return
        listed = {x["id"] for x in rows(r)}
        for use in before:
            if use.undisturbed() and (use.point.id in listed) != (use.state == LIVE):
                raise Failed(f"list {'lacks' if use.state == LIVE else 'has'} {use.point}")

    def one(self, kind, argv, use):
        """A command about one point: it succeeds, unless the point was forgotten meanwhile."""
        r = self.world.run(kind, argv, self.rng, 0.03)
        if use.point.renamed:
            return False
        if r.status == 0 or r.killed or self.world.failed():
            return r.status == 0
        if use.was_there():
            raise Failed(f"{' '.join(argv)}: {use.point} is there, but: {r.told()}")
        if r.status != 1 or not NOT_THERE.search(r.err):
            raise Failed(f"{' '.join(argv)}: {use.point} was forgotten, but: {r.told()}")
        self.world.remark("answered: forgotten")
        return False

    def describe(self):
        rng = self.rng
        with self.registry.using(rng, 0.1) as use, self.registry.using(rng) as other:
            if use and other:
                a, b = use.point.selector(rng), other.point.selector(rng)
                kind, argv = rng.choice([("show", ["show", "--json", a]), ("ls", ["ls", "-lR", a]),
                                         ("dump", ["dump", a]), ("diff", ["diff", b, b])])
                self.one(kind, ["chunkstore", *argv], other if kind == "diff" else use)

    def restore(self):
        self.serial += 1
        out = self.world.path("tmp", f"restored.{threading.get_ident()}.{self.serial}")
        with self.registry.using(self.rng, 0.05) as use:
            if not use:
                return
            argv = ["chunkstore", "restore", "-q", use.point.selector(self.rng), out]
            if self.one("restore", argv, use):
                compare_trees(self.world, use.truth, out, use.point)
        shutil.rmtree(out, ignore_errors=True)

    def cat(self):
        with self.registry.using(self.rng, 0.05) as use:
            if not use:
                return
            large = os.path.join(use.truth.path, "large")
            name = self.rng.choice(sorted(os.listdir(large)))
            out = self.world.path("tmp", f"cat.{threading.get_ident()}")
            argv = ["bash", "-c", 'exec chunkstore cat "$1" >"$2"', "-",
                    f"{use.point.series}/{use.point.name}:large/{name}", out]
            if self.one("cat", argv, use):
                with open(out, "rb") as a, open(os.path.join(large, name), "rb") as b:
                    got, want = a.read(), b.read()
                if got != want:
                    raise Failed(f"cat of large/{name} of {use.point}: other bytes")
                self.world.compared(len(want))


def compare_trees(world, truth, path, point):
    r = world.run("compare", ["treecmp", truth.path, path], mounted=True)
    if r.status != 0:
        raise Failed(f"{point}: {path} is not {truth.path}: {r.told()}")
    world.compared(truth.bytes)
