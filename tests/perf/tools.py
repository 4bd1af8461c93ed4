# SPDX-License-Identifier: MIT
"""What is compared: how each tool stores, lists, mounts, restores and checks.

One class a tool. A step that a tool does not have returns None. All of them
work with their defaults, except that borg and squashfs are told to compress as
chunkstore and restic do (zstd, level 3) and borg not to encrypt; restic cannot
be told not to.
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
    why_absent = ""

    def __init__(self, bench, tree):
        self.bench = bench
        self.tree = tree
        self.dir = bench.path(self.name)
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
            lines = [s.strip() for s in text.splitlines() if re.search(r"\d\.\d", s)]
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

    def store(self):
        return os.path.join(self.dir, "store")

    def mount_point(self):
        return self.bench.path("mnt-" + self.name)

    def init(self):
        return None

    def backup(self):
        raise NotImplementedError

    def again(self):
        """The command of a backup when nothing has changed."""
        return self.backup()

    def reported(self):
        """The bytes that the tool says it stores."""
        return None

    def mount(self):
        return None

    def newest(self):
        """Where the newest point's root is while mounted."""
        return self.mount_point()

    def restore(self, dest):
        return None

    def verify(self):
        return None


class Chunkstore(Tool):
    name = "chunkstore"

    def __init__(self, bench, tree, chunkstore, chunkfs):
        super().__init__(bench, tree)
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
        return self.command("backup", "-q", "--series", "bench", "--root", self.tree)

    def reported(self):
        return json.loads(self.bench.output(self.command("stats", "--json")))["stored_bytes"]

    def mount(self):
        return Cmd([self.chunkfs, "-f", self.store(), self.mount_point()])

    def newest(self):
        return os.path.join(self.mount_point(), "bench/latest")

    def restore(self, dest):
        c = self.command("restore", "-q", "bench/latest", dest)
        if os.geteuid() != 0:  # owners could not be given back, which it says
            c.ok = (0, 3)
        return c

    def verify(self):
        return self.command("verify", "-q")


class Restic(Tool):
    name = "restic"
    programs = ("restic",)
    mounter = ("fusermount",)
    packages = ("restic", "fuse3")
    version_commands = (["restic", "version"],)

    def command(self, *args, cwd=None):
        return Cmd(["restic", "-q", "-r", self.store(), "--cache-dir",
                    os.path.join(self.dir, "cache"), *args], cwd, {"RESTIC_PASSWORD": "bench"})

    def init(self):
        return self.command("init")

    def backup(self):
        return self.command("backup", ".", cwd=self.tree)

    def reported(self):
        text = self.bench.output(self.command("stats", "--json", "--mode", "raw-data"))
        return json.loads(text.strip().splitlines()[-1])["total_size"]

    def mount(self):
        return self.command("mount", self.mount_point())

    def newest(self):
        return os.path.join(self.mount_point(), "snapshots/latest")

    def restore(self, dest):
        return self.command("restore", "latest", "--target", dest)

    def verify(self):
        return self.command("check", "--read-data")


class Borg(Tool):
    name = "borg"
    programs = ("borg",)
    mounter = ("borg", "fusermount3")
    packages = ("borgbackup", "python3-pyfuse3", "fuse3")
    version_commands = (["borg", "--version"],)

    def command(self, *args, cwd=None):
        return Cmd(["borg", *args], cwd, {
            "BORG_BASE_DIR": self.dir,
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        })

    def init(self):
        return self.command("init", "-e", "none", self.store())

    def archive(self):
        return f"point{self.points}"

    def backup(self):
        self.points += 1
        return self.command("create", "-C", "zstd,3", self.store() + "::" + self.archive(), ".",
                            cwd=self.tree)

    def reported(self):
        info = json.loads(self.bench.output(self.command("info", "--json", self.store())))
        return info["cache"]["stats"]["unique_csize"]

    def mount(self):
        return self.command("mount", "-f", self.store(), self.mount_point())

    def newest(self):
        return os.path.join(self.mount_point(), self.archive())

    def restore(self, dest):
        return self.command("extract", self.store() + "::" + self.archive(), cwd=dest)

    def verify(self):
        return self.command("check", "--verify-data", self.store())


class Squashfs(Tool):
    """An image, made anew each time; the read-only file system to compare a mount with."""

    name = "squashfs"
    programs = ("mksquashfs",)
    mounter = ("squashfuse_ll",)
    packages = ("squashfs-tools", "squashfuse")
    version_commands = (["mksquashfs", "-version"], ["squashfuse_ll", "--help"])

    def backup(self):
        return Cmd(["mksquashfs", self.tree, self.store(), "-comp", "zstd",
                    "-Xcompression-level", "3", "-b", "131072", "-noappend", "-no-progress",
                    "-quiet"])

    def again(self):
        return None

    def mount(self):
        return Cmd(["squashfuse_ll", "-f", self.store(), self.mount_point()])

    def restore(self, dest):
        return Cmd(["unsquashfs", "-q", "-n", "-f", "-d", dest, self.store()])


class Erofs(Tool):
    """The other one. Debian 12 has mkfs.erofs but no erofsfuse; later releases have both."""

    name = "erofs"
    programs = ("mkfs.erofs", "erofsfuse")
    mounter = ("erofsfuse",)
    packages = ("erofs-utils", "erofsfuse")
    version_commands = (["mkfs.erofs", "-V"], ["erofsfuse", "--help"])

    def backup(self):
        return Cmd(["mkfs.erofs", "--quiet", "-zlz4hc", self.store(), self.tree])

    def again(self):
        return None

    def mount(self):
        return Cmd(["erofsfuse", "-f", self.store(), self.mount_point()])


PEERS = {t.name: t for t in (Restic, Borg, Squashfs, Erofs)}
