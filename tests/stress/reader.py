# SPDX-License-Identifier: MIT
"""One reading of a point in a mount, compared with its frozen source.

    reader.py HOW POINT TRUTH SEED [SCRATCH]

A process of its own, since it may hang, or die of a signal (a page that is
mapped and cannot be read). Prints one line of JSON: "bytes" compared, whether
the point could be "entered", and "error" (an errno's name and where) or
"wrong" (what differs), if anything.
"""
import errno
import json
import mmap
import os
import random
import stat
import subprocess
import sys
import time

POLL_SECONDS = 20  # after which a forgotten point's name has to be gone at the latest


class Wrong(Exception):
    """The point does not hold what its source held."""


class Reader:
    def __init__(self, point, truth, seed, scratch):
        self.point = point
        self.truth = truth
        self.rng = random.Random(seed)
        self.scratch = scratch
        self.bytes = 0
        self.entered = False
        self.more = {}

    # ------------------------------------------------------------ the truth

    def files(self):
        """Paths of regular files, relative."""
        found = []
        for root, _, names in os.walk(self.truth):
            for n in names:
                path = os.path.join(root, n)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    found.append(os.path.relpath(path, self.truth))
        return sorted(found)

    def expected(self, name):
        with open(os.path.join(self.truth, name), "rb") as f:
            return f.read()

    def same(self, name, got, want, at=0):
        if len(got) != len(want):
            raise Wrong(f"{name}: {len(got)} bytes at {at}, not {len(want)}")
        if got != want:
            i = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
            raise Wrong(f"{name}: differs at {at + i}: {got[i:i + 16].hex()}, "
                        f"not {want[i:i + 16].hex()}")
        self.bytes += len(want)

    # ------------------------------------------------------------ ways to read

    def enter(self):
        """Its root, which then leads to all of it."""
        root = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        self.entered = True
        return root

    def open_file(self, root, name):
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root)

    def forget_pages(self, fd):
        """So that they are asked for again."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def pread(self, fd, n, at):
        """What was read before an error is no answer: ask on until the error, or the end."""
        got = b""
        while len(got) < n:
            part = os.pread(fd, n - len(got), at + len(got))
            if not part:
                break
            got += part
        return got

    def ranges(self, size):
        """The whole file, or some ranges of it, in any order."""
        if self.rng.random() < 0.5:
            step = self.rng.choice([4096, 65536, 131072, 1 << 20])
            cut = [(at, step) for at in range(0, size + 1, step)]
        else:
            cut = [(self.rng.randrange(size + 1), self.rng.choice([1, 511, 4096, 70000, 400000]))
                   for _ in range(8)]
        self.rng.shuffle(cut)
        return cut[:200]

    def read_open(self, fd, name):
        want = self.expected(name)
        for at, n in self.ranges(len(want)):
            self.same(name, self.pread(fd, n, at), want[at:at + n], at)

    def read_mapped(self, fd, name):
        want = self.expected(name)
        if os.fstat(fd).st_size != len(want):
            raise Wrong(f"{name}: size {os.fstat(fd).st_size}, not {len(want)}")
        if not want:
            return
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
            for at, n in self.ranges(len(want)):
                self.same(name, m[at:at + n], want[at:at + n], at)

    def some_files(self, read):
        root = self.enter()
        names = self.files()
        for name in self.rng.sample(names, min(len(names), 25)):
            fd = self.open_file(root, name)
            if self.rng.random() < 0.5:
                self.forget_pages(fd)
            read(fd, name)
            os.close(fd)

    def listing(self):
        """Each directory has exactly its names, and each name its type and size."""
        root = self.enter()
        for where, _, _ in os.walk(self.truth):
            name = os.path.relpath(where, self.truth)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
            got = sorted(os.listdir(fd))
            if got != sorted(os.listdir(where)):
                raise Wrong(f"{name}: lists {got}, not {sorted(os.listdir(where))}")
            for n in got:
                a = os.stat(n, dir_fd=fd, follow_symlinks=False)
                b = os.lstat(os.path.join(where, n))
                if a.st_mode != b.st_mode or (not stat.S_ISDIR(b.st_mode) and
                                              a.st_size != b.st_size):
                    raise Wrong(f"{name}/{n}: mode {a.st_mode:o}, size {a.st_size}; not "
                                f"{b.st_mode:o}, {b.st_size}")
            os.close(fd)

    def copy(self):
        """cp -a, from within."""
        os.chdir(self.point)
        self.entered = True
        r = subprocess.run(["cp", "-a", ".", self.scratch], capture_output=True, text=True,
                           errors="replace", check=False)
        if r.returncode != 0:
            self.complain("cp -a", r.stderr)
        self.compare(self.scratch)

    def tree(self):
        """The whole tree, by a program that knows nothing of us."""
        os.chdir(self.point)
        self.entered = True
        self.compare(".")

    def compare(self, path):
        r = subprocess.run(["treecmp", self.truth, path, "--max", "5"], capture_output=True,
                           text=True, errors="replace", check=False)
        if r.returncode != 0:
            self.complain("treecmp", r.stdout + r.stderr)
        self.bytes += sum(os.path.getsize(os.path.join(self.truth, n)) for n in self.files())

    def complain(self, program, text):
        """The error that the program met, the worst first; without one it found a difference."""
        self.more["text"] = text[:2000]
        if "content differs" not in text and ": content ends" not in text:
            for e in (errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ECONNABORTED):
                if f": {os.strerror(e)}\n" in text:
                    raise OSError(e, program)
        raise Wrong(program)

    def gone(self):
        """The name of a point that was forgotten: not there, at the latest after a moment."""
        end = time.monotonic() + POLL_SECONDS
        tries = 0
        while True:
            tries += 1
            self.more["tries"] = tries
            try:
                os.stat(self.point)
            except FileNotFoundError:
                return
            if time.monotonic() > end:
                raise Wrong(f"{self.point} is still there {POLL_SECONDS} s after it was forgotten")
            time.sleep(0.02)

    # ------------------------------------------------------------ holding

    def hold(self):
        """Be in the point, wait for a line on stdin, then read everything there is."""
        names = self.files()
        name = self.rng.choice([n for n in names if n.startswith("large/")] or names)
        kind = self.rng.choice(["open", "mapped", "cwd", "directory"])
        self.more["kind"] = kind
        root = self.enter()
        if kind in ("open", "mapped"):
            fd = self.open_file(root, name)
            os.close(root)
            self.forget_pages(fd)
            m = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if kind == "mapped" else None
            if m:
                os.close(fd)
        elif kind == "cwd":
            os.fchdir(root)
            os.close(root)
        print("in", flush=True)
        sys.stdin.readline()
        if kind == "open":
            self.same(name, self.pread(fd, os.fstat(fd).st_size, 0), self.expected(name))
        elif kind == "mapped":
            self.same(name, m[:], self.expected(name))
        elif kind == "cwd":
            self.compare(".")
        else:
            self.compare(f"/proc/self/fd/{root}")

    def run(self, how):
        ways = {"files": lambda: self.some_files(self.read_open),
                "mmap": lambda: self.some_files(self.read_mapped),
                "list": self.listing, "copy": self.copy, "tree": self.tree, "gone": self.gone,
                "hold": self.hold}
        try:
            ways[how]()
        except Wrong as e:
            self.more["wrong"] = str(e)
        except OSError as e:
            self.more["error"] = errno.errorcode.get(e.errno, str(e.errno))
            self.more["where"] = str(e.filename or e.strerror)
        print(json.dumps({"bytes": self.bytes, "entered": self.entered, **self.more}), flush=True)


if __name__ == "__main__":
    Reader(sys.argv[2], sys.argv[3], sys.argv[4],
           sys.argv[5] if len(sys.argv) > 5 else None).run(sys.argv[1])
