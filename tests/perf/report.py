# SPDX-License-Identifier: MIT
"""The table and the JSON. Figures come in as samples and go out as min, median, max."""
import json
import os
import platform
import re
import statistics

MB = 1e6


class Results:
    """Samples by measure and tool, in the order in which they came first."""

    def __init__(self):
        self.rows = {}  # measure -> {tool: {"samples": [], "command": str}}
        self.cache = {}  # measure -> "cold" or "warm"

    def add(self, measure, tool, sample, command, cache):
        row = self.rows.setdefault(measure, {}).setdefault(
            tool, {"samples": [], "command": command})
        row["samples"].append(sample)
        self.cache[measure] = cache

    def walls(self, measure, tool):
        row = self.rows.get(measure, {}).get(tool)
        return [s.wall for s in row["samples"]] if row else []

    def median(self, measure, tool):
        walls = self.walls(measure, tool)
        return statistics.median(walls) if walls else None

    def ratio(self, measure, ours, theirs):
        a, b = self.median(measure, ours), self.median(measure, theirs)
        return a / b if a is not None and b else None

    def peak(self, measure, tool, of):
        found = [v for v in map(of, self.rows[measure][tool]["samples"]) if v]
        return max(found) if found else None

    def middle(self, measure, tool, of):
        found = [v for v in map(of, self.rows[measure][tool]["samples"]) if v is not None]
        return statistics.median(found) if found else None

    def server_peak(self, tool, key):
        """The largest over all measures of a mount; None when there was none."""
        found = [s.server[key] for tools in self.rows.values() if tool in tools
                 for s in tools[tool]["samples"] if s.server]
        return max(found) if found else None


def server(key):
    return lambda s: s.server[key] if s.server else None


# ---------------------------------------------------------------- the machine

def first_match(path, pattern):
    try:
        with open(path) as f:
            m = re.search(pattern, f.read(), re.M)
    except OSError:
        m = None
    return m.group(1).strip() if m else "unknown"


def file_system(path):
    """The type of the file system that path is on: the longest mount point above it."""
    best, kind = "", "unknown"
    path = os.path.realpath(path)
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ", 1)
            point = left.split()[4]
            below = path == point or path.startswith(point.rstrip("/") + "/")
            if below and len(point) >= len(best):
                best, kind = point, right.split()[0]
    return kind


def machine():
    memory = first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    return {
        "cpu": first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)"),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "system": first_match("/etc/os-release", r'^PRETTY_NAME="(.*)"'),
        "memory_bytes": int(memory) * 1024 if memory.isdigit() else 0,
    }


# ---------------------------------------------------------------- the table

def seconds(v):
    if v is None:
        return "-"
    return f"{v:.3f}" if v < 1 else f"{v:.2f}" if v < 10 else f"{v:.1f}"


def megabytes(v):
    return "-" if v is None else f"{v / MB:.1f}" if v < 10 * MB else f"{v / MB:.0f}"


def ratio_text(v):
    return "" if v is None else f"{v:.3f}" if v < 0.1 else f"{v:.2f}"


def figure(v):
    """As short as it is worth."""
    return "-" if v is None else f"{v:.3f}" if v < 0.1 else f"{v:.2f}" if v < 10 else f"{v:.0f}"


STORED = {"first": "stored after one point", "all": "stored after all points",
          "gc": "stored after gc"}


