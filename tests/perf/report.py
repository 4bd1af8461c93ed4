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


class Report:
    def __init__(self, results, titles, ours, facts):
        self.results = results
        self.titles = titles  # measure -> title, in the order of the table
        self.ours = ours
        self.facts = facts  # see tests/perf/run
        self.lines = []

    def put(self, line=""):
        self.lines.append(line.rstrip())

    def row(self, *cells):
        widths = (12, 5, 9, 9, 9, 9, 7, 7, 9, 7, 7, 8)
        line = f"  {cells[0]:<{widths[0]}}"
        self.put(line + "".join(f"{c:>{w}}" for c, w in zip(cells[1:], widths[1:])))

    def head(self):
        m, w, f = self.facts["machine"], self.facts["workload"], self.facts
        self.put(f"machine    {m['cpu']}, {m['cores']} cores, {m['memory_bytes'] / 2**30:.1f} GiB, "
                 f"kernel {m['kernel']}, {m['system']}")
        self.put(f"           load average {f['load'][0]:.2f} at the start, {f['load'][1]:.2f} at "
                 "the end")
        self.put(f"tree       {w['tree']} ({w['file_system']}): {w['entries']} entries, "
                 f"{w['files']} files, {w['bytes'] / MB:.0f} MB")
        self.put(f"stores     on {f['scratch_file_system']}; copies go to {f['ram_file_system']}")
        self.put(f"rounds     {f['rounds']}, the tools in turn, every other round backwards; "
                 f"of what takes over {f['slow']} s {f['slow_rounds']}")
        for i, (tool, version) in enumerate(f["versions"].items()):
            self.put(f"{'versions' if i == 0 else '':<10} {tool}: {version}")
        for same, what in ((True, "equal to"), (False, "DIFFER from")):
            found = [t for t, equal in f["identical"].items() if equal == same]
            if found:
                self.put(f"copies     names and contents {what} the tree: {', '.join(found)}")
        for line in f["skipped"]:
            self.put(f"skipped    {line}")
        self.put()

    def measure(self, name):
        r = self.results
        self.put(f"{self.titles[name]} ({r.cache[name]} page cache)")
        for tool, row in r.rows[name].items():
            walls = r.walls(name, tool)
            ratio = r.ratio(name, self.ours, tool) if tool != self.ours else None
            self.row(tool, str(len(walls)), seconds(min(walls)),
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
        stored = self.facts["stored"]
        if not stored:
            return
        own = stored.get(self.ours, {}).get("disk")
        self.put(f"{'stored after one point, MB':<26}{'on disk':>9}{'file sizes':>12}"
                 f"{'tool says':>11}{'ours/theirs':>13}")
        for tool, s in stored.items():
            ratio = own / s["disk"] if own and tool != self.ours else None
            self.put(f"  {tool:<24}{megabytes(s['disk']):>9}{megabytes(s['apparent']):>12}"
                     f"{megabytes(s['reported']):>11}{ratio_text(ratio):>13}")
        self.put()

    def memory(self):
        tools = [t for t in self.facts["versions"]
                 if self.results.server_peak(t, "rss") is not None]
        if not tools:
            return
        self.put(f"{'mount server, peak MB':<26}{'anonymous':>11}{'resident':>11}")
        for t in tools:
            self.put(f"  {t:<24}{megabytes(self.results.server_peak(t, 'anon')):>11}"
                     f"{megabytes(self.results.server_peak(t, 'rss')):>11}")
        self.put()

    def commands(self):
        self.put("commands (STORE, TREE, MNT, DEST, LIST stand for paths)")
        for name, tools in self.results.rows.items():
            for tool, row in tools.items():
                self.put(f"  {name:<10}{tool:<14}{row['command']}")
        for tool, command in self.facts["mounts"].items():
            if "mount" not in self.results.rows:
                self.put(f"  {'mounted':<10}{tool:<14}{command}")
        self.put()

    def verdicts(self):
        for v in self.facts["verdicts"]:
            self.put(f"{v['verdict']:<5} {v['sentence']}: {v['found']}")

    def text(self):
        self.head()
        if self.results.rows:
            self.put("seconds, MB of 10^6 bytes; medians of CPU, peaks of memory; ratio of the "
                     "medians, ours/theirs;")
            self.put("anon: not mapped from a file, seen every 50 ms; peak: all that is resident, "
                     "- if below the script's own")
            self.put(f"{'':<51}--- the command ---    --- its server ---")
            self.row("", "runs", "min", "median", "max", "CPU s", "anon", "peak", "CPU s", "anon",
                     "peak", "ratio")
        for name in self.titles:
            if name in self.results.rows:
                self.measure(name)
        self.stored()
        self.memory()
        self.commands()
        self.verdicts()
        return "\n".join(self.lines) + "\n"

    def json(self):
        out = dict(self.facts)
        out["results"] = [
            {
                "measure": name, "title": self.titles[name], "tool": tool,
                "cache": self.results.cache[name], "command": row["command"],
                "min": min(self.results.walls(name, tool)),
                "median": self.results.median(name, tool),
                "max": max(self.results.walls(name, tool)),
                "ratio": self.results.ratio(name, self.ours, tool),
                "samples": [s.as_dict() for s in row["samples"]],
            }
            for name, tools in self.results.rows.items() for tool, row in tools.items()
        ]
        return json.dumps(out, indent=1) + "\n"
