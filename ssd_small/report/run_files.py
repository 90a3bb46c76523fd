"""Runs of other commands, read from their JSON: the candidates to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..json_files import read_json
from .values import size_name

EXPECTED = "JSON of eval, bench or parity (--json), or the demo's summary.json"
_DEMO = frozenset(["eval", "bench"])
_METRICS = ("AP_small", "AP_medium", "AP_large", "AP", "AP50")
#: keys that identify each kind of run
_KINDS = {
    "eval": ("metrics", "by_size"),
    "bench": ("results", "machine"),
    "parity": ("verdict", "detections"),
    "demo": ("networks", "machine"),
}


@dataclass(frozen=True)
class Run:
    """One file.

    Attributes:
        path: the file.
        kind: eval, bench, parity or demo.
        value: its content.
    """

    path: Path
    kind: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """An engine or network to choose from.

    Attributes:
        source: file or name that was scored or measured.
        model, runtime, precision: what it is.
        metrics: AP by COCO's sizes and overall; None where it is not known.
        truth: what it was scored on, and on how many pictures.
        milliseconds: per picture, None if not measured; ``timed``: by which command, where.
        by_size: AP by name of a size, measured in the picture.
        curves: precision at recall 0, 0.01 to 1, by COCO's name of a size.
        parity: verdict of ``parity``.
        kinds: of the runs that this comes from.
    """

    source: str
    model: str
    runtime: str
    precision: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    truth: tuple[str, int] | None = None
    milliseconds: float | None = None
    timed: str = ""
    by_size: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    parity: str = ""
    kinds: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Readable name."""
        return f"{self.model} {self.runtime} {self.precision}".strip()


def read_run(path: Path) -> Run:
    """Read a run from its file, or from the folder of a demo.

    Raises:
        BadFile: it is not a run.
    """
    if path.is_dir() and (path / "summary.json").is_file():
        path = path / "summary.json"
    value = read_json(path, EXPECTED)
    if isinstance(value, dict):
        for kind, keys in _KINDS.items():
            if all(key in value for key in keys):
                return Run(path, kind, value)
    raise BadFile(f"{path} is no run; expected {EXPECTED}")


def broken_run(path: Path, error: Exception) -> BadFile:
    """The error for a file that lacks something, or has something else in its place."""
    what = f"{type(error).__name__}: {error}"
    return BadFile(f"{path} is not a whole run ({what}); write it again, expected {EXPECTED}")


def candidates_from_runs(runs: Sequence[Run]) -> list[Candidate]:
    """Everything that was scored or measured, once each, with all that the runs say about it.

    Raises:
        BadFile: a file is incomplete.
    """
    found: list[Candidate] = []
    # scores first, so that times and verdicts can be added to them
    for run in sorted(runs, key=lambda one: ("demo", "eval", "bench", "parity").index(one.kind)):
        try:
            for one in list(_READERS[run.kind](run.value)):
                _add(found, one)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise broken_run(run.path, error) from error
    return found


def _add(found: list[Candidate], one: Candidate) -> None:
    """Merge a candidate with one of the same file, unless that includes a run of the same kind."""
    for place, other in enumerate(found):
        if _same_file(one.source, other.source) and not one.kinds & other.kinds:
            timed = one if "bench" in one.kinds or not other.timed else other
            found[place] = replace(
                other if other.metrics else replace(one, source=other.source),
                kinds=one.kinds | other.kinds,
                milliseconds=timed.milliseconds,
                timed=timed.timed,
                parity=other.parity or one.parity,
            )
            return
    found.append(one)


def _same_file(one: str, other: str) -> bool:
    """Whether two paths may refer to one file, seen from different folders."""
    if not one or not other:
        return False
    pairs = zip(reversed(Path(one).parts), reversed(Path(other).parts), strict=False)
    return all(a == b for a, b in pairs)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _first_word(text: Any) -> str:
    """A runtime without its version."""
    return str(text).split(" ")[0]


def _of_eval(value: Mapping[str, Any]) -> Iterator[Candidate]:
    metrics = value["metrics"] or {}
    seconds = value.get("seconds") or {}
    spent = sum(float(seconds.get(name) or 0) for name in ("network", "decode_nms"))
    images = int(value["images"])
    curves = {
        str(row["size"]): [float(number) for number in row["precision"]]
        for row in value.get("curves") or ()
    }
    yield Candidate(
        source=str(value["source"]),
        model=str(value.get("model") or "detections"),
        runtime=_first_word(value.get("runtime") or ""),
        precision=str(value.get("precision") or ""),
        metrics={name: _number(metrics[name]) for name in _METRICS if name in metrics},
        truth=(Path(str(value["annotations"])).name, images),
        milliseconds=1e3 * spent / images if spent and images else None,
        timed="eval" if spent and images else "",
        by_size={
            size_name(row): _number(row["ap"]) for row in value["by_size"] if row["at"] == "picture"
        },
        curves=curves,
        kinds=frozenset(["eval"]),
    )


def _of_row(row: Mapping[str, Any], cpu: str, threads: Any) -> Candidate:
    return Candidate(
        source=str(row.get("engine") or ""),
        model=str(row["model"]),
        runtime=_first_word(row["runtime"]),
        precision=str(row["precision"]),
        milliseconds=float(row["total_ms"]["median"]),
        timed=f"bench, {cpu}, {threads} threads",
        kinds=frozenset(["bench"]),
    )


def _of_bench(value: Mapping[str, Any]) -> Iterator[Candidate]:
    """Each candidate's measurement with the smallest batch, since latencies are compared."""
    rows = sorted(value["results"], key=lambda row: int(row["batch"]))
    seen = set()
    for row in rows:
        one = _of_row(row, str(value["machine"]["cpu"]), int(value["threads"]))
        key = (one.source, one.model, one.runtime, one.precision)
        if key not in seen:
            seen.add(key)
            yield one


def _of_demo(value: Mapping[str, Any]) -> Iterator[Candidate]:
    for network in value["networks"]:
        for name, metrics in network["metrics"].items():
            row = network["times"][name]
            one = _of_row(row, str(value["machine"]["cpu"]), int(value["threads"]))
            own = {key: _number(metrics[key]) for key in _METRICS if key in metrics}
            yield replace(one, metrics=own, kinds=_DEMO, parity=_verdict_of_demo(network, name))


def _verdict_of_demo(network: Mapping[str, Any], name: str) -> str:
    """Verdict of a demo's engine; the reference has none."""
    return "" if name == "pytorch" else str(network.get("verdict") or "")


def _of_parity(value: Mapping[str, Any]) -> Iterator[Candidate]:
    engine, precision = value["engine"], value["map"]
    metrics = {}
    if precision is not None:
        sizes = {f"AP_{size}": precision[size] for size in ("small", "medium", "large")}
        metrics = {name: _number(one["engine"]) for name, one in sizes.items()}
        metrics["AP"] = _number(precision["engine"])
    yield Candidate(
        source=str(engine["path"]),
        model=str(engine.get("model") or ""),
        runtime=_first_word(engine.get("runtime") or ""),
        precision=str(engine.get("precision") or ""),
        metrics=metrics,
        truth=("parity", int(value["images"])),
        parity=str(value["verdict"]),
        kinds=frozenset(["parity"]),
    )


_READERS = {"eval": _of_eval, "bench": _of_bench, "demo": _of_demo, "parity": _of_parity}
