# SPDX-License-Identifier: MIT
"""What the run knows about each point: what is in it, and whether it may be forgotten.

A point is claimed from before a command that may move it until it is known
where it has gone. Whoever reads it compares its count of changes before and
after: when that has not moved and nobody claimed it, the point was there all
the time, and everything about it had to work.
"""
import contextlib
import os
import shutil
import subprocess
import threading

from world import Failed

LIVE, TRASHED, PURGED = "live", "in the trash", "purged"


class Truth:
    """A frozen copy of a source, kept while a point or a reader needs it."""

    def __init__(self, path, tag):
        self.path = path
        self.tag = tag
        self.users = 0  # guarded by the registry's lock
        self.bytes = 0
        for root, _, names in os.walk(path):
            for n in names:
                st = os.lstat(os.path.join(root, n))
                self.bytes += st.st_size if os.path.isfile(os.path.join(root, n)) else 0


class Point:
    def __init__(self, row, truth):
        self.id = row["id"]
        self.seq = row["number"]
        self.series = row["series"]
        self.name = row["name"]
        self.truth = truth
        self.state = LIVE
        self.changes = 0
        self.claimed = False
        self.empties = 0  # the registry's count when it was claimed
        self.maybe_gone = False  # a gc that empties the trash may have purged it
        self.renamed = False  # it was purged, and another point of that second has its name

    def selector(self, rng):
        return rng.choice([f"{self.series}/{self.name}", self.id])

    def __str__(self):
        return f"{self.series}/{self.name} ({self.truth.tag}, {self.state})"


class Use:
    """A reader's view of a point."""

    def __init__(self, registry, point):
        self.registry = registry
        self.point = point
        self.truth = point.truth
        self.state = point.state
        self.calm = not point.claimed
        self.changes = point.changes

    def undisturbed(self):
        """Has it been where it was found, all the time until now?"""
        with self.registry.lock:
            return (self.calm and self.point.changes == self.changes and
                    not self.point.renamed)

    def was_there(self):
        return self.state == LIVE and self.undisturbed()


class Registry:
    def __init__(self):
        self.lock = threading.Lock()
        # guarded by lock
        self.points = {}  # id -> Point
        self.early = {}  # id -> where a policy has put a point that is not known yet
        self.empties = 0  # odd: a gc that empties the trash is running
        self.forgetting = {}  # series -> Lock
        self.newcomers = {}  # series a policy is looking at -> points that came meanwhile

    # ------------------------------------------------------------ coming

    def freeze(self, world, source, path, tag):
        """Copy a source. The copy goes with its last user."""
        r = subprocess.run(["cp", "-a", source, path], env=world.env, capture_output=True,
                           text=True, check=False, start_new_session=True)
        if r.returncode != 0:
            raise Failed(f"cp -a {source} {path}: {r.stderr}")
        return Truth(path, tag)

    def let_go(self, truth):
        with self.lock:
            truth.users -= 1
            last = truth.users == 0
        if last:
            shutil.rmtree(truth.path, ignore_errors=True)

    def add(self, row, truth):
        """A point that was stored, from what `backup --json` or `list --json` says of it."""
        with self.lock:
            p = Point(row, truth)
            for old in self.points.values():
                old.renamed |= (old.series, old.name) == (p.series, p.name)
            p.state = self.early.pop(p.id, LIVE)
            self.points[p.id] = p
            if p.series in self.newcomers:
                self.take(p)
                self.newcomers[p.series].append(p)
            if p.state != PURGED:
                truth.users += 1
        return p

    # ------------------------------------------------------------ reading

    @contextlib.contextmanager
    def using(self, rng, gone=0.0):
        """A point to read: one that is there, or with this probability any. None: there is none."""
        with self.lock:
            every = [p for p in self.points.values() if p.truth.users > 0 and not p.renamed]
            there = [p for p in every if p.state == LIVE]
            some = every if rng.random() < gone else there
            use = Use(self, rng.choice(some)) if some else None
            if use:
                use.truth.users += 1
        try:
            yield use
        finally:
            if use:
                self.let_go(use.truth)

    def keep(self, truth):
        with self.lock:
            truth.users += 1

    @contextlib.contextmanager
    def keeping(self, truth):
        self.keep(truth)
        try:
            yield
        finally:
            self.let_go(truth)

    def use(self, point):
        with self.lock:
            return Use(self, point)

    def snapshot(self):
        """Uses of all points, to compare a listing with. Nothing is kept for them."""
        with self.lock:
            return [Use(self, p) for p in self.points.values()]

    def of_state(self, state, series=None):
        with self.lock:
            return [p for p in self.points.values()
                    if p.state == state and series in (None, p.series)]

    # ------------------------------------------------------------ going

    def forget_lock(self, series):
        """A policy looks at all points of a series: one command at a time forgets there."""
        with self.lock:
            return self.forgetting.setdefault(series, threading.Lock())

    def take(self, p):
        p.claimed = True
        p.changes += 1
        p.empties = self.empties

    def claim(self, points):
        with self.lock:
            for p in points:
                self.take(p)

    def policy_begins(self, series):
        """Claims all points of the series, and those that come until the policy ends."""
        with self.lock:
            self.newcomers[series] = []
            live = [p for p in self.points.values() if p.series == series and p.state == LIVE]
            for p in live:
                self.take(p)
        return live

    def policy_ends(self, series, done, state):
        """Newcomers; ids among those done that are not known yet will be when they come."""
        with self.lock:
            for id_ in done:
                if id_ not in self.points:
                    self.early[id_] = state
            return self.newcomers.pop(series)

    def settle(self, p, state):
        with self.lock:
            old, p.state = p.state, state
            p.changes += 1
            p.claimed = False
            if state == LIVE:
                p.maybe_gone = False
            elif self.empties % 2 or self.empties != p.empties:
                p.maybe_gone = True
        if state == PURGED and old != PURGED:
            self.let_go(p.truth)

    @contextlib.contextmanager
    def emptying(self):
        """While a gc empties the trash."""
        for begins in (True, False):
            with self.lock:
                self.empties += 1
                for p in self.points.values():
                    p.maybe_gone |= p.state == TRASHED
            if begins:
                yield
