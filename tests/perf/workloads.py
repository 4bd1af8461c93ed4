# SPDX-License-Identifier: MIT
"""What is backed up: a working tree that goes through a number of states, a point each.

What takes long to get (releases of the kernel, disk images) is kept in the cache directory
and used again by the next run. --small makes the same of a tenth or less: to see that all
works, not to measure.
"""
import os
import re
import stat
import subprocess

import report
from measure import Cmd, Failed, remove, remove_file, shell

PACKAGE = "linux-source-6.1"
HERE = os.path.dirname(os.path.realpath(__file__))
TREES = ("mount", "find", "cp", "cp1", "copyr", "tar", "grep", "random", "again", "one", "four")
FILES = ("mount", "cp", "seq", "seqz", "again", "four", "rand4k", "rand64k")


class Workload:
    name = title = ""
    points = 1
    reads = TREES
    grep = ""  # where grep -r begins, below the tree
    large = ()  # files for seq and seqz
    sparse = False
    packages = ()

    def __init__(self, bench, opts, say):
        self.bench = bench
        self.small = opts.small
        self.cache = os.path.join(opts.cache_dir, self.name.lower())
        self.say = say
        build = os.environ.get("BUILD") or os.path.join(HERE, "../../build/release")
        self.gen = os.path.abspath(os.path.join(build, "tests/gen"))
        self.tree = bench.path("tree-" + self.name)
        self.facts = {}

    def prepare(self):
        """Get what takes long. Raises Failed."""

    def apply(self, state):
        """Bring the working tree to a state, from 0 on; from any other state."""
        raise NotImplementedError

    def binding(self):
        """Whether the budgets speak of this."""
        return not self.small

    def describe(self):
        return self.title

    def survey(self):
        """Count the tree as it is now; its regular files in name order."""
        files, entries, size, disk = [], 1, 0, 0
        for top, dirs, names in os.walk(self.tree):
            entries += len(dirs) + len(names)
            for name in names:
                path = os.path.join(top, name)
                st = os.lstat(path)
                if stat.S_ISREG(st.st_mode):
                    files.append("./" + os.path.relpath(path, self.tree))
                    size += st.st_size
                    disk += st.st_blocks * 512
        self.facts = {"name": self.name, "title": self.describe(), "entries": entries,
                      "files": len(files), "bytes": size, "disk": disk, "points": self.points,
                      "small": self.small, "file_system": report.file_system(self.tree)}
        return sorted(files)

    def room(self):
        """Bytes that a copy may take."""
        return int(self.facts["bytes"] * 1.1)

    def memory(self):
        """Bytes of memory that the page cache, a copy and a server may take."""
        return 2 * self.facts["disk"] + (1 << 30)

    def disk_needed(self, tools):
        """Bytes on the scratch disk while so many tools are compared; roughly, from above."""
        return (1 << 30) * (3 + tools)

    def discard(self):
        remove(self.tree)


class Kernel(Workload):
    name = "K"
    title = f"K: the newest releases of {PACKAGE}, one put over the other in place"
    packages = ("rsync", "xz-utils", "tar")
    wanted = 5
    parts = ("fs", "include", "kernel", "lib")  # of --small
    grep = "drivers"

    def prepare(self):
        os.makedirs(self.cache, exist_ok=True)
        offered = self.offered()
        self.versions = []
        for version in offered:  # newest first
            if len(self.versions) == self.count() or not self.fetched(version):
                continue
            self.versions.insert(0, version)
        if not self.versions:
            raise Failed(f"{PACKAGE} cannot be had: {self.cache} holds none and apt offers none")
        self.points = len(self.versions)
        if self.points < self.count():
            self.say(f"K: {self.points} releases of {self.count()}: no more can be had")
        if self.small:
            self.grep = "fs"

    def count(self):
        return 3 if self.small else self.wanted

    def offered(self):
        """Versions, newest first: the newest revision of each release; what is cached counts."""
        subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        r = subprocess.run(["apt-cache", "madison", PACKAGE], capture_output=True, text=True,
                           check=False)
        found = {line.split("|")[1].strip() for line in r.stdout.splitlines() if "|" in line}
        found |= {v for v in os.listdir(self.cache) if re.fullmatch(r"\d+\.\d+\.\d+-\d+", v)}
        newest = {}
        for v in sorted(found, key=lambda v: [int(n) for n in re.findall(r"\d+", v)]):
            newest[v.split("-")[0]] = v
        return list(newest.values())[::-1]

    def fetched(self, version):
        """Whether the release is in the cache, now at least."""
        to = os.path.join(self.cache, version)
        if os.path.isdir(to):
            return True
        work = to + ".new"
        remove(work)
        os.makedirs(work)
        self.say(f"K: fetching {version}")
        try:
            self.bench.run(Cmd(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
                                f"{PACKAGE}={version}"], cwd=work))
            self.bench.run(shell(f"dpkg-deb -x *.deb . && tar xf usr/src/{PACKAGE}.tar.xz",
                                 cwd=work))
            os.rename(os.path.join(work, PACKAGE), to)
        except (Failed, OSError) as e:
            self.say(f"K: {version}: {e}")
            return False
        finally:
            remove(work)
        return True

    def apply(self, state):
        os.makedirs(self.tree, exist_ok=True)
        source = os.path.join(self.cache, self.versions[state])
        what = [f"{source}/./{p}" for p in self.parts] if self.small else [source + "/"]
        how = "-rlpcR" if self.small else "-rlpc"
        self.bench.run(Cmd(["rsync", how, "--delete", *what, self.tree + "/"]))

    def describe(self):
        return f"{self.title}: {' '.join(self.versions)}" + self.small * " (four directories alone)"


