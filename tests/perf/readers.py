# SPDX-License-Identifier: MIT
"""How a tree is read: one command a measure, the same for a mount and for the source itself."""
import json
import os
import random
import shlex

from measure import Cmd, Failed, shell

RANDOM_FILES, SEED = 3000, 1
RANDOM_READS = {"rand4k": (4 << 10, 4096), "rand64k": (64 << 10, 2048)}  # size, count
NOTHING = "qzxjvkwq_not_there"  # what grep looks for

TITLES = {
    "find": "find -ls of the newest point",
    "cp": "cp -a of the newest point",
    "cp1": "cp -a, that point alone mounted",
    "copyr": "cp -r of the newest point",
    "tar": "tar of the newest point",
    "grep": "grep -r in a part of it",
    "random": f"{RANDOM_FILES} random files",
    "again": "the same again: tar or sequential, the second time",
    "one": "all files, one reader",
    "four": "all files, four readers",
    "seq": "one large file, sequentially",
    "seqz": "one large file that compresses, sequentially",
    "rand4k": "4096 random reads of 4 KiB",
    "rand64k": "2048 random reads of 64 KiB",
}
COPIES = ("cp", "cp1", "copyr")


class Readers:
    def __init__(self, bench, workload, files):
        self.bench = bench
        self.workload = workload
        self.all = self.save("all", files)
        self.some = self.save("some", random.Random(SEED).sample(files, min(RANDOM_FILES,
                                                                           len(files))))
        self.offsets = {name: self.choose(*of) for name, of in RANDOM_READS.items()
                        if workload.large and name in workload.reads}

    def save(self, name, files):
        path = self.bench.path("list-" + name)
        with open(path, "wb") as f:
            f.write(b"".join(os.fsencode(p) + b"\0" for p in files))
        return path

    def choose(self, size, count):
        """Offsets of reads, aligned, where the file that is read at random has data."""
        path = os.path.join(self.workload.tree, self.random_file())
        ranges, end = [], os.path.getsize(path)
        with open(path, "rb") as f:
            at = 0
            while at < end:
                try:
                    begin = os.lseek(f.fileno(), at, os.SEEK_DATA)
                except OSError:
                    break
                at = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
                ranges.append((begin // size, max(at // size, begin // size + 1)))
        rng = random.Random(SEED)
        weights = [b - a for a, b in ranges]
        last = end // size - 1
        return [min(rng.randrange(*r), last) * size
                for r in rng.choices(ranges, weights, k=count)]

    def random_file(self):
        """The one that compresses, if there are two."""
        return self.workload.large[-1]

    # -------------------------------------------------------- commands

    def command(self, name, root, dest):
        """What reads root; dest is where copies go."""
        where = shlex.quote(root)
        if name == "find":
            return shell(f"find {where}/. -ls >/dev/null")
        if name in ("cp", "cp1"):
            return Cmd(["cp", "-a", root + "/.", dest])
        if name == "copyr":
            return Cmd(["cp", "-r", root + "/.", dest])
        if name == "grep":
            below = os.path.join(root, self.workload.grep)
            return Cmd(["grep", "-r", NOTHING, below], ok=(1,))
        if name == "random":
            return self.files(self.some, 1, root)
        if name in RANDOM_READS:
            return self.fio(name, os.path.join(root, self.random_file()))
        if name in ("seq", "seqz"):
            file = self.workload.large[0 if name == "seq" else -1]
            return self.sequential(os.path.join(root, file))
        if self.workload.large:
            return (self.sequential(os.path.join(root, self.workload.large[0]))
                    if name == "again" else self.quarters(root))
        if name in ("tar", "again"):  # through a pipe: into /dev/null itself tar would not read
            return shell(f"set -o pipefail; tar cf - -C {where} . | cat >/dev/null")
        return self.files(self.all, 4 if name == "four" else 1, root)

    @staticmethod
    def files(names, readers, root):
        return shell(f"xargs -0 -n 250 -P {readers} cat -- <{shlex.quote(names)} >/dev/null",
                     cwd=root)

    @staticmethod
    def sequential(path):
        return Cmd(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"])

    def quarters(self, root):
        file = self.workload.large[-1]
        part = max((os.path.getsize(os.path.join(self.workload.tree, file)) >> 20) // 4, 1)
        line = "; ".join(f"dd if={shlex.quote(os.path.join(root, file))} of=/dev/null bs=1M "
                         f"status=none skip={i * part} count={part} &" for i in range(4))
        return shell(line.replace("&;", "&") + " wait")

    def fio(self, name, path):
        size, _ = RANDOM_READS[name]
        log = self.bench.path("iolog")
        with open(log, "w") as f:
            f.write(f"fio version 2 iolog\n{path} add\n{path} open\n")
            f.writelines(f"{path} read {at} {size}\n" for at in self.offsets[name])
            f.write(f"{path} close\n")
        c = Cmd(["fio", "--name=random", "--readonly", "--ioengine=psync", f"--bs={size}",
                 f"--read_iolog={log}", "--output-format=json"])
        c.seconds = fio_seconds
        return c


def fio_seconds(text):
    """The time that the reads took, without fio's own start."""
    try:
        read = json.loads(text[text.index("{"):])["jobs"][0]["read"]
        if not read["total_ios"]:
            raise Failed("fio read nothing")
        # runtime is whole milliseconds; the mean latency is finer where reads are quick
        return max(read["lat_ns"]["mean"] * read["total_ios"] / 1e9, 1e-6)
    except (ValueError, LookupError) as e:
        raise Failed(f"fio printed no figures: {e}") from e
