"""Every configuration of the published repository is read as what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssd_small.configs.experiment import Experiment, read_experiment
from ssd_small.configs.network import network_config_from_dict, network_config_to_dict

#: name before _coco or _voc -> SSDS, NETS, first entries, batch, rate, epochs, warm-up (of coco);
#: of those files whose two variants agree in everything but the classes
SAME = {
    "ssd_darknet19": ("ssd", "darknet_19", 12, 32, 0.001, 100, 60),
    "ssd_darknet53": ("ssd", "darknet_53", 23, 32, 0.001, 100, 60),
    "rfb_vgg16_train": ("rfb", "vgg16", 22, 24, 0.001, 100, 60),
    "rfb_darknet19": ("rfb", "darknet_19", 12, 32, 0.001, 100, 60),
    "rfb_lite_mobilenetv1_train": ("rfb_lite", "mobilenet_v1", 11, 32, 0.004, 51, 25),
    "fssd_darknet53": ("fssd", "darknet_53", 14, 16, 0.001, 100, 60),
}
DIFFERENT = {
    "ssd_vgg16_train_coco": ("ssd", "vgg16", 22, 32, 0.004, 60, 5),
    "ssd_vgg16_train_voc": ("ssd", "vgg16", 22, 32, 0.004, 2, 0),
    "ssd_resnet50_train_voc": ("ssd", "resnet_50", 10, 32, 0.001, 200, 50),
    "ssd_lite_mobilenetv1_train_voc": ("ssd_lite", "mobilenet_v1", 11, 32, 0.004, 300, 100),
    "ssd_lite_mobilenetv2_train_coco": ("ssd_lite", "mobilenet_v2", 13, 32, 0.001, 200, 95),
    "rfb_resnet50_train_coco": ("rfb", "resnet_50", 10, 28, 0.001, 100, 30),
    "rfb_darknet53_coco": ("rfb", "darknet_53", 23, 16, 0.001, 100, 55),
    "rfb_lite_mobilenetv2_train_voc": ("rfb_lite", "mobilenet_v2", 13, 32, 0.001, 300, 0),
    "fssd_vgg16_train_voc": ("fssd", "vgg16", 22, 32, 0.004, 30, 0),
    "fssd_resnet50_train_coco": ("fssd", "resnet_50", 10, 28, 0.001, 100, 10),
    "fssd_darknet19_coco": ("fssd", "darknet_19", 8, 32, 0.001, 120, 60),
    "fssd_lite_mobilenetv1_train_coco": ("fssd_lite", "mobilenet_v1", 5, 32, 0.001, 200, 97),
    "fssd_lite_mobilenetv2_train_voc": ("fssd_lite", "mobilenet_v2", 6, 32, 0.001, 300, 100),
    "ssd_lite_mobilenetv1_train_coco_S1L0_fmap1": (
        "ssd_lite",
        "mobilenet_v1_S1L0",
        11,
        24,
        0.001,
        100,
        0,
    ),
    "ssd_lite_mobilenetv1_train_coco_f6": ("ssd_lite", "mobilenet_v1", 5, 32, 0.001, 100, 0),
    "ssd_dual_vgg16_S1L2_train_coco_1": ("ssd_dual", "vgg16_S1L2", 22, 16, 0.004, 60, 5),
    "ssd_vgg16_S2L2_5_train_coco_2": ("ssd", "vgg16_S2L2_5", 29, 32, 0.004, 60, 5),
}
EXPECTED = {
    **{f"{name}_{data}": row for name, row in SAME.items() for data in ("coco", "voc")},
    **DIFFERENT,
}


@pytest.fixture(scope="module")
def experiments(shared_data: Path) -> dict[str, Experiment]:
    folder = shared_data / "experiments"
    if not folder.is_dir():
        pytest.skip(f"not executed here: no shared data in {folder}")
    return {path.stem: read_experiment(path) for path in sorted(folder.glob("*.yml"))}


def test_all_are_read_and_nothing_in_them_is_unknown(experiments: dict[str, Experiment]) -> None:
    assert len(experiments) == 47
    notes = [note for one in experiments.values() for note in one.notes]
    assert not [note for note in notes if "no known key" in note]
    assert len(notes) == 47  # what has no effect, a line each


def test_what_all_have_in_common(experiments: dict[str, Experiment]) -> None:
    for name, one in experiments.items():
        data = "voc" if "_voc" in name else "coco"
        optimizer, scheduler = one.train.optimizer, one.train.lr_scheduler
        assert one.num_classes == (21 if data == "voc" else 81), name
        assert one.dataset.dataset == data, name
        assert (optimizer.optimizer, optimizer.momentum, optimizer.weight_decay) == (
            "sgd",
            0.9,
            1e-4,
        )
        assert scheduler.scheduler == "SGDR", name
        assert (one.matcher.matched_threshold, one.matcher.negpos_ratio) == (0.5, 3.0), name
        post = one.post_process
        assert (post.score_threshold, post.iou_threshold, post.max_detections) == (0.01, 0.6, 100)
        assert one.dataset.prob == 0.6, name
        assert one.network.clip, name
        assert one.network.image_size == ((512, 512) if "size512" in name else (300, 300)), name
        assert one.places.exp_dir is not None, name
        assert one.names_network, name
        levels = len(one.network.feature_layer[-1].entries)
        assert len(one.network.aspect_ratios) == levels, name
        assert len(one.network.steps) == levels, name
        assert len(one.network.sizes) >= levels + 1, name
        assert len(one.network.feature_layer) == (2 if "fssd" in name else 1), name


@pytest.mark.parametrize("name", EXPECTED)
def test_an_experiment_is_the_row_of_the_published_table(
    experiments: dict[str, Experiment], name: str
) -> None:
    one = experiments[name]
    train = one.train
    assert (
        one.network.ssds,
        one.network.nets,
        one.network.feature_layer[0].entries[0],
        train.batch_size,
        train.optimizer.learning_rate,
        train.max_epochs,
        train.lr_scheduler.warm_up_epochs,
    ) == EXPECTED[name]


def test_a_network_is_written_with_the_values_of_its_file(
    experiments: dict[str, Experiment],
) -> None:
    for one in experiments.values():
        assert network_config_from_dict(network_config_to_dict(one.network), "x") == one.network


def test_the_data_are_the_published_sets(experiments: dict[str, Experiment]) -> None:
    coco = experiments["ssd_vgg16_train_coco"].dataset
    assert (coco.train_sets, coco.test_sets) == ((("2017", "train"),), (("2017", "val"),))
    voc = experiments["ssd_vgg16_train_voc"].dataset
    assert voc.train_sets == (("2007", "trainval"), ("2012", "trainval"))
    assert voc.test_sets == (("2007", "test"),)
    assert voc.dataset_dir == Path("data/VOCdevkit")
