"""The whole flow with ONNX Runtime, the embedded default, command by command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .datasets.digits import DigitsDataset
from .errors import CheckFailed, Ended, SsdSmallError
from .evaluation.limits import MAP_LIMIT
from .files import write_bytes
from .json_files import write_json
from .machine import describe_machine
from .models.shipped import shipped_checkpoints
from .system.processes import command_of_child

#: networks with a checkpoint in the package, the baseline first
NETWORKS = ("mobilenet_v1", "mobilenet_v1_s1l0")
#: pictures of the val split to draw, from different photographs
SHOWN = (16, 31, 44, 70)
_SIZES = ("small", "medium", "large")
#: runtimes and the names that parity gives them
_SIDES = {"pytorch": "reference", "engine": "engine"}
#: seconds that a command of the demo gets to end by itself after a signal
_GRACE = 5.0


@dataclass(frozen=True)
class Outcome:
    """What the demo measured for one network.

    Attributes:
        model: the network's name.
        parity: what ``ssd-small parity`` printed for its engine.
        times: rows of ``ssd-small bench`` for ``pytorch`` and ``engine``.
    """

    model: str
    parity: dict[str, Any]
    times: dict[str, dict[str, Any]]

    def metrics(self, side: str) -> dict[str, float]:
        """AP of the ``reference`` (PyTorch) or the ``engine``."""
        rows = self.parity["map"]
        sizes = {f"AP_{size}": rows[size][side] for size in _SIZES}
        return {"AP": rows[side], **sizes}

    @property
    def difference(self) -> float:
        """Largest difference between PyTorch and the engine in the four AP figures."""
        reference, engine = (self.metrics(side) for side in _SIDES.values())
        return max(abs(reference[k] - engine[k]) for k in reference)


class _Shell:
    """Prints and runs commands of this tool as a user would."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __call__(
        self, *arguments: str | Path, save: Path | None = None, may_differ: bool = False
    ) -> str:
        """Run ``ssd-small`` with ``arguments`` and return what it printed.

        With ``may_differ``, a check that did not hold (exit 1) counts as a result, not a failure.

        Raises:
            SsdSmallError: the command failed; its own message is on standard error.
        """
        words = [_shown(a) for a in arguments]
        redirect = f" > {shlex.quote(_shown(save))}" if save else ""
        self._say(f"\n$ ssd-small {shlex.join(words)}{redirect}")
        code, output = _run(command_of_child("ssd_small", *map(str, arguments)))
        if code and not (may_differ and code == 1 and output):
            self._say(output.rstrip())
            failure = SsdSmallError(f"the demo stopped: 'ssd-small {words[0]}' failed, see above")
            failure.exit_code = code if code in (1, 2, 3, 4) else 1
            raise failure
        if save:
            write_bytes(save, output.encode())
        else:
            self._say(output.rstrip())
        return output


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Run a command, letting it clean up after a signal; exit code and standard output.

    The signal may already have reached the command, as a terminal's Ctrl-C does; a command heeds
    only the first one.

    Raises:
        SystemExit: a signal arrived and the command ended with that signal's exit code.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt as interrupt:
            number = interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT
            process.send_signal(number)
            try:
                said = process.wait(_GRACE) == 128 + number
            except subprocess.TimeoutExpired:
                process.kill()
                raise interrupt from None
            if said:
                raise SystemExit(128 + number) from None
            raise
        return process.returncode, output


def run_demo(folder: Path, say: Callable[[str], None]) -> list[Outcome]:
    """Run digits, models, export, build-engine, parity, bench and detect on shipped networks.

    Args:
        folder: where everything is written.
        say: prints a line.

    Raises:
        CheckFailed: an engine's results are not equal to those of its network in PyTorch.
        SsdSmallError: a command failed.
    """
    started = time.perf_counter()
    shell = _Shell(say)
    shell("digits", folder / "digits")
    data = DigitsDataset.at(folder / "digits")
    shell("models")
    outcomes = [_network(shell, say, model, data, folder) for model in NETWORKS]
    best = folder / f"{NETWORKS[-1]}.onnxruntime.fp32.engine"
    pictures = [data.val_images / f"{number:06d}.png" for number in SHOWN]
    shown = ("--score-threshold", "0.25", "--output", folder / "pictures")
    shell("detect", "--engine", best, *pictures, *shown)
    say("\n" + summary(outcomes))
    write_json(folder / "summary.json", _report(outcomes))
    say(
        f"\n{time.perf_counter() - started:.0f} s; everything is in {folder}, pictures with boxes "
        f"in {folder / 'pictures'}"
    )
    different = [one for one in outcomes if one.parity["verdict"] != "equal"]
    if different:
        raise CheckFailed(
            f"the engine of {different[0].model} is not equal to PyTorch: "
            + "; ".join(different[0].parity["why"])
        )
    return outcomes


