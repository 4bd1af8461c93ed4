# SPDX-License-Identifier: MIT
"""One workload: what is measured, in which order and how often.

Tools take turns within a round, and every other round goes backwards. What failed for a tool
once is not tried again, what is slow is not done as often, and a peer that has used up its time
is left out of the rest, so that none can stop the run.
"""
import contextlib
import os
import sys
import time

import measure
import readers
import report
from measure import CannotMount, Failed

OURS = "chunkstore"
SOURCE = "source"  # the tree itself where it is read as the mounts are
WARM = "source, warm"
FLOOR = "FUSE floor"  # tests/gen/fusefloor
ZSTD = "zstd floor"  # tar into zstd -3 -T2 into nowhere
SLOW = ((30, 2), (90, 1))  # what takes longer than so many seconds is done at most so often

TITLES = {
    "first": "first backup",
    "next": "next backup, some changed",
    "unchanged": "backup when nothing has changed",
    "mount": "mount to first answer (ls of the newest point)",
    **readers.TITLES,
    "restore": "restore, without a mount",
    "verify": "verify all data",
    "gc": "forget all points but one and give the space back",
}
NAMES = [*list(TITLES)[:3], "stored", *list(TITLES)[3:]]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Plan:
    def __init__(self, bench, opts, workload, compared):
        self.bench = bench
        self.opts = opts
        self.workload = workload
        self.tree = workload.tree
        self.compared = compared
        self.tools = list(compared)  # those that have a store
        self.results = report.Results()
        self.skipped = []
        self.stored = {}  # tool -> {"first": …, "all": …, "gc": …}
        self.identical = {}
        self.out = set()  # (tool, what) that failed once and is not tried again
        self.spent = {}  # tool -> seconds, also of what is not measured
        self.mount_commands = {}
        self.readers = None  # once the tree is as the newest point has it

    # -------------------------------------------------------- what, whose turn, how often

    def wanted(self, name):
        return name in self.opts.only

    def turn(self, who, round_number):
        """The tools in the order of this round."""
        return who if round_number % 2 == 0 else who[::-1]

    def enough(self, name, tool):
        walls = self.results.walls(name, tool)
        return any(len(walls) >= often and min(walls) > slow for slow, often in SLOW)

    def exhausted(self, tool):
        """Whether a peer's time is over; said once."""
        if tool.name == OURS or self.spent.get(tool.name, 0) <= self.opts.budget:
            return False
        if (tool.name, "time") not in self.out:
            self.skip(tool, "time", f"its {self.opts.budget} s are over: the rest is left out")
        return True

    @contextlib.contextmanager
    def time_of(self, tool):
        begin = time.monotonic()
        try:
            yield
        finally:
            self.spent[tool.name] = self.spent.get(tool.name, 0) + time.monotonic() - begin

    def attempt(self, name, tool, action):
        """Measure once, unless there is a reason not to."""
        if (tool.name, name) in self.out or self.enough(name, tool.name) or self.exhausted(tool):
            return
        try:
            with self.time_of(tool):
                action()
        except CannotMount as e:
            self.skip(tool, "mount", e)
        except Failed as e:
            self.skip(tool, name, e)

    # -------------------------------------------------------- the page cache

    def cache(self, usual):
        if not measure.can_drop():
            return "warm"
        return usual if self.opts.cache == "usual" else self.opts.cache

    def prepare_cache(self, cache, *paths):
        if cache == "cold":
            measure.make_cold(self.workload.memory())
        else:
            measure.make_warm(*(p for p in paths if os.path.exists(p)))

    # -------------------------------------------------------- what came of it

    def skip(self, tool, what, why):
        self.out.add((tool.name, what))
        line = f"{tool.name} {what}: {self.shorten(str(why), tool)}"
        self.skipped.append(line)
        say(line)

    def shorten(self, text, tool=None):
        """Paths of this machine by what they are."""
        names = [(self.tree, "TREE")]
        if self.bench.dest:
            names.append((self.bench.dest, "DEST"))
        if tool:
            names += [(tool.store(), "STORE"), (tool.mount_point(), "MNT"), (tool.dir, "DIR")]
            names += [(p, os.path.basename(p)) for p in tool.programs + tool.mounter if "/" in p]
        names.append((self.bench.dir + "/", ""))
        for path, name in names:
            text = text.replace(path, name)
        return text

    def take(self, name, tool, sample, commands, cache, label=None):
        label = label or tool.name
        text = "; ".join(self.shorten(c.text(), tool) for c in commands)
        self.results.add(name, label, sample, text, cache)
        say(f"{self.workload.name} {name} {len(self.results.walls(name, label))}: {label} "
            f"{report.seconds(sample.wall)} s")

    def weigh(self, tool, when):
        """What a tool has on disk now, once."""
        sizes = self.stored.setdefault(tool.name, {})
        if not self.wanted("stored") or when in sizes:
            return
        disk, apparent = measure.disk_usage(tool.store())
        sizes[when] = {"disk": disk, "apparent": apparent, "reported": None}
        try:
            sizes[when].update(tool.reported())
        except (Failed, ValueError, LookupError) as e:
            self.skip(tool, "own size", e)

    def discard(self):
        for tool in self.tools:
            tool.discard()
        self.workload.discard()
        self.bench.clear()
