"""Augmentation: by hand and as properties."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("torchvision", reason="needs torchvision")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing, input_from_image  # noqa: E402
from ssd_small.training.augment import (  # noqa: E402
    Augmentation,
    Example,
    example_from_sample,
    training_transform,
)
from ssd_small.training.crop import Rectangle, random_crop  # noqa: E402
from ssd_small.training.dataset import Sample  # noqa: E402

SMALL = Preprocessing(height=60, width=80)
STILL = Augmentation.none()


def sample(boxes: list[list[float]], width: int = 120, height: int = 90, seed: int = 0) -> Sample:
    """A smooth picture; object ``i`` has the label ``i + 1``."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    labels = np.arange(1, len(boxes) + 1)
    return Sample(image, np.array(boxes, np.float32).reshape(-1, 4), labels)


def run(
    given_sample: Sample,
    augmentation: Augmentation,
    seed: int = 0,
    preprocessing: Preprocessing = SMALL,
) -> Example:
    rng = np.random.default_rng(seed)
    return training_transform(preprocessing, augmentation)(given_sample, rng)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Pictures of any shape with up to eight objects, from specks to the whole picture."""
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    boxes = []
    for _ in range(draw(st.integers(0, 8))):
        w, h = (
            side * draw(st.sampled_from([0.0005, 0.01, 0.1, 0.4, 1.0])) for side in (width, height)
        )
        w, h = max(w, 0.01), max(h, 0.01)
        x, y = draw(st.floats(0, 1)) * (width - w), draw(st.floats(0, 1)) * (height - h)
        boxes.append([x, y, x + w, y + h])
    return sample(boxes, width, height, draw(st.integers(0, 9)))


numbers = st.integers(0, 2**32)


@pytest.mark.parametrize(
    "preprocessing",
    [
        SMALL,
        Preprocessing(height=90, width=120),
        Preprocessing(40, 50, "RGB", (1.5, 2.5, 3.5), (57.3, 1.0, 0.5), "cubic"),
    ],
)
def test_without_augmentation_it_is_the_preprocessing_of_inference(
    preprocessing: Preprocessing,
) -> None:
    given_sample = sample([[12, 9, 24, 45]])
    example = run(given_sample, STILL, 0, preprocessing)
    bgr = np.ascontiguousarray(given_sample.image[:, :, ::-1])
    assert (example.image.numpy() == input_from_image(bgr, preprocessing)).all()
    assert example.boxes_xyxy.tolist() == [pytest.approx([0.1, 0.1, 0.2, 0.5])]
    assert example.labels.tolist() == [1]


def test_a_mirrored_picture_by_hand() -> None:
    given_sample = sample([[8, 6, 16, 30], [40, 0, 80, 60]], 80, 60)
    plain = run(given_sample, STILL)
    mirrored = run(given_sample, Augmentation(False, False, 0, 1, 1.0, False, 0))
    assert (mirrored.image == plain.image.flip(-1)).all()
    assert mirrored.boxes_xyxy.tolist() == [
        pytest.approx([0.8, 0.1, 0.9, 0.5]),
        pytest.approx([0.0, 0.0, 0.5, 1.0]),
    ]
    assert mirrored.labels.tolist() == [1, 2]


def test_an_expanded_picture_lies_in_the_mean_and_its_objects_with_it() -> None:
    white = Sample(np.full((60, 80, 3), 255, np.uint8), np.float32([[0, 0, 80, 60]]), np.array([1]))
    sides = []
    for seed in range(40):
        example = run(white, Augmentation(False, False, 1.0, 4.0, 0, False, 0), seed)
        x1, y1, x2, y2 = (example.boxes_xyxy[0] * torch.tensor([80, 60, 80, 60])).tolist()
        # a pixel along the edge is mixed
        inside = example.image[:, int(y1) + 2 : int(y2) - 1, int(x1) + 2 : int(x2) - 1]
        bright = 255 - np.float32(SMALL.mean)
        assert (inside == torch.from_numpy(bright)[:, None, None]).all()
        rest = torch.ones(60, 80, dtype=torch.bool)
        rest[max(0, int(y1) - 1) : int(y2) + 2, max(0, int(x1) - 1) : int(x2) + 2] = False
        # the mean in whole levels
        assert (example.image[:, rest].abs() <= 0.5).all()
        sides.append(round(x2 - x1))
    assert min(sides) >= 20
    assert max(sides) <= 80
    assert len(set(sides)) > 15


@given(samples(), numbers)
@settings(max_examples=150, deadline=None)
def test_a_crop_is_a_part_with_the_centres_it_says(given_sample: Sample, seed: int) -> None:
    height, width = given_sample.image.shape[:2]
    boxes = given_sample.boxes_xyxy
    part, inside = random_crop(width, height, boxes, np.random.default_rng(seed))
    assert part.left >= 0 <= part.top
    assert min(part.width, part.height) >= 1
    assert part.left + part.width <= width
    assert part.top + part.height <= height
    if part == Rectangle(0, 0, width, height) and inside.all():
        return
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    right, bottom = part.left + part.width, part.top + part.height
    expected = (part.left < x) & (x < right) & (part.top < y) & (y < bottom)
    assert (inside == expected).all()
    assert inside.any()
    # a side may be cut by less than a pixel to be whole
    assert part.width >= 0.3 * 0.5**0.5 * width - 1
    assert part.height >= 0.3 * 0.5**0.5 * height - 1


def test_crops_come_in_the_modes_of_the_recipe() -> None:
    # one object as large as the picture: the IoU of a crop is its share of the picture, so all
    # seven modes are possible and no crop is refused for its centre
    boxes = np.float32([[0, 0, 1000, 1000]])
    shares, whole, aspects = [], 0, []
    for seed in range(2000):
        part, _ = random_crop(1000, 1000, boxes, np.random.default_rng(seed))
        whole += part == Rectangle(0, 0, 1000, 1000)
        if part != Rectangle(0, 0, 1000, 1000):
            shares.append(part.width * part.height / 1e6)
            aspects.append(part.width / part.height)
    # one mode in seven: 286 of 2000, standard deviation 16
    assert abs(whole - 2000 / 7) < 5 * 16
    # a fifth of the crops below is bound from below by each of .1 to .9
    assert min(shares) < 0.15
    assert np.mean(np.array(shares) >= 0.9) > 1 / 6 - 0.05
    assert 0.49 < min(aspects) < 0.6
    assert 1.7 < max(aspects) < 2.04


def test_in_a_dense_picture_crops_need_every_object_to_overlap() -> None:
    # a speck beside a large object: no crop has an IoU of 0.1 with the speck, whatever it has
    # with the other, so only "whole" and "any" remain
    boxes = np.float32([[0, 0, 900, 900], [950, 950, 955, 955]])
    parts = [random_crop(1000, 1000, boxes, np.random.default_rng(seed)) for seed in range(300)]
    whole = sum(part == Rectangle(0, 0, 1000, 1000) for part, _ in parts)
    # one half of 300, standard deviation 9
    assert abs(whole - 150) < 5 * 9
    assert {tuple(inside.tolist()) for _, inside in parts} >= {(True, False), (False, True)}


@pytest.mark.slow
@given(samples(), numbers)
@settings(max_examples=300, deadline=None)
def test_objects_are_never_silently_lost(given_sample: Sample, seed: int) -> None:
    # objects of less than three of 60 pixels are too small
    augmentation = Augmentation(random_interpolation=False, min_side=0.05)
    example = run(given_sample, augmentation, seed)
    assert example.image.shape == (3, 60, 80)
    assert torch.isfinite(example.image).all()
    boxes, labels = example.boxes_xyxy.numpy(), example.labels.tolist()
    assert boxes.shape == (len(labels), 4)
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert bool(labels) == bool(len(given_sample.labels))
    # labels go with their objects, in order, none twice
    assert labels == sorted(set(labels))
    assert set(labels) <= set(given_sample.labels.tolist())
    # an object that is left out has its centre beyond the crop or became too small to see:
    # keeping the small ones gives a superset that misses only the former
    lenient = run(given_sample, replace(augmentation, min_side=0.0), seed)
    sides = (lenient.boxes_xyxy[:, 2:] - lenient.boxes_xyxy[:, :2]) * torch.tensor([80.0, 60.0])
    least = sides.min(dim=1).values if len(lenient.labels) else torch.zeros(0)
    # a side within float32 rounding of the limit may fall either way
    doubtful = set(lenient.labels[(least - 3.0).abs() < 1e-4].tolist())
    large = set(lenient.labels[least >= 3.0].tolist())
    still = run(given_sample, STILL)
    if torch.equal(lenient.image, still.image):
        # nothing was changed, by chance or because no object has as much as a pixel
        assert labels in (given_sample.labels.tolist(), sorted(large))
    elif large - doubtful:
        assert set(labels) ^ large <= doubtful
    elif len(given_sample.labels) and not doubtful:
        # nothing large enough: the picture as it is, with everything in it
        assert labels == given_sample.labels.tolist()
        assert (example.image == still.image).all()
        assert (example.boxes_xyxy == still.boxes_xyxy).all()


@pytest.mark.slow
@given(samples(), numbers)
@settings(max_examples=60, deadline=None)
def test_the_same_numbers_give_the_same_example_and_nothing_else_is_touched(
    given_sample: Sample, seed: int
) -> None:
    before = given_sample.image.copy(), given_sample.boxes_xyxy.copy(), given_sample.labels.copy()
    torch_state, numpy_state = torch.random.get_rng_state(), str(np.random.get_state())
    first, second = (run(given_sample, Augmentation(), seed) for _ in range(2))
    assert (first.image == second.image).all()
    assert (first.boxes_xyxy == second.boxes_xyxy).all()
    assert (first.labels == second.labels).all()
    assert (torch.random.get_rng_state() == torch_state).all()
    assert str(np.random.get_state()) == numpy_state
    after = given_sample.image, given_sample.boxes_xyxy, given_sample.labels
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    # nor is the example a view of what is kept for the next epoch
    first.image.zero_()
    first.boxes_xyxy.zero_()
    first.labels.zero_()
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_seeds_give_different_pictures() -> None:
    given_sample = sample([[30, 30, 90, 80]])
    images = {run(given_sample, Augmentation(), seed).image.numpy().tobytes() for seed in range(20)}
    assert len(images) == 20


def test_a_picture_without_objects_is_augmented_too() -> None:
    given_sample = sample([])
    examples = [run(given_sample, Augmentation(), seed) for seed in range(8)]
    assert all(e.boxes_xyxy.shape == (0, 4) and e.labels.shape == (0,) for e in examples)
    assert len({e.image.numpy().tobytes() for e in examples}) == 8


def test_the_object_is_found_where_its_box_says() -> None:
    """A bright object on a dark picture, through every kind of geometry."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:300, 250:400] = 255
    bright = Sample(image, np.float32([[250, 200, 400, 300]]), np.array([1]))
    preprocessing = Preprocessing(300, 300, mean=(0.0, 0.0, 0.0))
    for seed in range(60):
        augmentation = Augmentation(photometric=False)
        example = run(bright, augmentation, seed, preprocessing)
        rows, columns = np.nonzero(example.image[0].numpy() > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # two resizings: the edge of an interpolated step is off by a pixel each and a half
        assert np.abs(np.array(found) - example.boxes_xyxy[0].numpy() * 300).max() <= 2.5


def test_light_changes_within_the_bounds_and_boxes_stay() -> None:
    grey = Sample(np.full((60, 80, 3), 100, np.uint8), np.float32([[8, 6, 16, 30]]), np.array([1]))
    preprocessing = replace(SMALL, mean=(0.0, 0.0, 0.0))
    light = Augmentation(False, True, 0.0, 1.0, 0.0, False, 0.0)
    values = []
    for seed in range(200):
        example = run(grey, light, seed, preprocessing)
        assert example.boxes_xyxy.tolist() == [pytest.approx([0.1, 0.1, 0.2, 0.5])]
        assert example.image.min() == example.image.max()
        values.append(float(example.image[0, 0, 0]))
    # grey has no colour and is its own mean: only brightness shows, by up to an eighth
    # (and the roundings of the other three)
    assert 85 <= min(values) < 92
    assert 108 < max(values) <= 115
    # half of 200 without it, standard deviation 7, and a tenth of the others by as little
    assert 75 <= sum(abs(value - 100) <= 1 for value in values) <= 145


def test_light_changes_colours_but_never_exchanges_channels() -> None:
    red = Sample(np.full((60, 80, 3), (200, 20, 20), np.uint8), np.zeros((0, 4), np.float32),
                 np.zeros(0, np.int64))  # fmt: skip
    preprocessing = replace(SMALL, mean=(0.0, 0.0, 0.0), color_order="RGB")
    light = Augmentation(False, True, 0.0, 1.0, 0.0, False, 0.0)
    colours = {tuple(run(red, light, s, preprocessing).image[:, 0, 0].tolist()) for s in range(60)}
    assert len(colours) > 30
    assert all(r > max(g, b) for r, g, b in colours)


def test_a_transform_can_be_sent_to_a_worker() -> None:
    transform = pickle.loads(pickle.dumps(training_transform(SMALL)))
    given_sample = sample([[30, 30, 90, 80]])
    rng = np.random.default_rng(4)
    direct = example_from_sample(given_sample, np.random.default_rng(4), SMALL, Augmentation())
    assert (transform(given_sample, rng).image == direct.image).all()


@pytest.mark.parametrize(
    "values",
    [{"expand": 1.5}, {"mirror": -0.1}, {"min_side": float("nan")}, {"max_expand": 0.5}],
)
def test_augmentation_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected expand"):
        Augmentation(**values)  # type: ignore[arg-type]
