"""How much memory a timed program has taken.

Lives here: the peak as Linux keeps it for the program itself. Doesn't: what the kernel says by ``getrusage``, which
counts what the process that started it had taken by then.
"""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> float:
    """The largest resident size of this process so far, in MiB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1_024
