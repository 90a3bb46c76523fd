"""One trainer per run folder: the second is refused, and a dead one refuses nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch", reason="needs torch")
for module in ("torchvision", "hotcoco", "cv2"):
    pytest.importorskip(module, reason=f"needs {module}")

from training_pictures import short_run, train_arguments  # noqa: E402

from ssd_small.system.locks import held  # noqa: E402

pytestmark = pytest.mark.slow

Spawn = Callable[..., Outcome]

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@contextmanager
def _training(
    arguments: Iterable[object], launch: tuple[str, ...] = (), until: str = "iteration 2 "
) -> Iterator[subprocess.Popen[str]]:
    """A run that has said ``until``; it is ended after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", *launch, "ssd_small", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process:
        try:
            while until not in (line := process.stderr.readline()):
                assert line, process.poll()
            yield process
        finally:
            with suppress(ProcessLookupError):
                if launch:  # torchrun's processes are in sessions of their own; it ends them
                    process.terminate()
                    process.communicate(timeout=60)
                os.killpg(process.pid, signal.SIGKILL)


def _long(data: Path, output: Path, *more: object) -> tuple[object, ...]:
    return train_arguments(data, output, "--epochs", 5000, "--eval-every", 0, *more)


def test_the_second_of_two_trainers_is_refused_and_writes_nothing(
    data: Path, tmp_path: Path, spawn: Spawn
) -> None:
    run, link = tmp_path / "run", tmp_path / "link"
    link.symlink_to("run")
    with _training(_long(data, run, "--save-minutes", 0)) as first:
        before = {path.name for path in run.iterdir()}
        assert "resume.pth" in before
        for name, more in ((link, ()), (run, ("--resume",))):
            told = spawn(*short_run(data, name, *more)).fails(4, "cannot write", str(name))
            assert f"process {first.pid} is at work there" in told
        assert {path.name for path in run.iterdir()} == before
        os.kill(first.pid, signal.SIGINT)
        assert first.stderr is not None
        # or it would wait for a reader of its log
        assert "--resume goes on" in first.stderr.read()
        assert first.wait(60) == 130
    assert not list(run.glob(".*")), "the lock goes with its run"
    assert (run / "train.log").read_text().count("recipe: ") == 1


def test_of_two_trainers_started_together_one_is_refused(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssd_small"]
    command += map(str, short_run(data, tmp_path / "run", iterations=20))
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = {process.communicate(timeout=120)[1]: process.returncode for process in started}
    # late enough, the second finds a finished run, which is its user's mistake
    assert sorted(ended.values()) in ([0, 4], [0, 2]), ended
    refused = next(err for err, code in ended.items() if code)
    assert refused.count("\n") == 1
    state = torch.load(tmp_path / "run" / "resume.pth", weights_only=True)
    assert state["position"]["iteration"] == 20


def _children(process: int) -> list[int]:
    return [
        int(number)
        for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="not executed here: no /proc")
@pytest.mark.parametrize("resume", [False, True])
def test_a_killed_trainer_refuses_nobody_and_its_loaders_end(
    data: Path, tmp_path: Path, spawn: Spawn, resume: bool
) -> None:
    run = tmp_path / "run"
    saves = ("--save-minutes", 0 if resume else 60)
    with _training(_long(data, run, "--workers", 2, *saves)) as first:
        loaders = _children(first.pid)
        assert len(loaders) == 2
        for loader in loaders:
            os.kill(loader, signal.SIGSTOP)  # whatever they would do by themselves
        first.kill()
        assert first.wait(30) == -signal.SIGKILL
        assert len(list(run.glob(".ssd-small-train.lock"))) == 1
        if resume:
            done = torch.load(run / "resume.pth", weights_only=True)["position"]["iteration"]
            again = _long(data, run, "--workers", 2, "--resume")
            with _training(again, until=f"resumed after iteration {done}"):
                pass
        else:
            spawn(*short_run(data, run, workers=2)).fits()
            assert not list(run.glob(".ssd-small-train.lock"))
        # the kernel ends them with their trainer
        assert not any(map(_lives, loaders))


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_several_processes_of_one_run_hold_one_lock(
    data: Path, tmp_path: Path, spawn: Spawn
) -> None:
    run = tmp_path / "run"
    with _training(_long(data, run), TORCHRUN):
        spawn(*short_run(data, run)).fails(4, "is at work there")
    assert not list(run.glob(".*")), "the lock goes with its run"


def test_several_processes_of_a_second_run_are_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(run / ".ssd-small-train.lock"):
        done = subprocess.run(
            [sys.executable, "-m", *TORCHRUN, "ssd_small", *map(str, short_run(data, run))],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode != 0
    # torchrun's own report follows
    assert done.stderr.count(f"process {os.getpid()} is at work there") == 1
    assert not run.exists()


def test_a_run_that_ends_before_it_begins_leaves_no_folder(
    call: Callable[..., Outcome], data: Path, tmp_path: Path
) -> None:
    arguments = short_run(data, tmp_path / "new" / "run", annotations=tmp_path / "absent.json")
    call(*arguments).fails(4, "absent.json is not there")
    assert list(tmp_path.iterdir()) == []
