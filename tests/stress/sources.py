# SPDX-License-Identifier: MIT
"""Trees that change in place, as the sources of real backups do.

Large files are made of pieces, and some small ones are taken from a set, that
the trees of all series have in common. Which pieces are in use changes with
time and comes round: so the same chunk is needed, not needed by anybody, and
needed again, and it is each time another series that finds it.
"""
import os
import random
import stat

ERAS = 4
ERA_SECONDS = 7
PIECES = 30  # an era
SMALLS = 25
WORDS = ("chunk bundle page point series store lease mark free live dead slot row table index "
         "file inode name hole link time mode owner size").split()


def content(rng, size):
    """Bytes that cannot be compressed, or text."""
    if rng.random() < 0.5:
        return rng.randbytes(size)
    text = " ".join(rng.choices(WORDS, k=min(size // 5 + 1, 3000))).encode()
    text += rng.randbytes(8).hex().encode()
    return (text * (size // len(text) + 1))[:size]


class Pool:
    """What trees have in common; the same for the same seed."""

    def __init__(self, seed, elapsed):
        self.seed = seed
        self.elapsed = elapsed
        self.made = {}

    def get(self, what, era, i, low, high):
        key = (what, era, i)
        if key not in self.made:
            rng = random.Random(f"{self.seed}/{key}")
            self.made[key] = content(rng, rng.randrange(low, high))
        return self.made[key]

    def era(self):
        return int(self.elapsed() / ERA_SECONDS) % ERAS

    def piece(self, rng):
        return self.get("piece", self.era(), rng.randrange(PIECES), 40 << 10, 300 << 10)

    def small(self, rng):
        return self.get("small", self.era(), rng.randrange(SMALLS), 1, 30 << 10)


class Source:
    def __init__(self, path, rng, pool, files, large):
        self.path = path
        self.rng = rng
        self.pool = pool
        self.files = files  # about so many
        self.large = large  # at most so many
        self.serial = 0
        os.mkdir(path)
        os.mkdir(os.path.join(path, "large"))
        for _ in range(3):
            self.make_dir()
        for _ in range(files):
            self.make_file()
        for _ in range(large):
            self.make_large()

    # ------------------------------------------------------------ looking

    def entries(self):
        """Paths of directories, and of everything else, outside of large/."""
        dirs, others = [], []
        for root, names, files in os.walk(self.path):
            names.sort()
            if root != os.path.join(self.path, "large"):
                dirs.append(root)
                others += sorted(os.path.join(root, f) for f in files)
        return dirs, others

    def new_name(self, where=None):
        self.serial += 1
        odd = self.rng.choice(["", "", "", " ", "\n", "ü", "\\", "'"])
        name = f"{self.rng.choice(WORDS)}{odd}{self.serial}"
        return os.path.join(where or self.rng.choice(self.entries()[0]), name)

    def regular(self):
        found = [f for f in self.entries()[1] if stat.S_ISREG(os.lstat(f).st_mode)]
        return self.rng.choice(found) if found else None

    # ------------------------------------------------------------ changing

    def mutate(self):
        """Everything that can happen between two backups, a little of it."""
        rng = self.rng
        for _ in range(rng.choice([0, 1, 5, 20, self.files // 2])):
            rng.choice([self.change, self.change, self.make_file, self.make_file, self.remove,
                        self.rename, self.link, self.make_dir, self.make_sparse,
                        self.make_symlink, self.attributes])()
        while len(self.entries()[1]) > self.files * 3 // 2:
            self.remove()
        if rng.random() < 0.7:
            rng.choice([self.make_large, self.change_large])()
        large = os.path.join(self.path, "large")
        while len(os.listdir(large)) > self.large:
            os.unlink(os.path.join(large, rng.choice(sorted(os.listdir(large)))))

    def write(self, path, data, mode="wb"):
        with open(path, mode) as f:
            f.write(data)

    def make_file(self):
        rng = self.rng
        data = rng.choice([
            lambda: b"", lambda: self.pool.small(rng), lambda: self.pool.small(rng),
            lambda: content(rng, rng.randrange(1, 6000)),
            lambda: content(rng, rng.randrange(1, 60000)),
        ])()
        self.write(self.new_name(), data)

    def make_large(self):
        size = self.rng.choice([1, 1, 2, 3, 8]) << 20
        data = b""
        while len(data) < size:
            data += self.pool.piece(self.rng)
        self.write(self.new_name(os.path.join(self.path, "large")), data)

    def change_large(self):
        names = sorted(os.listdir(os.path.join(self.path, "large")))
        path = os.path.join(self.path, "large", self.rng.choice(names))
        with open(path, "r+b") as f:
            f.seek(self.rng.randrange(os.path.getsize(path) + 1))
            f.write(self.pool.piece(self.rng))

    def make_sparse(self):
        with open(self.new_name(), "wb") as f:
            f.truncate(self.rng.randrange(1, 4 << 20))
            for _ in range(self.rng.randrange(3)):
                f.seek(self.rng.randrange(4 << 20))
                f.write(content(self.rng, 9000))

    def change(self):
        path, rng = self.regular(), self.rng
        if not path:
            return
        size = os.path.getsize(path)
        kind = rng.randrange(4)
        with open(path, "r+b") as f:
            if kind == 0:
                f.truncate(rng.randrange(size + 1))
            elif kind == 1:
                f.seek(0, os.SEEK_END)
                f.write(content(rng, rng.randrange(1, 5000)))
            elif kind == 2:
                f.seek(rng.randrange(size + 1))
                f.write(content(rng, rng.randrange(1, 5000)))
            else:
                f.write(content(rng, min(size, 100000)))  # the same size, other bytes

    def remove(self):
        dirs, others = self.entries()
        empty = [d for d in dirs[1:] if not os.listdir(d)]
        if empty and self.rng.random() < 0.3:
            os.rmdir(self.rng.choice(empty))
        elif others:
            os.unlink(self.rng.choice(others))

    def rename(self):
        dirs, others = self.entries()
        old = self.rng.choice(dirs[1:] + others) if dirs[1:] + others else None
        into = [d for d in dirs if old and not (d + "/").startswith(old + "/")]
        if into:
            os.rename(old, self.new_name(self.rng.choice(into)))

    def link(self):
        path = self.regular()
        if path:
            os.link(path, self.new_name())

    def make_dir(self):
        os.mkdir(self.new_name())

    def make_symlink(self):
        os.symlink(self.rng.choice(WORDS) * self.rng.randrange(1, 30), self.new_name())

    def attributes(self):
        path, rng = self.regular(), self.rng
        if not path:
            return
        os.chmod(path, rng.choice([0o600, 0o644, 0o755, 0o440]) | 0o600)
        os.utime(path, ns=(0, rng.randrange(1 << 60)))
        try:
            os.setxattr(path, "user.stress", content(rng, rng.randrange(1, 200)))
        except OSError:
            pass  # this file system has none
