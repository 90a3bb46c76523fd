"""Two runs of bench compared, what is told of a busy machine, and outputs of timed runs."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ssd_small.bench import disturbance
from ssd_small.bench.against import (
    changes_of_reports,
    check_alike,
    check_comparable,
    check_not_slower,
    read_report,
)
from ssd_small.bench.disturbance import Disturbance, Watch
from ssd_small.bench.gpu_clocks import gpu_clocks, held_back_line
from ssd_small.bench.same_outputs import SameOutputs
from ssd_small.bench.timing import KEPT, Timing, measure
from ssd_small.errors import BadFile, CheckFailed, UsageError
from ssd_small.postprocess import Detections
from ssd_small.runtimes import HeadOutputs

MACHINE = {"cpu": "x", "cores": 2, "gpus": [], "driver": None, "system": "Linux", "python": "3.11"}
MACHINE = {**MACHINE, "packages": {"numpy": "2.0.0", "onnxruntime": "1.32.0"}, "ssd-small": "1"}


def report(scale: float = 1.0, seed: int = 0, spread: float = 0.02) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    samples = (scale * rng.normal(10, 0.2, 200)).tolist()
    row = {
        "model": "vgg16",
        "runtime": "onnxruntime 1.32.0",
        "precision": "fp32",
        "batch": 1,
        "engine": None,
        "postprocess": {"score_threshold": 0.01},
        "total_ms": {"median": float(np.median(samples)), "spread": spread},
        "samples_ms": samples,
    }
    return {"machine": copy.deepcopy(MACHINE), "threads": 2, "results": [row]}


def verdict(old: dict[str, Any], new: dict[str, Any]) -> str:
    (change,) = changes_of_reports(old, new)
    return change.verdict


def test_slower_and_faster_need_rank_and_spread() -> None:
    pytest.importorskip("scipy")
    assert verdict(report(), report(1.3, seed=1)) == "slower"
    assert verdict(report(), report(0.7, seed=1)) == "faster"
    assert verdict(report(), report(seed=1)) == "same"
    # the ranks differ beyond doubt, by less than the machine alone changes
    assert verdict(report(), report(1.05, seed=1, spread=0.2)) == "same"


def test_ranks_decide_where_the_medians_stray() -> None:
    pytest.importorskip("scipy")
    old, new = report(), report()
    for one, samples in ((old, [1.0, 9.0, 9.0]), (new, [1.0, 11.0, 1.0, 11.0, 11.0])):
        one["results"][0]["samples_ms"] = samples
        one["results"][0]["total_ms"]["median"] = float(np.median(samples))
    assert verdict(old, new) == "same"


def test_a_slower_run_fails_with_the_worst_of_its_networks() -> None:
    pytest.importorskip("scipy")
    changes = changes_of_reports(report(), report(1.5, seed=1))
    with pytest.raises(
        CheckFailed, match=r"1 of 1 are slower than in old.json; vgg16 .*by (49|50)\."
    ):
        check_not_slower(changes, "old.json")
    check_not_slower(changes_of_reports(report(), report(seed=2)), "old.json")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("cpu", "y", "cpu x, now y"),
        ("cores", 4, "cores 2, now 4"),
        ("packages", {"numpy": "2.0.0", "onnxruntime": "1.33.0"}, "onnxruntime 1.32.0, now 1.33"),
        ("gpus", [{"name": "NVIDIA A10"}], "gpus unknown, now"),
    ],
)
def test_runs_on_unlike_machines_are_refused(key: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_alike(report(), {**MACHINE, key: value}, 2)


def test_other_threads_and_thresholds_are_refused_and_another_version_of_ours_is_not() -> None:
    check_alike(report(), {**MACHINE, "ssd-small": "2"}, 2)
    with pytest.raises(UsageError, match="threads 2, now 1"):
        check_alike(report(), MACHINE, 1)
    other = report()
    other["results"][0]["postprocess"] = {"score_threshold": 0.5}
    with pytest.raises(UsageError, match=r"vgg16 score_threshold 0.01, now 0.5"):
        check_comparable(report(), other)
    other["results"][0]["model"] = "mobilenet_v1"
    with pytest.raises(UsageError, match="no network of this run is in the other, which has vgg16"):
        check_comparable(report(), other)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"machine": {}, "results": []},
        {"machine": {}, "results": [1]},
        {"machine": {}, "results": [{**report()["results"][0], "samples_ms": []}]},
        {"machine": {}, "results": [{**report()["results"][0], "samples_ms": ["1"]}]},
        {"machine": {}, "results": [{**report()["results"][0], "total_ms": {"median": 1}}]},
        {"machine": {}, "results": [{**report()["results"][0], "model": [1]}]},
    ],
)
def test_what_is_no_report_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadFile, match=r"old\.json"):
        read_report(path)


def test_a_timing_keeps_its_order_percentiles_and_spread() -> None:
    seconds = [0.001] * 500 + [0.002] * 500
    timing = Timing.from_seconds(seconds)
    assert (timing.median, timing.p90, timing.p999) == (1.5, 2.0, 2.0)
    assert timing.spread == pytest.approx(1.0)
    assert len(timing.samples) == KEPT
    assert timing.samples == tuple(sorted(timing.samples))
    assert timing.per(4).median == pytest.approx(0.375)
    assert timing.per(4).spread == timing.spread
    assert Timing.from_seconds([0.003]).spread == 0


def test_a_busy_machine_is_told_with_one_thread_as_a_way_out() -> None:
    quiet = Disturbance(load=0.3, others=0.05, cores=2)
    assert quiet.line(spread=0.02, threads=2) is None
    busy = Disturbance(load=5.1, others=1.1, cores=2).line(spread=0.02, threads=2)
    assert busy is not None
    for words in ("others used 1.1 of 2 cores", "load 5.1", "--threads 1"):
        assert words in busy
    unsteady = Disturbance(load=None, others=None, cores=2).line(spread=0.6, threads=1)
    assert unsteady is not None
    assert "60%" in unsteady
    assert "--threads" not in unsteady


def test_own_work_is_not_counted_as_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, busy, own = iter([0.0, 2.0]), iter([100.0, 103.0]), iter([10.0, 12.0])
    monkeypatch.setattr(disturbance.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(disturbance, "_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(disturbance, "_own_seconds", lambda: next(own))
    # of 3 seconds that cores were busy in 2, this process took 2
    assert Watch().seen().others == pytest.approx(0.5)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="not executed here: not a Linux")
def test_the_system_tells_how_long_cores_were_busy() -> None:
    before, own = disturbance._busy_seconds(), disturbance._own_seconds()
    while disturbance._own_seconds() < own + 0.3:
        sum(range(20_000))
    after = disturbance._busy_seconds()
    assert before is not None
    assert after is not None
    # in hundredths of a second a core
    assert after - before >= 0.3 - 0.01 * (os.cpu_count() or 1)


def heads(value: float) -> HeadOutputs:
    return HeadOutputs(np.full((1, 4, 4), value, np.float32), np.zeros((1, 4, 3), np.float32))


def test_timed_outputs_that_differ_fail_the_bench() -> None:
    same = SameOutputs([heads(1.0)], "vgg16")
    with pytest.raises(CheckFailed, match=r"vgg16: outputs of timed run 1 .*by up to 0\.5"):
        same([heads(1.5)])
    # by chance every eighth is looked at: a fault that stays is found
    lasting = SameOutputs([heads(1.0)], "vgg16")
    lasting([heads(1.0)])
    other = heads(np.nextafter(np.float32(1), np.float32(2)))

    def many() -> None:
        for _ in range(200):
            lasting([other])

    with pytest.raises(CheckFailed, match="timed run"):
        many()


def test_the_untimed_outputs_are_kept_though_their_memory_is_used_again() -> None:
    memory = heads(1.0)
    same = SameOutputs([memory], "vgg16")
    memory.loc[:] = 2
    with pytest.raises(CheckFailed, match="by up to 1"):
        same([memory])


def test_other_detections_in_number_fail_the_bench() -> None:
    found = Detections(
        np.zeros((1, 4), np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.int32),
        np.zeros(1, np.int32),
    )
    same = SameOutputs([[found]], "vgg16")
    same([[found]])
    fails = SameOutputs([[found]], "vgg16")
    with pytest.raises(CheckFailed, match="in number"):
        fails([[Detections.empty()]])


def test_what_is_observed_is_outside_of_the_times() -> None:
    import time

    def observe(results: list[object]) -> None:
        assert results == ["a"]
        time.sleep(0.02)

    (stage, _) = measure([lambda: "a"], 0.0, observe=observe)
    assert stage.runs == 3
    assert stage.median < 10


def stand_in_nvml(reasons: int) -> Any:
    class Fault(Exception):
        pass

    def no_temperature(*_: Any) -> None:
        raise Fault

    names = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown")
    bits = {f"nvmlClocksEventReason{name}": 1 << i for i, name in enumerate(names)}
    return SimpleNamespace(
        NVMLError=Fault,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlClocksEventReasonHwPowerBrakeSlowdown=128,
        **bits,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "NVIDIA A10",
        nvmlDeviceGetClockInfo=lambda handle, kind: 1000 + kind,
        nvmlDeviceGetMaxClockInfo=lambda handle, kind: 1700,
        nvmlDeviceGetTemperature=no_temperature,
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: reasons,
    )


def test_a_throttled_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", stand_in_nvml(4))
    clocks = gpu_clocks()
    assert clocks is not None
    assert clocks["driver"] == "580.1"
    (gpu,) = clocks["gpus"]
    assert gpu["celsius"] is None
    assert gpu["held_back_by"] == ["SwThermalSlowdown"]
    line = held_back_line(clocks)
    assert line is not None
    assert "1001 of 1700 MHz" in line
    monkeypatch.setitem(sys.modules, "pynvml", stand_in_nvml(0))
    assert held_back_line(gpu_clocks()) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_clocks() is None
    assert held_back_line(None) is None