class Images(Workload):
    name = "V"
    title = ("V: a disk image of 8 GiB (ext4, sparse) at four moments: Debian, and servers, and a "
             "database under load, and 20 s later")
    points = 4
    reads = FILES
    large = ("disk.img",)
    sparse = True
    packages = ("debootstrap", "e2fsprogs", "fio")

    def prepare(self):
        if self.small:
            self.cache += "-small"
        missing = [i for i in range(1, 5) if not os.path.exists(self.image(i))]
        if not missing:
            return
        os.makedirs(self.cache, exist_ok=True)
        if self.small:
            self.make_small()
            return
        if os.geteuid() != 0:
            raise Failed("to make the disk images takes root")
        self.say("V: making the disk images, some minutes")
        self.bench.run(Cmd([os.path.join(HERE, "mkimage"), self.cache]), timeout=3600)

    def make_small(self):
        work = self.bench.path("image")
        bulk = [os.path.join(self.gen, "bulk"), work, "--files", "10000"]
        for i in range(1, 5):
            self.bench.run(Cmd(bulk + (["--change", str(i), "--percent", "5"] if i > 1 else [])))
            new = self.image(i) + ".new"
            remove_file(new)
            self.bench.run(Cmd(["mke2fs", "-q", "-F", "-t", "ext4", "-d", work, new, "256M"]))
            os.rename(new, self.image(i))
        remove(work)

    def image(self, i):
        return os.path.join(self.cache, f"{i}.img")

    def apply(self, state):
        os.makedirs(self.tree, exist_ok=True)
        self.bench.run(Cmd(["cp", "--sparse=always", self.image(state + 1),
                            os.path.join(self.tree, "disk.img")]))

    def describe(self):
        return ("V: a disk image of 256 MiB at four moments, small files changed in between"
                if self.small else self.title)


class Small(Workload):
    name = "S"
    title = "S: 200000 files of 0 to 4 KiB in 2000 directories, one in a hundred changing"
    points = 5
    seed = 1

    def count(self):
        return 2000 if self.small else 200000

    def apply(self, state):
        bulk = [os.path.join(self.gen, "bulk"), self.tree, "--files", str(self.count()),
                "--seed", str(self.seed)]
        if state == 0:
            remove(self.tree)
            self.bench.run(Cmd(bulk))
        else:
            self.bench.run(Cmd([*bulk, "--change", str(state), "--percent", "1"]))

    def describe(self):
        return (f"S: {self.count()} files of 0 to 4 KiB of words in {self.count() // 100} "
                "directories; one in a hundred changes between two points")


class Large(Workload):
    name = "L"
    title = "L: a file of 4 GiB that does not compress and one that does"
    reads = FILES
    large = ("noise", "text")  # what does not compress, what does
    packages = ("fio",)

    def disk_needed(self, tools):
        return self.size() * (2 + tools + tools // 2)

    def size(self):
        return 64 << 20 if self.small else 4 << 30

    def apply(self, state):
        if os.path.isdir(self.tree):
            return
        os.makedirs(self.tree)
        for command, name in ((f"noise 1 {self.size()}", "noise"),
                              (f"bulk --text {self.size()}", "text")):
            self.bench.run(shell(f"{self.gen}/{command} >{self.tree}/{name}"))

    def describe(self):
        return (f"L: a file of {self.size() >> 20} MiB that does not compress and one that does, "
                "words")


class Given(Workload):
    """A tree named by --tree, which is only read."""

    name = "tree"

    def __init__(self, bench, opts, say):
        super().__init__(bench, opts, say)
        self.tree = os.path.realpath(opts.tree)

    def apply(self, state):
        pass

    def binding(self):
        return False

    def describe(self):
        return self.tree

    def discard(self):
        pass


WORKLOADS = {w.name: w for w in (Kernel, Images, Small, Large)}
