# SPDX-License-Identifier: MIT
"""Backups: all states of the workload, a point each, in every round anew.

Within a state the tools take turns, so that each finds the same tree at about the same time.
Leaves a store with all points, and one of nothing changed, for each tool that could make them.
"""
import shlex

import readers
import tools
from measure import Failed, shell
from plan import OURS, WARM, ZSTD, say


class Backups:
    def __init__(self, plan):
        self.plan = plan
        self.workload = plan.workload
        self.cache = plan.cache("warm")
        self.source = tools.Tool(plan.bench, plan.workload)

    def run(self):
        plan = self.plan
        timed = any(map(plan.wanted, ("first", "next", "unchanged")))
        for r in range(plan.opts.rounds if timed else 1):
            who = [t for t in plan.tools if not (r and self.not_again(t))]
            for state in range(self.workload.points):
                say(f"{self.workload.name}: state {state + 1} of {self.workload.points}")
                self.workload.apply(state)
                if state == 0:
                    self.floor("first", ZSTD, shell(
                        f"tar c{'S' * self.workload.sparse}f - -C {shlex.quote(plan.tree)} . | "
                        "zstd -3 -T2 -q >/dev/null"))
                for tool in plan.turn(who, r + state):
                    self.guarded(tool, lambda t=tool, s=state: self.point(t, s))
            if not plan.readers:
                plan.readers = readers.Readers(plan.bench, self.workload, self.workload.survey())
            self.floor("unchanged", WARM, plan.readers.command("find", plan.tree, None))
            for tool in plan.turn(who, r):
                if tool.incremental and plan.wanted("unchanged"):
                    self.guarded(tool, lambda t=tool: self.backup(t, "unchanged"))

    def not_again(self, tool):
        """A store is there, and the tool is too slow to make it another time."""
        plan = self.plan
        return plan.exhausted(tool) or plan.enough("first", tool.name)

    def guarded(self, tool, action):
        plan = self.plan
        if (tool.name, "backup") in plan.out:
            return
        try:
            with plan.time_of(tool):
                action()
        except Failed as e:
            if tool.name == OURS:  # nothing is left to compare with
                raise
            plan.skip(tool, "backup", e)
            plan.tools = [t for t in plan.tools if t is not tool]

    def point(self, tool, state):
        last = self.workload.points - 1
        if state == 0:
            tool.empty()
        elif not tool.incremental and state < last:
            return
        self.backup(tool, "first" if state == 0 else "next" if tool.incremental else None)
        if state == 0:
            self.plan.weigh(tool, "first")
        if state == last and tool.incremental and last > 0:
            self.plan.weigh(tool, "all")

    def backup(self, tool, name):
        """Once; measured if this was asked for."""
        plan = self.plan
        command = tool.backup()
        if not name or not plan.wanted(name):
            plan.bench.run(command)
            return
        plan.prepare_cache(self.cache, plan.tree, tool.dir)
        plan.take(name, tool, plan.bench.run(command), [command], self.cache)

    def floor(self, name, label, command):
        """What nobody can be expected to be faster than."""
        plan = self.plan
        if plan.wanted(name):
            plan.prepare_cache(self.cache, plan.tree)
            plan.take(name, self.source, plan.bench.run(command), [command], self.cache, label)
