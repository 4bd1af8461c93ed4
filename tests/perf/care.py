# SPDX-License-Identifier: MIT
"""Restore without a mount, verify, and forgetting. Forgetting is done to a copy of the store."""
import os
import subprocess

from measure import Failed


class Care:
    def __init__(self, plan):
        self.plan = plan
        self.bench = plan.bench
        self.workload = plan.workload

    def run(self):
        plan = self.plan
        for name in ("restore", "verify", "gc"):
            for r in range(plan.opts.rounds if plan.wanted(name) else 0):
                for tool in plan.turn(plan.tools, r):
                    plan.attempt(name, tool, lambda n=name, t=tool: self.measure(n, t))
        self.bench.clear()

    def measure(self, name, tool):
        if name == "gc":
            self.measure_gc(tool)
            return
        dest = self.bench.fresh(self.workload.room()) if name == "restore" else None
        command = tool.restore(dest) if name == "restore" else tool.verify()
        if command is None:
            return
        cache = self.plan.cache("cold")
        self.plan.prepare_cache(cache, tool.dir)
        self.plan.take(name, tool, self.bench.run(command), [command], cache)

    def measure_gc(self, tool):
        commands = tool.forget()
        if not commands or self.workload.points < 2:
            return
        keep = tool.dir + ".keep"
        os.rename(tool.dir, keep)
        try:
            copy = ["cp", "-a", "--sparse=always", keep, tool.dir]
            if subprocess.run(copy, check=False).returncode != 0:
                raise Failed("its store cannot be copied")
            cache = self.plan.cache("warm")
            self.plan.prepare_cache(cache, tool.dir)
            sample = self.bench.run_all(commands)
            self.plan.take("gc", tool, sample, commands, cache)
            self.plan.weigh(tool, "gc")
        finally:
            tool.discard()
            os.rename(keep, tool.dir)
