"""Configuration files as values: the published keys, our own, and what each refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssd_small.configs.experiment import SECTIONS, Experiment, read_experiment
from ssd_small.configs.kinds import kinds_of
from ssd_small.configs.network import (
    NETWORK_KEYS,
    NetworkConfig,
    network_config_from_dict,
    network_config_to_dict,
)
from ssd_small.configs.options import OPTIONS
from ssd_small.configs.sections import OptimizerSection, Places, SchedulerSection
from ssd_small.configs.yaml_file import yaml_from_mapping
from ssd_small.errors import BadFile

NESTED = {"TRAIN.OPTIMIZER": OptimizerSection, "TRAIN.LR_SCHEDULER": SchedulerSection}


def read(folder: Path, values: dict[str, Any]) -> Experiment:
    path = folder / "e.yml"
    path.write_text(yaml_from_mapping(values))
    return read_experiment(path)


def put(key: str, value: object) -> dict[str, Any]:
    """``TRAIN.OPTIMIZER.EPS`` as nested mappings."""
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def all_keys() -> Iterator[tuple[str, Any]]:
    """Every key of the schema with its kind."""
    for name, section in {**SECTIONS, **NESTED}.items():
        for key, (_, kind, _) in kinds_of(section).items():
            if kind is not None:
                yield f"{name}.{key}", kind
    yield from ((f"MODEL.{key}", kind) for key, (_, kind) in NETWORK_KEYS.items())
    yield from ((key, kind) for key, (_, kind, _) in kinds_of(Places).items())
    yield from OPTIONS.items()


KEYS = dict(all_keys())
#: of some type, and of no key's range
NEVER = [{"a": 1}, math.nan, math.inf, [[[[["x"]]]]], [{"a": 1}], True]
FLAGS = [key for key, kind in KEYS.items() if kind.expected == "true or false"]


@pytest.mark.parametrize("value", NEVER, ids=repr)
@pytest.mark.parametrize("key", KEYS)
def test_a_value_that_no_key_takes_is_refused_with_key_and_value(
    tmp_path: Path, key: str, value: object
) -> None:
    takes_text = "text" in KEYS[key].expected and not isinstance(value, dict | list | bool)
    if (value is True and key in FLAGS) or takes_text:
        return
    with pytest.raises(BadFile) as caught:
        read(tmp_path, put(key, value))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"{tmp_path / 'e.yml'}: {key}: got " in message
    assert ", expected " in message
    assert len(message) < 500


@pytest.mark.parametrize("name", [*SECTIONS, *NESTED])
@pytest.mark.parametrize("value", [3, "x", [1], None], ids=repr)
def test_a_section_that_is_no_mapping_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(BadFile, match=f"{name}: got .*expected keys with values"):
        read(tmp_path, put(name, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.NUM_CLASSES", 1),
        ("MODEL.NUM_CLASSES", 81.0),
        ("MODEL.NUM_CLASSES", 10**6),
        ("MODEL.IMAGE_SIZE", [300]),
        ("MODEL.IMAGE_SIZE", [300, 0]),
        ("MODEL.IMAGE_SIZE", [10**9, 300]),
        ("MODEL.IMAGE_SIZE", 300),
        ("MODEL.FEATURE_LAYER", [[22, 34]]),
        ("MODEL.FEATURE_LAYER", [22, 34]),
        ("MODEL.FEATURE_LAYER", [[22, "S"], [512, "S"]]),
        ("MODEL.FEATURE_LAYER", [[22, 1.5], [512, 256]]),
        ("MODEL.FEATURE_LAYER", [[], []]),
        ("MODEL.FEATURE_LAYER", [[22], [-512]]),
        ("MODEL.FEATURE_LAYER", [[[22], [512]], [["S"], [256]], [["S"], [256]]]),
        ("MODEL.STEPS", [8, 16]),
        ("MODEL.STEPS", [[8, -8]]),
        ("MODEL.STEPS", [[8, 8, 8]]),
        ("MODEL.SIZES", [0, 1]),
        ("MODEL.SIZES", [30, 60, 111]),
        ("MODEL.SIZES", [0.2, 0.4, 0.9]),
        ("MODEL.SIZES", [[30, 30], 60]),
        ("MODEL.ASPECT_RATIOS", [1, 2]),
        ("MODEL.ASPECT_RATIOS", [[1, 2.5]]),
        ("MODEL.ASPECT_RATIOS", [[1, 0]]),
        ("MODEL.ASPECT_RATIOS", [[]]),
        ("MODEL.ASPECT_RATIOS", [[[1.0, 2.0, 3.0]]]),
        ("MODEL.CLIP", 1),
        ("TRAIN.MAX_EPOCHS", 0),
        ("TRAIN.BATCH_SIZE", -1),
        ("TRAIN.OPTIMIZER.OPTIMIZER", "adamw"),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", 0),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", -0.1),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", 1e30),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", "fast"),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", "__import__('os').getpid()"),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", "9**9"),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", "(" * 9000),
        ("TRAIN.OPTIMIZER.MOMENTUM", 1),
        ("TRAIN.LR_SCHEDULER.SCHEDULER", "cosine_restarts"),
        ("TRAIN.LR_SCHEDULER.STEPS", []),
        ("TRAIN.LR_SCHEDULER.WARM_UP_EPOCHS", 1.5),
        ("MATCHER.MATCHED_THRESHOLD", 1.5),
        ("MATCHER.VARIANCE", [0.1]),
        ("MATCHER.VARIANCE", [0.1, 0]),
        ("POST_PROCESS.SCORE_THRESHOLD", -0.1),
        ("POST_PROCESS.IOU_THRESHOLD", 60),
        ("POST_PROCESS.MAX_DETECTIONS", 0),
        ("DATASET.DATASET", "kitti"),
        ("DATASET.TRAIN_SETS", [["2007"]]),
        ("DATASET.TRAIN_SETS", "2007"),
        ("DATASET.PIXEL_MEANS", [1, 2]),
        ("DATASET.PROB", 2),
        ("PHASE", ["sleep"]),
        ("PHASE", "train"),
        ("width", 0),
        ("epochs", 1.5),
        ("lr", "high"),
        ("precision", "fp8"),
        ("device", "tpu"),
        ("seed", -1),
        ("channels_last", "maybe"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(BadFile, match=f"e.yml: {key}: got .*, expected ") as caught:
        read(tmp_path, put(key, value))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("TRAIN.OPTIMIZER.LEARNING_RATE", 1, 1.0),
        ("TRAIN.OPTIMIZER.LEARNING_RATE", "0.004", 0.004),
        ("TRAIN.OPTIMIZER.EPS", "1e-4", 1e-4),
        ("TRAIN.LR_SCHEDULER.STEPS", "[10, 20]", (10, 20)),
        ("TRAIN.TRAINABLE_SCOPE", "norm, extras,", ("norm", "extras")),
        ("TRAIN.RESUME_SCOPE", "", ()),
        ("MATCHER.NEGPOS_RATIO", 3, 3.0),
        ("DATASET.TRAIN_SETS", [[2007, "trainval"]], (("2007", "trainval"),)),
        ("DATASET.TRAIN_SETS", "[('2007', 'test')]", (("2007", "test"),)),
        ("DATASET.TEST_SETS", "2007:val, 2012:val", (("2007", "val"), ("2012", "val"))),
        ("DATASET.PIXEL_MEANS", [104, 117, 123], (104.0, 117.0, 123.0)),
    ],
)
def test_values_are_taken_as_they_are_meant(
    tmp_path: Path, key: str, value: object, meant: object
) -> None:
    value_read: Any = read(tmp_path, put(key, value))
    for name in key.lower().split("."):
        value_read = getattr(value_read, name)
    assert value_read == meant


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ([0.2, 0.95], (0.2, 0.95)),
        ([0.2, 1], (0.2, 1.0)),
        ("[0.1, 0.9]", (0.1, 0.9)),
        ([[30, 60], [111.5, 111]], ((30.0, 60.0), (111.5, 111.0))),
    ],
)
def test_sizes_are_pairs_of_pixels_or_two_scales(
    tmp_path: Path, value: object, meant: object
) -> None:
    assert read(tmp_path, put("MODEL.SIZES", value)).network.sizes == meant


def test_what_a_file_leaves_out_has_the_published_default(tmp_path: Path) -> None:
    plain = read(tmp_path, {"MODEL": {"CLIP": False}})
    assert plain.network == NetworkConfig(clip=False)
    assert plain.num_classes == 21
    assert (plain.train.max_epochs, plain.train.batch_size, plain.test.batch_size) == (
        300,
        128,
        128,
    )
    assert plain.train.trainable_scope == ("base", "extras", "norm", "loc", "conf")
    assert plain.train.resume_scope == ()
    assert plain.train.optimizer == OptimizerSection("sgd", 0.001, 0.9, 0.99, 1e-8, 1e-4)
    assert plain.train.lr_scheduler == SchedulerSection("step", (1,), 0.98, 0)
    assert plain.matcher.variance == (0.1, 0.2)
    post = plain.post_process
    assert (post.score_threshold, post.iou_threshold, post.max_detections) == (0.01, 0.6, 100)
    data = plain.dataset
    assert (data.dataset, data.prob, data.pixel_means) == ("voc", 0.6, (103.94, 116.78, 123.68))
    assert data.train_sets == (("2007", "trainval"), ("2012", "trainval"))
    assert data.test_sets == (("2007", "test"),)
    assert plain.given == {"MODEL", "MODEL.CLIP"}
    assert plain.notes == ()


def test_a_key_that_is_not_known_is_named_with_what_may_be_meant(tmp_path: Path) -> None:
    notes = read(
        tmp_path,
        {
            "MODEL": {"SSDS": "ssd", "ASPECT_RATIO": [[1]]},
            "TRAIN": {"OPTIMIZER": {"LEARNING_RTE": 1}},
            "anotations": "x",
            "TRIAN": {},
            "zebra": 1,
        },
    ).notes
    found = [note.partition("e.yml: ")[2] for note in notes]
    assert found == [
        "MODEL.ASPECT_RATIO is no known key, left out; MODEL.ASPECT_RATIOS is one",
        "TRAIN.OPTIMIZER.LEARNING_RTE is no known key, left out; "
        "TRAIN.OPTIMIZER.LEARNING_RATE is one",
        "anotations is no known key, left out; annotations is one",
        "TRIAN is no known key, left out; TRAIN is one",
        "zebra is no known key, left out",
    ]


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "back\x08"])
def test_a_name_that_a_terminal_would_obey_is_spelled_out(tmp_path: Path, name: str) -> None:
    # as a user's editor would write it; our own writer has no reason to
    path = tmp_path / "e.yml"
    path.write_text(f"MODEL: {{NETS: vgg16}}\n{json.dumps(name)}: 1\n")
    (note,) = read_experiment(path).notes
    assert note.isprintable()
    assert "is no known key" in note


def test_what_has_no_effect_is_said_in_one_line(tmp_path: Path) -> None:
    experiment = read(
        tmp_path,
        {"TRAIN": {"CHECKPOINTS_KEPT": 3}, "PHASE": ["test"], "LOG_DIR": "x", "EXP_DIR": "y"},
    )
    (note,) = experiment.notes
    assert note.endswith("e.yml: without effect here: TRAIN.CHECKPOINTS_KEPT, LOG_DIR, PHASE")
    assert experiment.places.exp_dir == Path("y")


def test_an_input_that_is_not_square_is_explained(tmp_path: Path) -> None:
    (note,) = read(tmp_path, put("MODEL.IMAGE_SIZE", [300, 400])).notes
    assert "[300, 400] is height and width" in note


def test_our_options_are_read_beside_the_sections(tmp_path: Path) -> None:
    both = read(tmp_path, {"MODEL": {"NETS": "vgg16"}, "lr": "0.5", "epochs": 3, "head_lr": None})
    assert both.options == {"lr": 0.5, "epochs": 3}
    assert both.names_network
    named = read(tmp_path, {"MODEL": {"NETS": "vgg16"}, "model": "mobilenet_v1"})
    assert not named.names_network
    assert not read(tmp_path, {"lr": 1}).names_network


def test_keys_that_a_named_network_replaces_are_said(tmp_path: Path) -> None:
    section = {"NETS": "vgg16", "IMAGE_SIZE": [300, 400], "NUM_CLASSES": 5}
    (note,) = read(tmp_path, {"MODEL": section, "model": "mobilenet_v1"}).notes
    assert note.endswith("model mobilenet_v1 takes the place of MODEL.NETS, MODEL.IMAGE_SIZE")
    assert not read(tmp_path, {"MODEL": {"NUM_CLASSES": 5}, "model": "mobilenet_v1"}).notes


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(
            sizes=((30.0, 30.5),), aspect_ratios=((1, (1.0, 2.5)),), steps=((8.0, 16.0),)
        ),
    ],
)
def test_a_network_survives_json(config: NetworkConfig) -> None:
    written = json.loads(json.dumps(network_config_to_dict(config)))
    assert list(written) == list(NETWORK_KEYS)
    assert network_config_from_dict(written, "x") == config


def test_a_network_refuses_keys_that_are_none_of_its_own() -> None:
    with pytest.raises(BadFile, match=r"record: MODEL.'FOO': expected keys among SSDS"):
        network_config_from_dict({"FOO": 1}, "record")
