# SPDX-License-Identifier: MIT
"""Who holds what: written down when a command has not ended in time."""
import os
import shutil
import subprocess


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError as e:
        return f"({e.strerror})\n"


def mounts_below(path):
    return [m for m in (line.split()[4] for line in read("/proc/self/mountinfo").splitlines())
            if m.startswith(path + "/")]


def processes_of(path):
    """Other processes whose command line names something below the path: pid and command."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            text = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            if path + "/" in text:
                found.append((int(pid), text))
    return sorted(found)


def threads(pid):
    try:
        return sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return []


def shown(argv, env):
    try:
        r = subprocess.run(argv, env=env, capture_output=True, text=True, errors="replace",
                           timeout=20, check=False)
        return r.stdout + r.stderr
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"({e})\n"


def dump(world, job):
    """All of it, into the file `stuck` in the scratch directory."""
    with open(world.path("stuck"), "w") as out:
        out.write(f"== after {world.elapsed():.1f} s, process {job.process.pid}: "
                  f"{' '.join(job.argv)}\n")
        for pid, text in processes_of(world.dir):
            out.write(f"\n== {pid}: {text}\n")
            for t in threads(pid):
                at = f"/proc/{pid}/task/{t}/"
                out.write(f"-- thread {t} {read(at + 'comm').strip()}, "
                          f"waits in {read(at + 'wchan').strip()}\n{read(at + 'stack')}")
            if shutil.which("gdb"):
                out.write(shown(["gdb", "-batch", "-p", str(pid), "-ex",
                                 "thread apply all bt"], world.env))
        out.write(f"\n== /proc/locks\n{read('/proc/locks')}")
        out.write("\n== the store's files with their inodes\n")
        out.write(shown(["ls", "-li", world.store], world.env))
        connections = "/sys/fs/fuse/connections"
        for c in os.listdir(connections) if os.path.isdir(connections) else []:
            out.write(f"fuse {c}: {read(f'{connections}/{c}/waiting').strip()} wait\n")
        out.write("\n== chunkstore stats\n")
        out.write(shown(["chunkstore", "-s", world.store, "stats"], world.env))
