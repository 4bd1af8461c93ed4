# SPDX-License-Identifier: MIT
"""The others, from Debian, each as its manual says that this is done. See tools.py."""
import json
import os
import shlex

from measure import Cmd, shell
from tools import Tool


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
        self.points += 1
        return self.command("backup", ".", cwd=self.tree)

    def reported(self):
        text = self.bench.output(self.command("stats", "--json", "--mode", "raw-data"))
        return {"reported": json.loads(text.strip().splitlines()[-1])["total_size"]}

    def mount(self):
        return self.command("mount", self.mount_point())

    def newest(self):
        return os.path.join(self.mount_point(), "snapshots/latest")

    def restore(self, dest):
        return self.command("restore", "latest", "--target", dest)

    def verify(self):
        return self.command("check", "--read-data")

    def forget(self):
        return [self.command("forget", "--keep-last", "1", "--prune")]


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
        # what its manual says of disk images; with blocks as small as deduplicate best
        image = ["--chunker-params", "fixed,65536", "--sparse"] if self.workload.sparse else []
        return self.command("create", "-C", "zstd,3", *image,
                            self.store() + "::" + self.archive(), ".", cwd=self.tree)

    def reported(self):
        info = json.loads(self.bench.output(self.command("info", "--json", self.store())))
        return {"reported": info["cache"]["stats"]["unique_csize"]}

    def mount(self):
        return self.command("mount", "-f", self.store(), self.mount_point())

    def newest(self):
        return os.path.join(self.mount_point(), self.archive())

    def restore(self, dest):
        sparse = ["--sparse"] if self.workload.sparse else []
        return self.command("extract", *sparse, self.store() + "::" + self.archive(), cwd=dest)

    def verify(self):
        return self.command("check", "--verify-data", self.store())

    def forget(self):
        return [self.command("prune", "--keep-last", "1", self.store()),
                self.command("compact", self.store())]


class Casync(Tool):
    name = "casync"
    programs = ("casync",)
    mounter = ("casync",)
    packages = ("casync", "fuse3")
    version_commands = (["casync", "--version"],)

    def command(self, action, *args, options=()):
        return Cmd(["casync", action, f"--store={self.store()}/default.castr", *options, *args])

    def empty(self):
        super().empty()
        os.mkdir(self.store())

    def index(self):
        return os.path.join(self.store(), f"point{self.points}.caidx")

    def backup(self):
        self.points += 1
        return self.command("make", self.index(), self.tree, options=(
            "--compression=zstd", "--exclude-nodump=no", "--exclude-file=no"))

    def mount(self):
        return self.command("mount", self.index(), self.mount_point())

    def restore(self, dest):
        holes = ("--punch-holes=yes",) if self.workload.sparse else ()
        return self.command("extract", self.index(), dest, options=("--seed-output=no", *holes))

    def verify(self):  # reads all of the newest point
        return self.command("digest", self.index())

    def forget(self):
        old = [os.path.join(self.store(), f"point{i}.caidx") for i in range(1, self.points)]
        return [Cmd(["rm", *old]), self.command("gc", self.index())]


class Image(Tool):
    """Makes all anew each time, and a file of it."""

    incremental = False


class Squashfs(Image):
    """The read-only file system to compare a mount with."""

    name = "squashfs"
    programs = ("mksquashfs",)
    mounter = ("squashfuse_ll",)
    packages = ("squashfs-tools", "squashfuse")
    version_commands = (["mksquashfs", "-version"], ["squashfuse_ll", "--help"])

    def backup(self):
        return Cmd(["mksquashfs", self.tree, self.store(), "-comp", "zstd",
                    "-Xcompression-level", "3", "-b", "131072", "-noappend", "-no-progress",
                    "-quiet"])

    def mount(self):
        return Cmd(["squashfuse_ll", "-f", self.store(), self.mount_point()])

    def restore(self, dest):
        return Cmd(["unsquashfs", "-q", "-n", "-f", "-d", dest, self.store()])


class Erofs(Image):
    """The other one. Debian 12 has mkfs.erofs but no erofsfuse; later releases have both."""

    name = "erofs"
    programs = ("mkfs.erofs", "erofsfuse")
    mounter = ("erofsfuse",)
    packages = ("erofs-utils", "erofsfuse")
    version_commands = (["mkfs.erofs", "-V"], ["erofsfuse", "--help"])
    why_absent = " (not in Debian 12; the kernel's own mount would be no FUSE peer)"

    def backup(self):
        return Cmd(["mkfs.erofs", "--quiet", "-zlz4hc", self.store(), self.tree])

    def mount(self):
        return Cmd(["erofsfuse", "-f", self.store(), self.mount_point()])


class Tar(Image):
    """What a backup and a restore come to without any of this."""

    name = "tar"
    programs = ("tar", "zstd")
    packages = ("tar", "zstd")
    version_commands = (["tar", "--version"], ["zstd", "--version"])

    def backup(self):
        holes = "S" if self.workload.sparse else ""
        return shell(f"set -o pipefail; tar c{holes}f - -C {shlex.quote(self.tree)} . | "
                     f"zstd -3 -T2 -q -f -o {shlex.quote(self.store())}")

    def restore(self, dest):
        return shell(f"set -o pipefail; zstd -dcq {shlex.quote(self.store())} | "
                     f"tar xpf - -C {shlex.quote(dest)}")

    def verify(self):
        return Cmd(["zstd", "-tq", self.store()])


PEERS = {t.name: t for t in (Restic, Borg, Casync, Squashfs, Erofs, Tar)}
