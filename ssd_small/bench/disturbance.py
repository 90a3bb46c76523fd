"""How quiet a machine was while something was measured on it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: share of the cores that others may use, and spread between the parts of a measurement, up to
#: which figures are considered reliable
MOST_OTHERS, MOST_SPREAD = 0.1, 0.15


@dataclass(frozen=True)
class Disturbance:
    """What else the machine did during a measurement.

    Attributes:
        load: load average over the last minute (``getloadavg``) at the beginning; None if the
            system does not provide it.
        others: cores used by other processes or taken by a hypervisor, on average during the
            measurement; None if the system does not provide it.
        cores: number of cores of the machine.
    """

    load: float | None
    others: float | None
    cores: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {k: None if v is None else round(v, 3) for k, v in asdict(self).items()}

    def line(self, spread: float, threads: int) -> str | None:
        """Return a warning about the figures; None if the machine was quiet.

        Args:
            spread: the largest spread of the timings (:class:`ssd_small.bench.timing.Timing`).
            threads: CPU threads of the runtimes.
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
            # threads wait for each other at every layer, so delaying one delays all
            advice += f", or with --threads 1 (now {threads}), which others disturb less"
        return f"the machine was not quiet: {', '.join(facts)}; {advice}"


class Watch:
    """Watches the machine from its creation on."""

    def __init__(self) -> None:
        self._load: float | None = None
        with suppress(OSError, AttributeError):
            self._load = os.getloadavg()[0]
        self._started = time.perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def seen(self) -> Disturbance:
        """Return what has happened since then."""
        busy, own = _busy_seconds(), _own_seconds()
        elapsed = time.perf_counter() - self._started
        cores = os.cpu_count() or 1
        others = None
        if busy is not None and self._busy is not None and elapsed > 0:
            others = max(0.0, (busy - self._busy - (own - self._own)) / elapsed)
        return Disturbance(self._load, others, cores)


def _busy_seconds() -> float | None:
    """Return the seconds for which cores were busy, summed over all, from ``/proc/stat``.

    Its ``cpu`` line holds user, nice, system, idle, iowait, irq, softirq and steal; user includes
    guest, the field after them.
    """
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = [int(value) for value in fields]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _own_seconds() -> float:
    """Return the CPU seconds of this process and of the children it has waited for."""
    return sum(os.times()[:4])
