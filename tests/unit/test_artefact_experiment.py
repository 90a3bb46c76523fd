"""What configurations say of pixels and detections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssd_small.artefacts.experiment import (
    postprocess_from_experiment,
    preprocessing_from_experiment,
)
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