class Section:
    """One workload: a short table, then all that was seen."""

    def __init__(self, plan, titles, ours, put):
        self.plan = plan
        self.results = plan.results
        self.titles = titles  # measure -> title, in the order of the tables
        self.ours = ours
        self.put = put

    def write(self):
        w = self.plan.workload.facts
        self.put(f"## {w['title']}")
        self.put()
        self.put(f"{w['entries']} entries, {w['files']} files, {w['bytes'] / MB:.0f} MB in the "
                 f"newest state ({w['disk'] / MB:.0f} on {w['file_system']}); {w['points']} points")
        for same, what in ((True, "equal to"), (False, "DIFFER from")):
            found = [t for t, equal in self.plan.identical.items() if equal == same]
            if found:
                self.put(f"copied by cp -a, names and contents {what} the source: "
                         f"{', '.join(found)}")
        for line in self.plan.skipped:
            self.put(f"left out: {line}")
        self.put()
        self.summary()
        self.details()
        self.commands()

    # -------------------------------------------------------- the short table

    def summary(self):
        tools = [t.name for t in self.plan.compared]
        floors = [t for rows in self.results.rows.values() for t in rows if t not in tools]
        columns = tools + list(dict.fromkeys(floors))
        rows = [["median, s", "cache", *columns]]
        for name, title in self.titles.items():
            if name in self.results.rows:
                rows.append([title, self.results.cache[name],
                             *(self.cell(name, t) for t in columns)])
        for when, title in STORED.items():
            sizes = {t: s[when]["disk"] for t, s in self.plan.stored.items() if when in s}
            if sizes:
                rows.append([title + ", MB", "", *(self.size(sizes, t) for t in columns)])
        for key, title in (("anon", "mount server, peak of anonymous memory, MB"),
                           ("rss", "the same, all that is resident, MB")):
            peaks = {t: self.results.server_peak(t, key) for t in tools}
            if any(peaks.values()):
                rows.append([title, "", *(megabytes(peaks.get(t)) for t in columns)])
        self.table(rows)

    def cell(self, name, tool):
        """Median, and how much of it ours is."""
        v = self.results.median(name, tool)
        ratio = self.results.ratio(name, self.ours, tool) if tool != self.ours else None
        return (seconds(v) if v is not None else "") + (f" ({figure(ratio)})" if ratio else "")

    def size(self, sizes, tool):
        ours = sizes.get(self.ours)
        ratio = f" ({figure(ours / sizes[tool])})" if ours and sizes.get(tool) and \
            tool != self.ours else ""
        return megabytes(sizes[tool]) + ratio if tool in sizes else ""

    def table(self, rows):
        """As Markdown has it, and lined up."""
        widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
        rows.insert(1, ["-" * w for w in widths])
        for r in rows:
            self.put("| " + " | ".join(c.ljust(w) for c, w in zip(r, widths)) + " |")
        self.put()

    # -------------------------------------------------------- all of it

    def row(self, *cells):
        widths = (26, 5, 9, 9, 9, 9, 7, 7, 9, 7, 7, 8)
        line = f"    {cells[0]:<{widths[0]}}"
        self.put(line + "".join(f"{c:>{w}}" for c, w in zip(cells[1:], widths[1:])))

    def details(self):
        self.put(f"{'':<66}--- the command ---    --- its server ---")
        self.row("", "runs", "min", "median", "max", "CPU s", "anon", "peak", "CPU s", "anon",
                 "peak", "ratio")
        for name in self.titles:
            if name in self.results.rows:
                self.measure(name)
        self.stored()

    def measure(self, name):
        r = self.results
        self.put(f"    {self.titles[name]} ({r.cache[name]} page cache)")
        for tool in r.rows[name]:
            walls = r.walls(name, tool)
            ratio = r.ratio(name, self.ours, tool) if tool != self.ours else None
            self.row("  " + tool, str(len(walls)), seconds(min(walls)),
                     seconds(r.median(name, tool)), seconds(max(walls)),
                     seconds(r.middle(name, tool, lambda s: s.cpu)),
                     megabytes(r.peak(name, tool, lambda s: s.anon)),
                     megabytes(r.peak(name, tool, lambda s: s.rss)),
                     seconds(r.middle(name, tool, server("cpu"))),
                     megabytes(r.peak(name, tool, server("anon"))),
                     megabytes(r.peak(name, tool, server("rss"))),
                     ratio_text(ratio))
        self.put()

    def stored(self):
        for when, title in STORED.items():
            sizes = {t: s[when] for t, s in self.plan.stored.items() if when in s}
            if not sizes:
                continue
            self.put(f"    {title + ', MB':<31}{'on disk':>9}{'file sizes':>12}{'tool says':>11}")
            for tool, s in sizes.items():
                self.put(f"      {tool:<29}{megabytes(s['disk']):>9}{megabytes(s['apparent']):>12}"
                         f"{megabytes(s['reported']):>11}")
        self.put()

    def commands(self):
        self.put("    commands (STORE, TREE, MNT, DEST stand for paths)")
        for name, tools in self.results.rows.items():
            for tool, row in tools.items():
                self.put(f"      {name:<10}{tool:<14} {row['command']}")
        for tool, command in self.plan.mount_commands.items():
            self.put(f"      {'mounted':<10}{tool:<14} {command}")
        self.put()

    def as_dict(self):
        r = self.results
        return {
            "workload": self.plan.workload.facts, "skipped": self.plan.skipped,
            "stored": self.plan.stored, "identical": self.plan.identical,
            "mounts": self.plan.mount_commands,
            "results": [{
                "measure": name, "title": self.titles[name], "tool": tool, "cache": r.cache[name],
                "command": row["command"], "min": min(r.walls(name, tool)),
                "median": r.median(name, tool), "max": max(r.walls(name, tool)),
                "ratio": r.ratio(name, self.ours, tool),
                "samples": [s.as_dict() for s in row["samples"]],
            } for name, tools in r.rows.items() for tool, row in tools.items()],
        }


