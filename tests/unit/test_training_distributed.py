"""Two processes compute what one does; run by torchrun with gloo.

In double precision: a batch norm over two pictures of one pixel, as the last levels have it,
amplifies the roundings of single precision a thousandfold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
if not torch.distributed.is_available():
    pytest.skip("torch was built without torch.distributed", allow_module_level=True)

from torch import nn  # noqa: E402
from training_doubles import NoiseBatches, learner_of, small_recipe  # noqa: E402

from ssd_small.models.network import SsdNetwork  # noqa: E402
from ssd_small.training.step import Learner, update  # noqa: E402

UPDATES = 4
#: what each of two processes runs; the second one's third picture is a NaN where asked for
_CHILD = """
import json, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from training_doubles import NoiseBatches, learner_of, small_recipe
from ssd_small.errors import Diverged
from ssd_small.training.distributed import joined_processes
from ssd_small.training.matching import Targets
from ssd_small.training.step import update

torch.set_num_threads(1)
folder, damaged = Path(sys.argv[2]), sys.argv[3] == "damaged"
more = json.loads(sys.argv[5])
with joined_processes("cpu") as processes:
    learner = learner_of(small_recipe(batch=4, **more), processes, torch.float64)
    batches = NoiseBatches(learner.net, size=4)
    mine = slice(2 * processes.rank, 2 * processes.rank + 2)
    reports = []
    try:
        for number in range(int(sys.argv[4])):
            images, targets = batches.batch(number)
            images = images.double()
            if damaged and processes.rank == 1:
                images[3] = float("nan")
            learner.set_lr(1.0)
            part = Targets(targets.loc[mine], targets.labels[mine])
            names = lambda: batches.names(number)[mine]
            report = update(learner, images[mine], part, names, (float(processes.rank),))
            reports.append([report.loc, report.conf, report.positives, *report.extras])
    except Diverged as error:
        (folder / f"error-{processes.rank}").write_text(str(error))
    if processes.writer:
        (folder / "reports.json").write_text(json.dumps(reports))
        torch.save(learner.net.state_dict(), folder / "net.pth")
        torch.save(learner.result.state_dict(), folder / "ema.pth")
"""


#: all but this learns nothing, and the optimizer is another
PARTLY = {"trainable_scope": ["extras", "loc"], "optimizer": "adam", "lr": 1e-3}


def _two_processes(folder: Path, kind: str = "sound", **more: object) -> None:
    script = folder / "child.py"
    script.write_text(_CHILD)
    tests = Path(__file__).resolve().parents[1]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = [str(tests), str(folder), kind, str(UPDATES), json.dumps(more)]
    paths = [str(tests.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, *launcher, str(script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class _Halves(nn.Module):
    """The network applied to each half of a batch, as two processes do.

    A batch norm then takes the mean and variance of the half; only those of the first half enter
    its running values, since the first process' buffers are the ones that are kept.
    """

    def __init__(self, net: SsdNetwork) -> None:
        super().__init__()
        self.net = [net]  # not a submodule

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (net,) = self.net
        first, second = images.chunk(2)
        loc, conf = net(first)
        with _running_values_kept(net):
            other_loc, other_conf = net(second)
        return torch.cat([loc, other_loc]), torch.cat([conf, other_conf])


@contextmanager
def _running_values_kept(net: SsdNetwork) -> Iterator[None]:
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked -= 1
    yield
    for norm in norms:
        norm.momentum = 0.1


@pytest.fixture(scope="module")
def alone() -> tuple[list[list[float]], Learner]:
    """What two processes must compute."""
    return _alone()


def _alone(**more: object) -> tuple[list[list[float]], Learner]:
    """The same by one process that halves its batches."""
    learner = learner_of(small_recipe(batch=4, **more), dtype=torch.float64)
    learner.forward = _Halves(learner.net)
    batches = NoiseBatches(learner.net, size=4)
    reports = []
    for number in range(UPDATES):
        images, targets = batches.batch(number)
        learner.set_lr(1.0)
        report = update(learner, images.double(), targets, list)
        reports.append([report.loc, report.conf, report.positives])
    return reports, learner


@pytest.mark.slow
def test_two_processes_have_the_losses_and_weights_of_one(tmp_path: Path, alone) -> None:
    """With batch norm over the halves; pictures differ in their numbers of positives."""
    _two_processes(tmp_path)
    _check_equal(tmp_path, *alone)


@pytest.mark.slow
def test_so_they_have_where_parts_of_the_network_do_not_learn(tmp_path: Path) -> None:
    _two_processes(tmp_path, **PARTLY)
    alone = _alone(**PARTLY)
    _check_equal(tmp_path, *alone)
    fresh = learner_of(small_recipe(batch=4), dtype=torch.float64).net.state_dict()
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    moved = {name.partition(".")[0] for name in fresh if not torch.equal(fresh[name], state[name])}
    assert moved == {"base", "extras", "loc"}
    base = [name for name, _ in alone[1].net.base.named_parameters()]
    assert all(torch.equal(fresh[f"base.{name}"], state[f"base.{name}"]) for name in base)


def _check_equal(folder: Path, expected: list[list[float]], learner: Learner) -> None:
    reports = json.loads((folder / "reports.json").read_text())
    assert [r[3] for r in reports] == [1.0] * UPDATES, "0 of the first process, 1 of the second"
    for mine, theirs in zip(reports, expected, strict=True):
        assert mine[2] == theirs[2]
        # sums in another order: some 1e-15, amplified by each update
        assert mine[:2] == pytest.approx(theirs[:2], rel=1e-9)
    for file, net in (("net.pth", learner.net), ("ema.pth", learner.result)):
        state = torch.load(folder / file, weights_only=True)
        for name, value in net.state_dict().items():
            assert torch.allclose(state[name].double(), value.double(), rtol=0, atol=1e-9), name


def test_halved_batches_are_another_thing_than_whole_ones(alone) -> None:
    """Or the comparison above would not see whether batch norm is shared."""
    learner = learner_of(small_recipe(batch=4), dtype=torch.float64)
    images, targets = NoiseBatches(learner.net, size=4).batch(0)
    report = update(learner, images.double(), targets, list)
    assert abs(report.conf - alone[0][0][1]) > 1e-3 * report.conf


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_both_and_names_the_image(tmp_path: Path) -> None:
    _two_processes(tmp_path, "damaged")
    errors = [(tmp_path / f"error-{rank}").read_text() for rank in (0, 1)]
    assert errors[0] == errors[1]
    assert "0-2.png, 0-3.png" in errors[0]
    assert "0-0.png" not in errors[0]


def test_a_single_process_needs_no_group() -> None:
    from ssd_small.training.distributed import joined_processes

    with joined_processes("cpu") as processes:
        assert (processes.rank, processes.world, processes.writer) == (0, 1, True)
        assert processes.total([1.5, 2.0]) == [1.5, 2.0]
        assert processes.gathered("x") == ["x"]
        net = learner_of(small_recipe(), processes).net
        assert processes.parallel(net) is net
    assert not torch.distributed.is_initialized()
