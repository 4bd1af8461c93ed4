# SPDX-License-Identifier: MIT
"""What is measured, in which order and how often.

Tools take turns within a round, and every other round goes backwards. Reading
starts with a server of its own each time, so that nothing is warm that is said
to be cold. What failed for a tool once is not tried again.
"""
import os
import random
import shlex
import shutil
import stat
import subprocess
import sys

import measure
import report
import tools
from measure import CannotMount, Failed, Mount, Sample, shell

OURS = "chunkstore"
TREE = "tree on disk"  # named like a tool where it is read as the mounts are
SLOW, SLOW_ROUNDS = 30, 2  # seconds; what takes longer is not done more often
RANDOM_FILES, SEED = 3000, 1

TITLES = {
    "first": "first backup",
    "unchanged": "backup when nothing has changed",
    "mount": "mount to first answer (ls of the newest point)",
    "find": "find -ls of the newest point",
    "cp": "cp -a of the newest point to memory",
    "tar": "tar of the newest point",
    "random": f"{RANDOM_FILES} random files read",
    "restore": "restore to memory, without a mount",
    "verify": "verify all data",
}
READS = ("find", "cp", "tar", "random")
NAMES = [*list(TITLES)[:2], "stored", *list(TITLES)[2:]]


def say(text):
    print(text, file=sys.stderr, flush=True)


def survey(tree):
    """Counts of the tree, and its regular files in name order."""
    files, entries, size = [], 1, 0
    for top, dirs, names in os.walk(tree):
        entries += len(dirs) + len(names)
        for name in names:
            path = os.path.join(top, name)
            st = os.lstat(path)
            if stat.S_ISREG(st.st_mode):
                files.append("./" + os.path.relpath(path, tree))
                size += st.st_size
    return {"tree": tree, "entries": entries, "files": len(files), "bytes": size,
            "file_system": report.file_system(tree)}, sorted(files)


def disk_usage(path):
    """(blocks in bytes, sizes in bytes) of all below path, as du tells them."""
    os.sync()
    disk = apparent = 0
    for top, dirs, names in os.walk(path):
        for name in dirs + names:
            st = os.lstat(os.path.join(top, name))
            disk += st.st_blocks * 512
            apparent += st.st_size if stat.S_ISREG(st.st_mode) else 0
    if os.path.isfile(path):
        st = os.lstat(path)
        disk, apparent = st.st_blocks * 512, st.st_size
    return disk, apparent


