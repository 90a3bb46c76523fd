"""``ssd-small train`` as processes: signals, and several of them by torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
for module in ("torchvision", "hotcoco", "cv2"):
    pytest.importorskip(module, reason=f"needs {module}")

from training_pictures import (  # noqa: E402
    copy_with_a_damaged_picture,
    history_of,
    train_arguments,
)

from ssd_small.models.checkpoint import read_state_dict  # noqa: E402

pytestmark = pytest.mark.slow

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def _run(launch: Iterable[str], arguments: Iterable[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *launch, "ssd_small", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _signalled(
    number: signal.Signals, arguments: Iterable[object], iteration: int
) -> tuple[int, str]:
    """Exit code and messages of a run whose whole group gets a signal after an iteration."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ssd_small", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process:
        try:
            while f"iteration {iteration} " not in process.stderr.readline():
                assert process.poll() is None
            os.killpg(process.pid, number)
            _, err = process.communicate(timeout=60)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # or it would go on after the tests
            raise
    return process.returncode, err


def test_ctrl_c_leaves_a_run_that_goes_on_as_if_nothing_was(data: Path, tmp_path: Path) -> None:
    """With loader processes, to which a terminal sends the signal too."""

    def arguments(output: Path, *more: object) -> tuple[object, ...]:
        more = ("--workers", 2, "--epochs", 12, "--ema-decay", 0.9, *more)
        return train_arguments(data, output, *more)

    stopped = tmp_path / "stopped"
    code, err = _signalled(signal.SIGINT, arguments(stopped), iteration=5)
    assert code == 130, err
    assert "Traceback" not in err
    assert "--resume goes on" in err
    done = torch.load(stopped / "resume.pth", weights_only=True)["position"]["iteration"]
    assert 5 <= done < 24
    for output, more in ((stopped, ("--resume",)), (tmp_path / "whole", ())):
        assert _run((), arguments(output, *more)).returncode == 0
    one, other = (read_state_dict(p / "last.pth") for p in (stopped, tmp_path / "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    losses = [[row["loss"] for row in history_of(p)] for p in (stopped, tmp_path / "whole")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_to_all_processes_leave_a_run_to_go_on_with(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """As torchrun, batch systems and lost terminals send them."""
    given = train_arguments(data, tmp_path, "--workers", 2, "--epochs", 100, "--eval-every", 0)
    code, err = _signalled(number, given, iteration=2)
    assert code == 128 + number, err
    assert "--resume goes on" in err
    state = torch.load(tmp_path / "resume.pth", weights_only=True)
    assert 2 <= state["position"]["iteration"] < 200


@pytest.mark.parametrize(("seed", "reader"), [(1, 0), (3, 1)])
def test_a_damaged_image_ends_both_processes_and_costs_no_update(
    data: Path, tmp_path: Path, seed: int, reader: int
) -> None:
    """In the second batch the picture falls to the process that writes, or to the other one."""
    copy_with_a_damaged_picture(data, tmp_path / "images")
    arguments = list(train_arguments(data, tmp_path / "run", "--seed", seed, model="vgg16"))
    arguments[arguments.index("--images") + 1] = tmp_path / "images"
    done = _run(TORCHRUN, arguments)
    assert done.returncode != 0
    assert "5.png" in done.stderr
    assert f"process {1 - reader} of 2 stopped, because another one ended" in done.stderr
    # torchrun's own report has a traceback, of ChildFailedError
    assert "RuntimeError" not in done.stderr, done.stderr
    state = torch.load(tmp_path / "run" / "resume.pth", weights_only=True)
    assert state["position"]["iteration"] == 1


def test_two_processes_have_the_loss_curve_of_one(data: Path, tmp_path: Path) -> None:
    """VGG16 has no batch norm, so nothing depends on how a batch is shared."""
    rate, curves = ("--lr", 0.001, "--norm-scale", 2), {}
    for name, launch in (("two", TORCHRUN), ("one", ())):
        given = train_arguments(
            data, tmp_path / name, "--width", 0.01, *rate, "--json", model="vgg16"
        )
        done = _run(launch, given)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("iteration 4 ") == 1, "one process speaks"
        curves[name] = [float(row["loss"]) for row in history_of(tmp_path / name)]
    assert len(curves["one"]) == 6
    assert curves["one"][0] > 1.01 * curves["one"][-1]
    # seven digits are written; roundings of single precision over six updates
    assert curves["two"] == pytest.approx(curves["one"], rel=1e-4)