class Report:
    def __init__(self, plans, titles, ours, facts):
        self.facts = facts  # see tests/perf/run
        self.lines = []
        self.sections = [Section(p, titles, ours, self.put) for p in plans]

    def put(self, line=""):
        self.lines.append(line.rstrip())

    def head(self):
        m, f = self.facts["machine"], self.facts
        self.put("# chunkstore beside the others")
        self.put()
        self.put(f"    machine    {m['cpu']}, {m['cores']} processors, "
                 f"{m['memory_bytes'] / 2**30:.1f} GiB, kernel {m['kernel']}, {m['system']}")
        self.put(f"               load average {f['load'][0]:.2f} at the start, "
                 f"{f['load'][1]:.2f} at the end")
        self.put(f"    begun      {f['begun']}, {f['minutes']} minutes")
        self.put(f"    stores     on {f['scratch_file_system']}; copies go to "
                 f"{f['ram_file_system']} where they fit")
        self.put(f"    rounds     {f['rounds']}, the tools in turn, every other round backwards; "
                 f"of what takes long fewer: {f['slow']}")
        for i, (tool, version) in enumerate(f["versions"].items()):
            self.put(f"    {'versions' if i == 0 else '':<10} {tool}: {version}")
        for line in f["skipped"]:
            self.put(f"    left out   {line}")
        self.put()
        self.put("Seconds; MB of 10^6 bytes. In brackets how much ours is of it: medians, "
                 "ours/theirs.")
        self.put("Of CPU medians, of memory peaks. anon: not mapped from a file, seen every 10 ms; "
                 "peak: all that")
        self.put("is resident. zstd floor: tar into zstd -3 -T2 into nowhere; FUSE floor: a server "
                 "that answers from memory.")
        self.put("Cold: after sync; echo 3 > /proc/sys/vm/drop_caches; the memory that is free was "
                 "touched before.")
        self.put()

    def verdicts(self):
        if not self.facts["verdicts"]:
            return
        self.put("## Budgets")
        self.put()
        for v in self.facts["verdicts"]:
            self.put(f"    {v['verdict']:<13} {v['kind']:<5} {v['sentence']}: {v['found']}")

    def text(self):
        self.head()
        for s in self.sections:
            s.write()
        self.verdicts()
        return "\n".join(self.lines) + "\n"

    def json(self):
        out = dict(self.facts)
        out["workloads"] = [s.as_dict() for s in self.sections]
        return json.dumps(out, indent=1) + "\n"
