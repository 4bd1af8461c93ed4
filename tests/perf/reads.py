# SPDX-License-Identifier: MIT
"""Reading the newest point through mounts, and the source itself beside them.

Each reading has a server of its own, so that nothing is warm that is said to be cold.
"""
import os
import shutil
import subprocess

import tools
from measure import Cmd, Failed, Mount, Sample
from plan import FLOOR, SOURCE, WARM
from readers import COPIES


class Reads:
    def __init__(self, plan):
        self.plan = plan
        self.bench = plan.bench
        self.workload = plan.workload
        self.cache = plan.cache("cold")
        self.source = tools.Tool(plan.bench, plan.workload)

    def run(self):
        plan = self.plan
        names = [n for n in self.workload.reads if plan.wanted(n)]
        if "seqz" in names and len(self.workload.large) < 2:
            names.remove("seqz")
        able = [t for t in plan.tools if names and self.mountable(t)]
        for name in names:
            for r in range(plan.opts.rounds):
                self.read_source(name)
                self.read_floor(name)
                for tool in plan.turn(able, r):
                    self.read_mount(name, tool)

    def mountable(self, tool):
        plan = self.plan
        if tool.mount() is None:
            return False
        gone = [p for p in tool.mounter if not shutil.which(p)]
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            plan.skip(tool, "mount", "/dev/fuse is not there, or not for this user")
        elif gone:
            plan.skip(tool, "mount", f"{', '.join(map(os.path.basename, gone))} not found")
        else:
            return True
        return False

    # -------------------------------------------------------- the source

    def read_source(self, name):
        if name in ("mount", "cp1"):
            return
        for label, cache in ((SOURCE, self.cache), (WARM, "warm")):
            if (name == "again" or self.cache == "warm") and label == SOURCE:
                continue
            if self.plan.enough(name, label):
                continue
            self.plan.prepare_cache(cache, self.plan.tree)
            command = self.command(name, self.plan.tree)
            self.plan.take(name, self.source, self.bench.run(command), [command], self.cache, label)

    def command(self, name, root):
        dest = self.bench.fresh(self.workload.room()) if name in COPIES else None
        return self.plan.readers.command(name, root, dest)

    def read_floor(self, name):
        """A file of that size out of a server that does nothing else."""
        if name != "seq" or len(self.workload.large) < 2 or self.plan.enough(name, FLOOR):
            return
        m = Mount(self.bench, "floor")
        size = os.path.getsize(os.path.join(self.plan.tree, self.workload.large[0]))
        self.plan.prepare_cache(self.cache)
        m.start(Cmd([os.path.join(self.workload.gen, "fusefloor"), "-f", str(size), m.point]),
                m.point)
        command = self.plan.readers.sequential(os.path.join(m.point, "file"))
        try:
            sample = self.bench.run(command, mount=m)
        finally:
            m.stop()
        self.plan.take(name, self.source, sample, [command], self.cache, FLOOR)

    # -------------------------------------------------------- mounts

    def read_mount(self, name, tool):
        plan = self.plan
        if name == "cp1" and tool.mount_one() is None:
            return
        if (tool.name, "mount") not in plan.out:
            plan.attempt(name, tool, lambda: (self.measure_mount(tool) if name == "mount"
                                              else self.measure_read(name, tool)))

    def mounted(self, tool, command, root):
        """Mount; (mount, seconds to the first answer)."""
        m = Mount(self.bench, tool.name)
        self.plan.prepare_cache(self.cache, tool.dir)
        self.plan.mount_commands[tool.name] = self.plan.shorten(command.text(), tool)
        return m, m.start(command, root)

    def measure_mount(self, tool):
        m, wall = self.mounted(tool, tool.mount(), tool.newest())
        m.stop()
        self.plan.take("mount", tool, Sample(wall), [tool.mount()], self.cache)

    def measure_read(self, name, tool):
        alone = name == "cp1"
        root = tool.mount_point() if alone else tool.newest()
        m, _ = self.mounted(tool, tool.mount_one() if alone else tool.mount(), root)
        command = self.command(name, root)
        try:
            if name == "again":
                self.bench.run(command, mount=m)
            sample = self.bench.run(command, mount=m)
        finally:
            usage = m.stop()
        if not usage:
            raise Failed("the server ended before it was unmounted")
        sample.server = usage
        self.plan.take(name, tool, sample, [command], self.cache)
        if name == "cp":
            self.compare(tool)

    def compare(self, tool):
        """Once a tool: whether names and contents came back."""
        if tool.name not in self.plan.identical:
            r = subprocess.run(["diff", "-rq", "--no-dereference", self.plan.tree,
                                self.bench.dest], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False)
            self.plan.identical[tool.name] = r.returncode == 0