def _network(
    shell: _Shell, say: Callable[[str], None], model: str, data: DigitsDataset, folder: Path
) -> Outcome:
    """Take one network from checkpoint to measured engine."""
    onnx_file = folder / f"{model}.onnx"
    engine = folder / f"{model}.onnxruntime.fp32.engine"
    shipped = next(one for one in shipped_checkpoints() if one.name == f"digits/{model}")
    network = ("--model", model, "--weights", shipped.name)
    truth = ("--annotations", data.val_annotations, "--images", data.val_images)
    shell("export", *network, "--preset", "coco", "--output", onnx_file)
    shell("build-engine", onnx_file, "--target", "onnxruntime")
    # parity finds the checkpoint that the engine was made from by the hash of its weights
    margin = ("--max-difference", str(MAP_LIMIT))
    file = folder / f"{model}.parity.json"
    command = ("parity", engine, *truth, *margin, "--json")
    parity = json.loads(shell(*command, save=file, may_differ=True))
    counts = parity["detections"]
    say(
        f"{parity['verdict']}: {counts['matched']} of {counts['engine']} detections are PyTorch's, "
        f"{counts['explained']} differ by rounding, {counts['unexplained']} by more"
    )
    size = ("--width", str(shipped.width), "--num-classes", "11")
    bench = folder / f"{model}.bench.json"
    text = shell("bench", "--model", model, *size, "--seconds", "4", "--json", save=bench)
    rows = json.loads(text)["results"]
    times = {"pytorch": rows[0], "engine": rows[1]}
    say(", ".join(f"{name} {row['total_ms']['median']:.2f} ms" for name, row in times.items()))
    outcome = Outcome(model, parity, times)
    for name, side in _SIDES.items():
        say(f"{name}: {_scores(outcome.metrics(side))}")
    return outcome


def _report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    machine = describe_machine()
    return {
        "machine": machine,
        "threads": machine["cores"],
        "networks": [
            {
                "model": outcome.model,
                "metrics": {name: outcome.metrics(side) for name, side in _SIDES.items()},
                "difference": outcome.difference,
                "verdict": outcome.parity["verdict"],
                "detections": {
                    key: outcome.parity["detections"][key]
                    for key in ("matched", "explained", "unexplained")
                },
                "times": outcome.times,
            }
            for outcome in outcomes
        ],
    }


def _scores(metrics: dict[str, float]) -> str:
    names = ("AP_small", "AP_medium", "AP_large", "AP")
    return ", ".join(f"{name} {metrics[name]:.3f}" for name in names)


def summary(outcomes: Sequence[Outcome]) -> str:
    """The closing table."""
    from tabulate import tabulate

    rows = []
    for outcome in outcomes:
        for name, side in _SIDES.items():
            metrics, row = outcome.metrics(side), outcome.times[name]
            rows.append(
                [
                    outcome.model,
                    row["runtime"],
                    *(f"{metrics[k]:.4f}" for k in ("AP_small", "AP_medium", "AP_large", "AP")),
                    f"{outcome.difference:.5f}" if name == "engine" else "",
                    f"{row['network_ms']['median']:.2f}",
                    f"{row['decode_nms_ms']['median']:.2f}",
                    f"{row['total_ms']['median']:.2f}",
                ]
            )
    headers = "network|runtime|small|medium|large|mAP|difference|net ms|decode+NMS ms|total ms"
    return str(tabulate(rows, headers=headers.split("|"), disable_numparse=True))


def _shown(argument: str | Path | None) -> str:
    """An argument as the user would type it: paths relative to the current folder."""
    if not isinstance(argument, Path):
        return str(argument)
    relative = os.path.relpath(argument)
    return str(argument) if relative.startswith("..") else relative
