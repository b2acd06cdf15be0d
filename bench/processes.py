"""What the system says about a process: its memory now, and the most it ever had."""

from __future__ import annotations

from pathlib import Path

_RESET_PEAK = "5"
_KIB = 1024


def resident(pid: int) -> int:
    """Return the bytes in memory now, of the process and its children."""
    return _total(pid, "VmRSS")


def peak(pid: int) -> int:
    """Return the most bytes it had in memory since `reset_peak`; of several processes the sum of each one's."""
    return _total(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Begin anew to look for the peak."""
    for process in _family(pid):
        Path(f"/proc/{process}/clear_refs").write_text(_RESET_PEAK)


def _total(pid: int, field: str) -> int:
    return sum(_field(process, field) for process in _family(pid))


def _field(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * _KIB
    return 0


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]