class Plan:
    def __init__(self, bench, opts, tree, compared, files):
        self.bench = bench
        self.opts = opts
        self.tree = tree
        self.tools = compared
        self.results = report.Results()
        self.skipped = []
        self.stored = {}
        self.identical = {}
        self.out = set()  # (tool, what) that failed once and is not tried again
        self.mount_commands = {}
        self.list = bench.path("list")
        with open(self.list, "wb") as f:
            chosen = random.Random(SEED).sample(files, min(RANDOM_FILES, len(files)))
            f.write(b"".join(os.fsencode(p) + b"\0" for p in chosen))

    def turn(self, who, round_number):
        """The tools in the order of this round."""
        return who if round_number % 2 == 0 else who[::-1]

    def wanted(self, name):
        return name in self.opts.only

    def cache(self, usual):
        if not measure.can_drop():
            return "warm"
        return usual if self.opts.cache == "usual" else self.opts.cache

    def prepare_cache(self, cache, *paths):
        if cache == "cold":
            measure.make_cold()
        else:
            measure.make_warm(*(p for p in paths if os.path.exists(p)))

    def skip(self, tool, what, why):
        self.out.add((tool.name, what))
        line = f"{tool.name} {what}: {self.shorten(str(why), tool)}"
        self.skipped.append(line)
        say(line)

    def shorten(self, text, tool=None):
        names = [(self.tree, "TREE"), (self.list, "LIST"),
                 (os.path.join(self.bench.ram, "dest"), "DEST")]
        if tool:
            names += [(tool.store(), "STORE"), (tool.mount_point(), "MNT"), (tool.dir, "DIR")]
            names += [(p, os.path.basename(p)) for p in tool.programs + tool.mounter if "/" in p]
        for path, name in names:
            text = text.replace(path, name)
        return text

    def enough(self, name, tool):
        """Slow steps are not repeated as often."""
        walls = self.results.walls(name, tool)
        return len(walls) >= SLOW_ROUNDS and min(walls) > SLOW

    def take(self, name, tool, sample, command, cache, label=None):
        label = label or tool.name
        self.results.add(name, label, sample, self.shorten(command.text(), tool), cache)
        say(f"{len(self.results.walls(name, label))}: {name} {label} "
            f"{report.seconds(sample.wall)} s")

    # -------------------------------------------------------- backups

    def backup(self, tool, name, command, cache):
        """Once; measured if this was asked for."""
        if not self.wanted(name):
            self.bench.run(command)
            return
        self.prepare_cache(cache, self.tree, tool.dir)
        self.take(name, tool, self.bench.run(command), command, cache)

    def measure_stored(self, tool):
        if not self.wanted("stored") or tool.name in self.stored:
            return
        disk, apparent = disk_usage(tool.store())
        self.stored[tool.name] = {"disk": disk, "apparent": apparent, "reported": None}
        try:
            self.stored[tool.name]["reported"] = tool.reported()
        except (Failed, ValueError, LookupError) as e:
            self.skip(tool, "own size", e)

    def backups(self):
        """Leaves a store with a point in it for each tool that could make one."""
        cache = self.cache("warm")
        timed = self.wanted("first") or self.wanted("unchanged")
        for r in range(self.opts.rounds if timed else 1):
            for tool in self.turn(self.tools, r):
                try:
                    tool.empty()
                    self.backup(tool, "first", tool.backup(), cache)
                    self.measure_stored(tool)
                    again = tool.again() if self.wanted("unchanged") else None
                    if again:
                        self.backup(tool, "unchanged", again, cache)
                except Failed as e:
                    if tool.name == OURS:  # nothing is left to compare with
                        raise
                    self.skip(tool, "backup", e)
            self.tools = [t for t in self.tools if (t.name, "backup") not in self.out]

    # -------------------------------------------------------- reading

    def read_command(self, name, root):
        """What reads root; for cp also where the copy goes."""
        where = shlex.quote(root)
        if name == "find":
            return shell(f"find {where}/. -ls >/dev/null")
        if name == "cp":
            return measure.Cmd(["cp", "-a", root + "/.", self.bench.fresh_ram()])
        if name == "tar":  # through a pipe: into /dev/null itself tar would not read
            return shell(f"set -o pipefail; tar cf - -C {where} . | cat >/dev/null")
        return shell(f"xargs -0 cat -- <{shlex.quote(self.list)} >/dev/null", cwd=root)

    def mounted(self, tool, cache):
        """Mount; (mount, seconds to the first answer)."""
        m = Mount(self.bench, tool.name)
        self.prepare_cache(cache, tool.dir)
        command = tool.mount()
        self.mount_commands[tool.name] = self.shorten(command.text(), tool)
        return m, m.start(command, tool.newest())

    def measure_mount(self, tool, cache):
        m, wall = self.mounted(tool, cache)
        m.stop()
        self.take("mount", tool, Sample(wall), tool.mount(), cache)

    def measure_read(self, name, tool, cache):
        m, _ = self.mounted(tool, cache)
        command = self.read_command(name, tool.newest())
        try:
            sample = self.bench.run(command, mount=m)
        finally:
            usage = m.stop()
        if not usage:
            raise Failed("the server ended before it was unmounted")
        sample.server = usage
        self.take(name, tool, sample, command, cache)
        if name == "cp":
            self.compare(tool)

    def measure_tree(self, name, cache):
        disk = tools.Tool(self.bench, self.tree)
        self.prepare_cache(cache, self.tree)
        command = self.read_command(name, self.tree)
        self.take(name, disk, self.bench.run(command), command, cache, label=TREE)

    def compare(self, tool):
        """Once a tool: whether names and contents came back."""
        if tool.name in self.identical:
            return
        dest = os.path.join(self.bench.ram, "dest")
        r = subprocess.run(["diff", "-rq", "--no-dereference", self.tree, dest],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self.identical[tool.name] = r.returncode == 0

    def attempt(self, name, tool, action):
        if (tool.name, name) in self.out or self.enough(name, tool.name):
            return
        if name in READS and (tool.name, "mount") in self.out:
            return
        try:
            action()
        except CannotMount as e:
            self.skip(tool, "mount", e)
        except Failed as e:
            self.skip(tool, name, e)

    def without_mount(self, tool):
        if tool.mount() is None:
            return "it has no mount"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse is not there, or not for this user"
        gone = [p for p in tool.mounter if not shutil.which(p)]
        return f"{', '.join(map(os.path.basename, gone))} not found" if gone else None

    def reads(self):
        names = [n for n in ("mount", *READS) if self.wanted(n)]
        able = []
        for tool in self.tools if names else []:
            why = self.without_mount(tool)
            if why:
                self.skip(tool, "mount", why)
            else:
                able.append(tool)
        cache = self.cache("cold")
        for name in names:
            for r in range(self.opts.rounds):
                if name in READS and not self.enough(name, TREE):
                    self.measure_tree(name, cache)
                for tool in self.turn(able, r):
                    self.attempt(name, tool, lambda n=name, t=tool: (
                        self.measure_mount(t, cache) if n == "mount"
                        else self.measure_read(n, t, cache)))

    # -------------------------------------------------------- restore, verify

    def measure_plain(self, name, tool, cache):
        dest = self.bench.fresh_ram() if name == "restore" else None
        command = tool.restore(dest) if name == "restore" else tool.verify()
        if command is None:
            self.out.add((tool.name, name))
            return
        self.prepare_cache(cache, tool.dir)
        self.take(name, tool, self.bench.run(command), command, cache)

    def plain(self):
        cache = self.cache("cold")
        for name in ("restore", "verify"):
            for r in range(self.opts.rounds if self.wanted(name) else 0):
                for tool in self.turn(self.tools, r):
                    self.attempt(name, tool,
                                 lambda n=name, t=tool: self.measure_plain(n, t, cache))
        self.bench.fresh_ram()

    def run(self):
        self.backups()
        self.reads()
        self.plain()
