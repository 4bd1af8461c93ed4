# SPDX-License-Identifier: MIT
"""When all is quiet again: is everything there, and does everything go?"""
import json
import os
import subprocess
import time

from keepers import compare_trees, rows
from mounts import Mount
from points import LIVE, PURGED, TRASHED
from world import Failed


def stats(world):
    return json.loads(world.must("stats", ["chunkstore", "stats", "--json"]).out)


def disk(world, when):
    s = stats(world)
    mib = 1 << 20
    world.say(f"on disk {when}: {s['disk_bytes'] / mib:.1f} MiB in a file of "
              f"{s['file_bytes'] / mib:.1f}; stored {s['stored_bytes'] / mib:.1f} MiB in "
              f"{s['bundles']} bundles, {s['points']} points, {s['moved_rows']} moved rows")
    return s


class Finale:
    def __init__(self, world, registry, readers, series):
        self.world = world
        self.registry = registry
        self.readers = readers
        self.series = series
        self.rng = world.rng("finale")

    def run(self):
        self.world.say("the end: gc, verify, every point whole, then nothing")
        disk(self.world, "before the last gc")
        self.gc()
        disk(self.world, "after it")
        self.verify()
        for series in self.series:
            series.look_for_killed()
        self.bring_back()
        self.listed()
        mount = Mount(self.world, "last")
        mount.begin()
        try:
            self.every_point(mount)
            self.held_space(mount)
        finally:
            mount.leave()
        self.nothing_is_left()

    # ------------------------------------------------------------ commands

    def gc(self):
        r = self.world.must("gc", ["chunkstore", "gc", "--json"])
        got = json.loads(r.out)
        if got["bundles_used"]:
            raise Failed(f"nobody uses the store, but gc says: {r.out}")
        return got

    def verify(self):
        r = self.world.must("verify", ["chunkstore", "verify", "--json"])
        if json.loads(r.out)["findings"]:
            raise Failed(f"verify: {r.out}")

    def purge(self, points):
        if points:
            self.world.must("forget --purge",
                            ["chunkstore", "forget", "--purge", *[p.id for p in points]])
        for p in points:
            self.registry.claim([p])
            self.registry.settle(p, PURGED)

    # ------------------------------------------------------------ checks

    def bring_back(self):
        """What is in the trash comes back as it was; unless it was emptied at the wrong moment."""
        trashed = self.registry.of_state(TRASHED)
        if not trashed:
            return
        r = self.world.must("list --trash", ["chunkstore", "list", "--trash", "--json"])
        there = {x["id"] for x in rows(r)}
        for p in trashed:
            self.registry.claim([p])
            if p.id in there:
                self.world.must("undelete", ["chunkstore", "undelete", p.id])
                self.registry.settle(p, LIVE)
            elif p.maybe_gone:
                self.registry.settle(p, PURGED)
            else:
                raise Failed(f"{p} is not in the trash")

    def listed(self):
        r = self.world.must("list", ["chunkstore", "list", "--json"])
        listed = {x["id"] for x in rows(r)}
        wanted = {p.id for p in self.registry.of_state(LIVE)}
        if listed != wanted:
            raise Failed(f"the list lacks {wanted - listed} and has {listed - wanted}")

    def every_point(self, mount):
        for p in self.registry.of_state(LIVE):
            r = self.world.run("read tree", self.readers.argv("tree", mount, p, self.rng),
                               mounted=True)
            self.readers.judge(r, self.registry.use(p), mount, mount.deaths)
            if self.rng.random() < 0.3:
                out = self.world.path("tmp", f"last.{p.id}")
                self.world.must("restore", ["chunkstore", "restore", "-q", p.id, out])
                compare_trees(self.world, p.truth, out, p)

    def held_space(self, mount):
        """gc leaves a point that is held through the mount, and frees it when it is not."""
        world = self.world
        os.mkdir(world.path("unique"))
        with open(world.path("unique", "file"), "wb") as f:
            f.write(self.rng.randbytes(3 << 20))
        truth = self.registry.freeze(world, world.path("unique"), world.path("truth", "unique"),
                                     "unique")
        r = world.must("backup", ["chunkstore", "backup", "--json", "--series", "unique", "--root",
                                  world.path("unique")])
        with self.registry.keeping(truth):
            self.hold_and_free(mount, self.registry.add(rows(r), truth), 3 << 20)

    def hold_and_free(self, mount, p, size):
        world = self.world
        job = world.start("hold", self.readers.argv("hold", mount, p, self.rng), mounted=True,
                          stdin=subprocess.PIPE)
        if job.process.stdout.readline() != "in\n":
            raise Failed(f"{p} could not be entered: {world.finish(job).told()}")
        before = stats(world)["stored_bytes"]
        self.purge([p])
        self.gc()
        if stats(world)["stored_bytes"] < before:
            raise Failed(f"gc freed of {p}, which is held")
        self.readers.judge(world.finish(job), self.registry.use(p), mount, mount.deaths)
        end = time.monotonic() + 20 * world.slower
        while True:  # the kernel tells the mount of its last reference a moment later
            self.gc()
            after = stats(world)["stored_bytes"]
            if after <= before - size:
                return
            if time.monotonic() > end:
                raise Failed(f"{p} was held and is not any more: {before} bytes were stored, "
                             f"and after a gc {after}")

    def nothing_is_left(self):
        self.purge(self.registry.of_state(LIVE))
        self.world.must("gc --empty-trash", ["chunkstore", "gc", "--empty-trash"])
        self.gc()
        s = disk(self.world, "when all is forgotten")
        if s["points"] or s["bundles"] or s["moved_rows"] or s["index_rows"]:
            raise Failed(f"all is forgotten and collected, but: {s}")
        if s["users"]:
            raise Failed(f"nobody uses the store, but: {s['users']}")
        self.verify()
        left = sorted(os.listdir(self.world.store))
        if left != ["data.mdb", "leases", "lock.mdb"]:
            raise Failed(f"in the store's directory: {left}")
        found = self.world.leftovers()
        if found:
            raise Failed(f"left behind: {found}")
