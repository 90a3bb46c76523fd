"""Training batches from worker processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from torch.utils.data import Dataset  # noqa: E402

from ssd_small.errors import BadFile, MissingRequirement, UsageError  # noqa: E402
from ssd_small.models.priors import priors_from_spec  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing  # noqa: E402
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc  # noqa: E402
from ssd_small.training.augment import Augmentation, training_transform  # noqa: E402
from ssd_small.training.dataset import Sample  # noqa: E402
from ssd_small.training.loading import training_batches  # noqa: E402
from ssd_small.training.matching import match  # noqa: E402
from ssd_small.training.overlaps import GroupedPriors  # noqa: E402
from ssd_small.training.sampling import EpochSampler  # noqa: E402

pytestmark = pytest.mark.slow

PRIORS = torch.tensor(
    [[x / 8 + 0.0625, y / 8 + 0.0625, s, s] for s in (0.2, 0.5) for y in range(8) for x in range(8)]
)
TRANSFORM = training_transform(Preprocessing(24, 32))


class Pictures(Dataset[Sample]):
    """Noise with ``i`` objects in picture ``i``; some may be damaged or end their process."""

    def __init__(self, *damaged: int, deadly: int = -1) -> None:
        self.damaged, self.deadly = damaged, deadly

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        if index in self.damaged:
            raise BadFile(f"cannot decode image picture{index}.png")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(index)
        low = rng.uniform(0, 40, (index, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 20, (index, 2))], axis=1)
        image = rng.integers(0, 255, (60, 60, 3), np.uint8)
        return Sample(image, boxes.astype(np.float32), np.arange(1, index + 1))


def batches(workers: int, data: Pictures | None = None, **options: int) -> list:
    options = {"iterations": 6} | options
    sampler = EpochSampler(7, 4, 3, **options)  # type: ignore[arg-type]
    return list(training_batches(data or Pictures(), TRANSFORM, PRIORS, sampler, workers=workers))


def assert_equal(first: list, second: list) -> None:
    assert len(first) == len(second) > 0
    for (images, targets), (others, other_targets) in zip(first, second, strict=True):
        assert (images == others).all()
        assert (targets.loc == other_targets.loc).all()
        assert (targets.labels == other_targets.labels).all()


def test_a_batch_is_what_its_parts_give() -> None:
    sampler = EpochSampler(7, 4, 3)
    for iteration, (images, targets) in enumerate(batches(0)):
        assert images.shape == (4, 3, 24, 32)
        for position, key in enumerate(sampler.batch(iteration)):
            example = TRANSFORM(Pictures()[key.index], key.generator())
            assert (images[position] == example.image).all()
            expected = match(example.boxes_xyxy, example.labels, GroupedPriors.of(PRIORS))
            assert (targets.loc[position] == expected.loc).all()
            assert (targets.labels[position] == expected.labels).all()
            found = set(targets.labels[position].tolist()) - {0}
            assert found == set(example.labels.tolist())


def test_targets_of_an_input_that_is_not_square_give_the_pixels_of_the_objects_back() -> None:
    spec = replace(get_spec("mobilenet_v1_s1l0_dual"), preprocessing=Preprocessing(240, 320))
    priors = torch.from_numpy(priors_from_spec(spec))
    # the input is half the picture; the first is the square prior of row 7, column 20 of the first
    # map, 10 pixels about pixel (164, 60) of the input
    boxes = np.float32([[318, 110, 338, 130], [100, 200, 250, 420], [0, 0, 640, 480]])
    picture = Sample(np.zeros((480, 640, 3), np.uint8), boxes, np.array([1, 2, 3]))
    transform = training_transform(spec.preprocessing, Augmentation.none())
    (batch,) = training_batches([picture], transform, priors, EpochSampler(1, 1, 0, iterations=1))
    images, targets = batch
    assert images.shape == (1, 3, 240, 320)
    labels, loc = targets.labels[0].numpy(), targets.loc[0].numpy()
    prior = (7 * 40 + 20) * 6
    assert labels[prior] == 1
    # float32: centres below 1 and 2**-24 apart, over a tenth of a side of 10 / 320
    assert np.abs(loc[prior]).max() < 1e-4
    decoded = boxes_xyxy_from_loc(loc, priors.numpy(), (0.1, 0.2)) * np.float32([640, 480] * 2)
    for label, box in enumerate(boxes, 1):
        assert (labels == label).any()
        # 5e-6 of the sides, see test_matching.py
        assert np.abs(decoded[labels == label] - box).max() < 5e-6 * 640


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    assert_equal(batches(workers), batches(0))


def test_a_resumed_run_and_parts_of_processes_give_the_same_pictures() -> None:
    alone = batches(0)
    assert_equal(batches(1, start_iteration=4), alone[4:])
    parts = [batches(0, rank=rank, world=2) for rank in range(2)]
    for whole, first, second in zip(alone, *parts, strict=True):
        assert (torch.cat([first[0], second[0]]) == whole[0]).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generators_are_left_alone(workers: int) -> None:
    torch_state, numpy_state = torch.random.get_rng_state(), str(np.random.get_state())
    batches(workers)
    assert (torch.random.get_rng_state() == torch_state).all()
    assert str(np.random.get_state()) == numpy_state


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_one_line_that_names_it(workers: int) -> None:
    with pytest.raises(BadFile) as caught:
        batches(workers, Pictures(5))
    assert str(caught.value) == "cannot decode image picture5.png"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_may_be_unreadable_gives_way_to_the_next(workers: int) -> None:
    told: list[tuple[int, str]] = []

    class Replaced(Pictures):
        """What the data set is in effect."""

        def __getitem__(self, index: int) -> Sample:
            return super().__getitem__({5: 0, 6: 0, 2: 3}.get(index, index))

    found = list(
        training_batches(
            Pictures(5, 6, 2),
            TRANSFORM,
            PRIORS,
            EpochSampler(7, 4, 3, iterations=6),
            workers=workers,
            skips=3,
            skipped=lambda index, error: told.append((index, str(error))),
        )
    )
    assert_equal(found, batches(0, Replaced()))
    assert sorted(told) == [(i, f"cannot decode image picture{i}.png") for i in (2, 5, 6)]


def test_no_picture_that_can_be_read_ends_it_however_many_may_be_unreadable() -> None:
    class Counted(Pictures):
        """More reads than pictures: they are tried round and round."""

        reads = 0

        def __getitem__(self, index: int) -> Sample:
            self.reads += 1
            assert self.reads <= 4 * 7, "a place of the batch has tried every picture"
            return super().__getitem__(index)

    sampler = EpochSampler(7, 4, 3, iterations=6)
    stream = training_batches(Counted(*range(7)), TRANSFORM, PRIORS, sampler, skips=100)
    with pytest.raises(BadFile, match=r"none of the 7 images can be read, the last: cannot decode"):
        next(stream)


@pytest.mark.parametrize("workers", [0, 1])
def test_one_more_than_may_be_unreadable_ends_it(workers: int) -> None:
    sampler = EpochSampler(7, 4, 3, iterations=6)
    stream = training_batches(
        Pictures(5, 6, 2), TRANSFORM, PRIORS, sampler, workers=workers, skips=2
    )
    with pytest.raises(BadFile, match=r"cannot decode image picture[256]\.png"):
        list(stream)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no such memory")
@pytest.mark.parametrize("workers", [0, 1])
def test_no_memory_for_a_batch_of_a_process_is_said(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Of no process, nothing is asked."""

    def refuse(*arguments: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    expected = batches(0)
    monkeypatch.setattr(os, "memfd_create", refuse)
    if not workers:
        assert_equal(batches(0), expected)
        return
    with pytest.raises(MissingRequirement) as caught:
        batches(workers)
    message = caught.value.command_line
    assert "no memory for a batch of 4 pictures" in message
    assert "Cannot allocate memory" in message
    assert "--workers 0" in message


def test_no_memory_for_the_locks_of_processes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssd_small.training.loading.multiprocessing.Queue", refuse)
    with pytest.raises(MissingRequirement) as caught:
        batches(2)
    message = caught.value.command_line
    assert "No space left on device" in message
    assert "--workers 0" in message
    assert "docker run --shm-size" in message
    batches(0)


def test_a_worker_that_is_killed_is_said_so() -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    sampler = EpochSampler(7, 1, 3, iterations=8)
    deadly = sampler.batch(4)[0].index
    stream = training_batches(Pictures(deadly=deadly), TRANSFORM, PRIORS, sampler, workers=1)
    for _ in range(3):
        next(stream)
        # it ends here, while a step is computed, which is not to be disturbed
        time.sleep(0.3)
    with pytest.raises(MissingRequirement, match="data loading process was ended") as caught:
        list(stream)
    assert "\n" not in str(caught.value)
    assert signal.getsignal(signal.SIGCHLD) is handler


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_is_killed_with_unread_batches_ends_the_run(workers: int) -> None:
    """Nothing of a batch may be waited for that its process cannot send any more."""
    # 1.1 MB each: no pipe takes that much before it is read
    transform = training_transform(Preprocessing(150, 150))
    sampler = EpochSampler(7, 4, 3, iterations=50)
    stream = training_batches(Pictures(), transform, PRIORS, sampler, workers=workers)
    next(stream)
    # the processes are two batches ahead by then
    time.sleep(1)
    # the first of them has the next batch
    first = min(torch.multiprocessing.active_children(), key=lambda one: one.pid)
    os.kill(first.pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(MissingRequirement, match="data loading process was ended"):
        list(stream)
    # torch looks after its processes every 5 s
    assert time.monotonic() - started < 30
    assert torch.multiprocessing.active_children() == []


def test_workers_end_with_the_loop() -> None:
    torch_processes = torch.multiprocessing.active_children
    sampler = EpochSampler(7, 4, 3)
    stream = training_batches(Pictures(), TRANSFORM, PRIORS, sampler, workers=2)
    next(stream)
    assert len(torch_processes()) == 2
    stream.close()
    assert torch_processes() == []


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(UsageError, match="workers -1"):
        batches(-1)
