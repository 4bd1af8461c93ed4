# SPDX-License-Identifier: MIT
"""What is compared: how a tool stores, lists, mounts, restores, checks and forgets.

One class a tool, ours here, the others in peers.py. A step that a tool does not have returns
None. All of them work with their defaults, except that all that can are told to compress as
chunkstore does (zstd, level 3), and none to encrypt; restic cannot be told not to.
"""
import json
import os
import re
import shutil

from measure import Cmd, Failed


class Tool:
    name = ""
    programs = ()  # without these it is not compared
    mounter = ()  # without these it is not mounted
    packages = ()
    version_commands = ()
    why_absent = ""  # more about what is not there
    incremental = True  # the next backup is one of what has changed

    def __init__(self, bench, workload):
        self.bench = bench
        self.workload = workload
        self.tree = workload.tree
        self.dir = bench.path(f"{workload.name}-{self.name}")
        self.points = 0

    def absent(self):
        return [p for p in self.programs if not shutil.which(p)]

    def versions(self):
        """The first line with a digit that each program says about itself."""
        out = []
        for argv in self.version_commands:
            try:
                text = self.bench.output(Cmd(argv, ok=range(256)))
            except Failed as e:
                text = str(e)
            lines = [s.strip() for s in text.splitlines() if re.search(r"\d\.\d|^\D* \d+$", s)]
            out.append(lines[0][:70] if lines else argv[0])
        return "; ".join(out)

    def empty(self):
        """Remove what was stored and begin anew. Not measured."""
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.points = 0
        init = self.init()
        if init:
            self.bench.run(init)

    def discard(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def store(self):
        return os.path.join(self.dir, "store")

    def mount_point(self):
        return self.bench.path("mnt-" + self.name)

    def init(self):
        return None

    def backup(self):
        """The command that makes the next point; called once for each."""
        raise NotImplementedError

    def reported(self):
        """What the tool says: the bytes that it stores (reported), and before compression (raw)."""
        return {}

    def mount(self):
        return None

    def newest(self):
        """Where the newest point's root is while mounted."""
        return self.mount_point()

    def mount_one(self):
        """Mount the newest point alone, at its root; None where that is nothing else."""
        return None

    def restore(self, dest):
        return None

    def verify(self):
        return None

    def forget(self):
        """Commands that forget all points but the newest and give their space back."""
        return None


class Chunkstore(Tool):
    name = "chunkstore"

    def __init__(self, bench, workload, chunkstore, chunkfs):
        super().__init__(bench, workload)
        self.chunkstore = chunkstore
        self.chunkfs = chunkfs
        self.programs = (chunkstore,)
        self.mounter = (chunkfs,)
        self.version_commands = ([chunkstore, "--version"],)

    def command(self, *args):
        return Cmd([self.chunkstore, "-s", self.store(), *args])

    def init(self):
        return self.command("init")

    def backup(self):
        self.points += 1
        return self.command("backup", "-q", "--series", "bench", "--root", self.tree)

    def reported(self):
        said = json.loads(self.bench.output(self.command("stats", "--json")))
        return {"reported": said["stored_bytes"], "raw": said["raw_bytes"],
                "meta": said["meta_stored_bytes"]}

    def mount(self):
        return Cmd([self.chunkfs, "-f", self.store(), self.mount_point()])

    def newest(self):
        return os.path.join(self.mount_point(), "bench/latest")

    def mount_one(self):
        return Cmd([self.chunkfs, "-f", "-o", "point=bench/latest", self.store(),
                    self.mount_point()])

    def restore(self, dest):
        c = self.command("restore", "-q", "bench/latest", dest)
        if os.geteuid() != 0:  # owners could not be given back, which it says
            c.ok = (0, 3)
        return c

    def verify(self):
        return self.command("verify", "-q")

    def forget(self):
        return [self.command("forget", "-q", "--purge", "--series", "bench", "--keep-last", "1"),
                self.command("gc", "-q")]
