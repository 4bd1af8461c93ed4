# SPDX-License-Identifier: MIT
"""What was promised, and whether it held: must, and what we are after (aim).

Ratios of medians of this run. They were made for the full workloads K, V and L: of others, and
of --small ones, the figure is shown and binds nobody.
"""
from plan import FLOOR, OURS, WARM, ZSTD
from report import MB, figure

MIB = 1 << 20


class Budgets:
    def __init__(self, plans, processors):
        self.plans = {p.workload.name: p for p in plans}
        self.processors = processors
        self.rows = []

    # -------------------------------------------------------- one sentence

    def add(self, kind, workload, sentence, value, limit, unit=""):
        """Holds if value is at most limit; a negative limit is a lower one."""
        plan = self.plans.get(workload)
        if not plan:
            return
        row = {"kind": kind, "workload": workload, "sentence": f"{workload}: {sentence}",
               "value": value, "limit": abs(limit), "verdict": "not measured", "found": "-"}
        if value is not None:
            held = value >= -limit if limit < 0 else value <= limit
            row["verdict"] = "-" if not plan.workload.binding() else "PASS" if held else "MISS"
            row["found"] = (figure(value) + unit + f" ({'at least' if limit < 0 else 'at most'} "
                            f"{figure(abs(limit))})")
        self.rows.append(row)

    def ratio(self, workload, measure, to):
        plan = self.plans.get(workload)
        return plan.results.ratio(measure, OURS, to) if plan else None

    def median(self, workload, measure, tool=OURS):
        plan = self.plans.get(workload)
        return plan.results.median(measure, tool) if plan else None

    # -------------------------------------------------------- all of them

    def all(self):
        self.road_in()
        self.road_out()
        self.care()
        return self.rows

    def road_in(self):
        for kind, measure, to, limit, words in (
                ("must", "first", "restic", 0.5, "first backup, of restic's time"),
                ("aim", "first", ZSTD, 1.3, "first backup, of tar | zstd -3 -T2"),
                ("must", "unchanged", "restic", 0.25, "nothing changed, of restic's time"),
                ("aim", "unchanged", WARM, 2, "nothing changed, of find -ls of the source")):
            self.add(kind, "K", words, self.ratio("K", measure, to), limit)
        self.stored("must", "first", "stored after one point", 240)
        self.stored("must", "all", "stored after five points", 290)
        self.stored("aim", "all", "stored after five points", 235)
        for name in self.plans:
            peaks = [self.peak(name, m) for m in ("first", "next", "unchanged")]
            self.add("must", name, "backup, memory", max(filter(None, peaks), default=None),
                     256 * MIB / MB, " MB")

    def stored(self, kind, when, words, limit):
        plan = self.plans.get("K")
        if plan and (when == "first" or plan.workload.points == 5):
            size = plan.stored.get(OURS, {}).get(when)
            self.add(kind, "K", words, size and size["disk"] / MB, limit, " MB")

    def peak(self, workload, measure):
        """Anonymous memory, MB."""
        results = self.plans[workload].results
        if OURS not in results.rows.get(measure, {}):
            return None
        found = results.peak(measure, OURS, lambda s: s.anon)
        return found and found / MB

    def road_out(self):
        for kind, limit in (("must", 1), ("aim", 0.5)):
            self.add(kind, "K", "find -ls, cold, of erofsfuse", self.ratio("K", "find", "erofs"),
                     limit)
        for measure, words in (("tar", "tar"), ("grep", "grep -r"), ("copyr", "cp -r"),
                               ("cp", "cp -a")):
            self.add("must", "K", f"{words}, cold, of squashfuse_ll",
                     self.ratio("K", measure, "squashfs"), 1 / 3)
            if measure == "cp":
                self.add("must", "K", "cp -a, cold, of erofsfuse", self.ratio("K", "cp", "erofs"),
                         1 / 3)
                self.add("must", "K", "cp -a, cold, of restic's mount",
                         self.ratio("K", "cp", "restic"), 1 / 4)
            self.add("aim", "K", f"{words}, cold, of the source warm",
                     self.ratio("K", measure, WARM), 1.5)
        alone, warm = self.median("K", "cp1"), self.median("K", "cp", WARM)
        self.add("aim", "K", "cp -a of one point without xattrs, of the source warm",
                 alone and warm and alone / warm, 1.2)
        self.add("must", "L", "a large file that compresses, from the mount",
                 self.speed("seqz"), -1, " GB/s")
        self.add("must", "L", "a large file that does not", self.speed("seq"), -1, " GB/s")
        self.add("aim", "L", "a large file that does not, of the FUSE floor's speed",
                 self.inverse("L", "seq", FLOOR), -0.8)
        for name, plan in self.plans.items():
            self.add("must", name, "mount to first answer", self.median(name, "mount"), 0.05, " s")
            peak = plan.results.server_peak(OURS, "anon")
            self.add("must", name, "chunkfs, memory", peak and peak / MB, 80 * MIB / MB, " MB")

    def inverse(self, workload, measure, to):
        ratio = self.ratio(workload, measure, to)
        return ratio and 1 / ratio

    def speed(self, measure):
        wall = self.median("L", measure)
        return wall and self.plans["L"].workload.facts["bytes"] / 2 / wall / 1e9

    def care(self):
        self.add("must", "K", "forget and gc of all points but one", self.median("K", "gc"), 1,
                 " s")
        for name, plan in self.plans.items():
            wall, sizes = self.median(name, "verify"), plan.stored.get(OURS, {})
            raw = (sizes.get("all") or sizes.get("first") or {}).get("raw")
            if name != "S":  # which is all files and no data
                self.add("must", name, "verify, of the data before compression",
                         wall and raw and raw / wall / 1e9, -1, " GB/s")
            floor = self.median(name, "verify", "tar")
            self.add("aim", name, f"verify, of zstd -t on {self.processors} processors",
                     wall and floor and wall / (floor / self.processors), 1.3)
            if "gc" in plan.results.rows:
                self.add("must", name, "gc, memory", self.peak(name, "gc"), 64 * MIB / MB + 1,
                         " MB")
