"""How quiet a machine was while something was measured on it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: what share of the cores others may use, and how far the parts of a measurement may differ,
#: before figures are not to be relied on
MOST_OTHERS, MOST_SPREAD = 0.1, 0.15


@dataclass(frozen=True)
class Disturbance:
    """What else the machine did.

    Attributes:
        load: processes that wanted to run, the mean of the last minute (``getloadavg``), at the
            beginning; None where the system does not tell.
        others: cores that other processes used, or that a hypervisor took, on average while
            measuring; None where the system does not tell.
        cores: there are.
    """

    load: float | None
    others: float | None
    cores: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {k: None if v is None else round(v, 3) for k, v in asdict(self).items()}

    def line(self, spread: float, threads: int) -> str | None:
        """What a user should know of these figures; None where the machine was quiet.

        Args:
            spread: the largest of the timings', see :class:`ssd_small.bench.timing.Timing`.
            threads: of the runtimes.
        """
        busy = self.others is not None and self.others > MOST_OTHERS * self.cores
        if not busy and spread <= MOST_SPREAD:
            return None
        facts = [f"parts of one measurement differ by up to {spread:.0%}"]
        if self.others is not None:
            facts.append(f"others used {self.others:.1f} of {self.cores} cores")
        if self.load is not None:
            facts.append(f"load {self.load:.1f} at the beginning")
        advice = "measure again when the machine is idle"
        if threads > 1:
            # threads wait for each other at every layer: one that is held up holds all of them up
            advice += f", or with --threads 1 (now {threads}), which others disturb less"
        return f"the machine was not quiet: {', '.join(facts)}; {advice}"


class Watch:
    """Begins to watch the machine when it is made."""

    def __init__(self) -> None:
        self._load: float | None = None
        with suppress(OSError, AttributeError):
            self._load = os.getloadavg()[0]
        self._started = time.perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def seen(self) -> Disturbance:
        """What happened since."""
        busy, own = _busy_seconds(), _own_seconds()
        elapsed = time.perf_counter() - self._started
        cores = os.cpu_count() or 1
        others = None
        if busy is not None and self._busy is not None and elapsed > 0:
            others = max(0.0, (busy - self._busy - (own - self._own)) / elapsed)
        return Disturbance(self._load, others, cores)


def _busy_seconds() -> float | None:
    """Seconds that all cores together were not idle, of ``/proc/stat``.

    Its line ``cpu`` holds user, nice, system, idle, iowait, irq, softirq and steal; user includes
    guest, the next one.
    """
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = [int(value) for value in fields]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _own_seconds() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    return sum(os.times()[:4])
