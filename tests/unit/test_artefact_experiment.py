"""What configurations say of pixels and detections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssd_small.artefacts.experiment import (
    network_from_experiment,
    postprocess_from_experiment,
    preprocessing_from_experiment,
)
from ssd_small.configs.class_names import COCO_NAMES
from ssd_small.configs.experiment import Experiment, read_experiment
from ssd_small.configs.yaml_file import yaml_from_mapping
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.postprocess import PostprocessParams


def read(folder: Path, values: dict[str, Any]) -> Experiment:
    path = folder / "e.yml"
    path.write_text(yaml_from_mapping(values))
    return read_experiment(path)


def test_the_published_defaults_are_the_published_protocol(tmp_path: Path) -> None:
    experiment = read(tmp_path, {"MODEL": {"NETS": "vgg16"}})
    assert postprocess_from_experiment(experiment) == PostprocessParams.coco()
    assert preprocessing_from_experiment(experiment) == Preprocessing()


def test_a_file_that_says_nothing_of_detections_leaves_them_alone(tmp_path: Path) -> None:
    own = PostprocessParams(score_threshold=0.3)
    assert postprocess_from_experiment(read(tmp_path, {"lr": 1}), own) == own


@pytest.mark.parametrize("own", [None, PostprocessParams(score_threshold=0.3)])
def test_numbers_of_the_file_are_those_of_the_detections(
    tmp_path: Path, own: PostprocessParams | None
) -> None:
    experiment = read(
        tmp_path,
        {
            "MODEL": {"IMAGE_SIZE": [512, 300]},
            "POST_PROCESS": {"SCORE_THRESHOLD": 0.2, "IOU_THRESHOLD": 0.4, "MAX_DETECTIONS": 7},
            "MATCHER": {"VARIANCE": [0.3, 0.5]},
            "DATASET": {"PIXEL_MEANS": [1, 2, 3]},
        },
    )
    # a pixel of 300 whatever the input
    expected = replace(
        PostprocessParams.coco(),
        score_threshold=0.2,
        iou_threshold=0.4,
        keep_topk_per_class=7,
        variances=(0.3, 0.5),
    )
    assert expected.pixel_offset == 1 / 300
    assert postprocess_from_experiment(experiment, own) == expected
    assert preprocessing_from_experiment(experiment) == Preprocessing(
        512, 300, mean=(1.0, 2.0, 3.0)
    )


@pytest.mark.parametrize(
    ("dataset", "classes", "first"),
    [
        ("voc", 21, "aeroplane"),
        ("coco", 81, "person"),
        ("voc", 4, "class 1"),
        (None, 21, "class 1"),
    ],
)
def test_weights_without_names_have_those_of_the_data_set(
    tmp_path: Path, dataset: str | None, classes: int, first: str
) -> None:
    pytest.importorskip("torch")
    section = {} if dataset is None else {"DATASET": {"DATASET": dataset}}
    experiment = read(tmp_path, {"MODEL": {"NUM_CLASSES": classes}, **section})
    _, description = network_from_experiment(experiment, "mobilenet_v1", None, width=0.1)
    assert (len(description.labels), description.labels[0]) == (classes - 1, first)
    names = [f"n{i}" for i in range(classes - 1)]
    _, named = network_from_experiment(experiment, "mobilenet_v1", None, width=0.1, labels=names)
    assert named.labels == tuple(names)


def test_the_names_of_coco_are_its_categories(shared_data: Path) -> None:
    annotations = json.loads((shared_data / "coco-golden/instances_val2014_100.json").read_text())
    ordered = sorted(annotations["categories"], key=lambda one: one["id"])
    assert [one["name"] for one in ordered] == list(COCO_NAMES)
