"""Run a command; print its wall time, CPU time and the most memory that its processes had at once.

    python tests/scale/measure.py harness audit --dataset nct-crc-he

Memory is PSS, which counts what processes share once, looked at twice a second. Linux alone.
"""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import sys
import time
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def pss(pid: int) -> int:
    """Proportional set size of a process in bytes."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        if found := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE):
            return int(found[1]) * 1024
    return 0


def main(command: list[str]) -> int:
    """Run it and print."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        peak = max(peak, sum(map(pss, tree(process.pid))))
        time.sleep(0.5)
    wall = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{wall:.1f} s, {cpu:.1f} s of CPU, at most {peak / 1e9:.2f} GB", file=sys.stderr)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
