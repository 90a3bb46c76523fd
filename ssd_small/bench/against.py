"""Comparing two runs of ``bench``: whether they are comparable, and whether one is slower."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BadFile, CheckFailed, UsageError
from ..json_files import read_json
from ..requirements import require

#: significance level of the rank test
SIGNIFICANCE = 0.01
#: entries of the machine's description in which two runs must agree; the version of ssd-small may
#: differ, since that is what is compared
_MACHINE = ("cpu", "cores", "gpus", "driver", "system", "python", "packages")
_KEY = ("model", "runtime", "precision", "batch")
Verdict = Literal["faster", "slower", "same"]


@dataclass(frozen=True)
class Change:
    """One network in two runs.

    Attributes:
        model, runtime, precision, batch: what was measured.
        before, after: median of the total milliseconds per image.
        ratio: after divided by before.
        spread: the larger of the two runs' spreads, which is due to the machine alone.
        p_value: of Mann and Whitney's rank test (1947), two-sided, on the individual durations.
        verdict: faster or slower if the test is significant and the change exceeds the spread.
    """

    model: str
    runtime: str
    precision: str
    batch: int
    before: float
    after: float
    ratio: float
    spread: float
    p_value: float
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}


def read_report(path: Path) -> dict[str, Any]:
    """Read a report of ``bench --json``.

    Raises:
        BadFile: it is not such a report, or from a version that did not keep individual durations.
    """
    report = read_json(path, "a report of 'bench --json'")
    rows = report.get("results") if isinstance(report, dict) else None
    if not isinstance(rows, list) or not isinstance(report.get("machine"), dict) or not rows:
        raise BadFile(f"{path} is no report of a bench: expected the output of 'bench --json'")
    for row in rows:
        fine = isinstance(row, dict) and all(isinstance(row.get(k), (str, int)) for k in _KEY)
        samples = row.get("samples_ms") if fine else None
        numbers = isinstance(samples, list) and all(isinstance(v, (int, float)) for v in samples)
        timing = row.get("total_ms") if fine else None
        timed = isinstance(timing, dict) and all(
            isinstance(timing.get(k), (int, float)) and timing[k] >= 0 for k in ("median", "spread")
        )
        if not (numbers and samples and timed):
            raise BadFile(
                f"{path}: a row has no samples_ms, median or spread; measure it again with this "
                "version's 'bench --json'"
            )
    return dict(report)


def check_alike(old: dict[str, Any], machine: dict[str, Any], threads: int) -> None:
    """Refuse a comparison with a run under other conditions, before anything is measured.

    Raises:
        UsageError: the other run was on another machine, or with other versions or threads.
    """
    before = old["machine"]
    unlike = [
        f"{key} {_difference(before.get(key), machine.get(key))}"
        for key in _MACHINE
        if before.get(key) != machine.get(key)
    ]
    if old.get("threads") != threads:
        unlike.append(f"threads {_difference(old.get('threads'), threads)}")
    _refuse(unlike)


def check_comparable(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse a comparison of runs without comparable rows.

    Raises:
        UsageError: no network is in both runs, or one was measured with other thresholds.
    """
    pairs = _pairs(old, new)
    if not pairs:
        before = ", ".join(dict.fromkeys(" ".join(map(str, _key(r))) for r in old["results"]))
        raise UsageError(f"--against: no network of this run is in the other, which has {before}")
    _refuse(
        [
            f"post-processing of {after['model']} "
            f"{_difference(before.get('postprocess'), after['postprocess'])}"
            for before, after in pairs
            if before.get("postprocess") != after["postprocess"]
        ][:1]
    )


def _refuse(unlike: list[str]) -> None:
    if unlike:
        raise UsageError(
            f"--against: the runs are unlike ({'; '.join(unlike)}); measure both alike"
        )


def changes_of_reports(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Return what changed between two reports, for each row that both have.

    Raises:
        MissingRequirement: scipy is not installed.
    """
    return [_change(before, after) for before, after in _pairs(old, new)]


def check_not_slower(changes: list[Change], other: str) -> None:
    """Fail if anything is slower than in the run ``other``.

    Raises:
        CheckFailed: something is slower.
    """
    slower = [one for one in changes if one.verdict == "slower"]
    if slower:
        worst = max(slower, key=lambda one: one.ratio)
        raise CheckFailed(
            f"{len(slower)} of {len(changes)} are slower than in {other}; {worst.model} "
            f"({worst.runtime}) by {worst.ratio - 1:.1%}: {worst.before:.2f} to {worst.after:.2f} "
            f"ms, with a spread of {worst.spread:.1%}"
        )


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pair rows of equal network, runtime, precision, batch and tiles; repeated ones in order."""
    waiting: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in old["results"]:
        waiting[_key(row)].append(row)
    return [(waiting[_key(r)].pop(0), r) for r in new["results"] if waiting[_key(r)]]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    # the engine's path is left out, so that two builds can be compared
    tiled = row.get("tiled") or {}  # runs from before there were tiles have no such entry
    return (*(row[key] for key in _KEY), *(f"{name} {value}" for name, value in tiled.items()))


def _difference(before: Any, after: Any) -> str:
    """Describe a difference; for two mappings, the entries that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        return ", ".join(f"{k} {before.get(k)}, now {after.get(k)}" for k in keys[:4])
    return f"{before or 'unknown'}, now {after or 'unknown'}"


def _change(old: dict[str, Any], new: dict[str, Any]) -> Change:
    stats = require("scipy.stats", "comparing two runs (bench --against)")
    before, after = old["total_ms"]["median"], new["total_ms"]["median"]
    spread = max(old["total_ms"]["spread"], new["total_ms"]["spread"])
    ratio = after / before if before else float("inf")
    test = stats.mannwhitneyu(old["samples_ms"], new["samples_ms"], alternative="two-sided")
    p_value = float(test.pvalue)
    verdict: Verdict = "same"
    # durations within a run are correlated, which makes the test overconfident: the change must
    # also exceed the difference between parts of one run
    if p_value < SIGNIFICANCE and max(ratio, 1 / ratio if ratio else 1.0) > 1 + spread:
        verdict = "slower" if ratio > 1 else "faster"
    return Change(
        model=new["model"],
        runtime=new["runtime"],
        precision=new["precision"],
        batch=new["batch"],
        before=before,
        after=after,
        ratio=ratio,
        spread=spread,
        p_value=p_value,
        verdict=verdict,
    )
