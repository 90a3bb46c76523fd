"""``--config`` as a user sees it: runs repeated, what wins, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("torchvision", reason="needs torchvision")
pytest.importorskip("hotcoco", reason="needs hotcoco")
pytest.importorskip("cv2", reason="needs OpenCV")

from training_pictures import short_run  # noqa: E402

from ssd_small.configs.network import network_config_to_dict  # noqa: E402
from ssd_small.configs.yaml_file import mapping_from_yaml, yaml_from_mapping  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402


def write(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml_from_mapping(values))
    return path


def model_section(name: str, **more: Any) -> dict[str, Any]:
    """The MODEL section of a network of the registry."""
    config = get_spec(name).config
    assert config is not None
    return {**network_config_to_dict(config), **more}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two updates that is evaluated on its own pictures."""
    from ssd_small.cli import main

    folder = tmp_path_factory.mktemp("run") / "run"
    val = {"val-annotations": data / "truth.json", "val-images": data}
    arguments = short_run(data, folder, **val, optimizer="adam", schedule="step", seed=3)
    main([str(part) for part in arguments])
    return folder


def tensors(path: Path) -> dict[str, Any]:
    content = torch.load(path, weights_only=True)
    return content.get("state_dict", content.get("net", content))


@pytest.mark.slow
def test_a_run_is_repeated_from_its_configuration_bit_for_bit(
    call, run: Path, tmp_path: Path
) -> None:
    call("train", "--config", run / "config.yml", "-o", tmp_path / "again").fits()
    first, again = tensors(run / "last.pth"), tensors(tmp_path / "again" / "last.pth")
    assert first.keys() == again.keys()
    weights = [key for key, value in first.items() if isinstance(value, torch.Tensor)]
    assert len(weights) > 100
    assert all(torch.equal(first[key], again[key]) for key in weights)
    configs = [(folder / "config.yml").read_text() for folder in (run, tmp_path / "again")]
    assert configs[0] == configs[1]
    # it can fail: another seed gives other weights
    call("train", "--config", run / "config.yml", "-o", tmp_path / "other", "--seed", 4).fits()
    other = tensors(tmp_path / "other" / "last.pth")
    assert not all(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.slow
def test_a_described_network_is_repeated_evaluated_and_exported(
    call, data: Path, tmp_path: Path
) -> None:
    """One that has no name: MobileNetV1 on six ratios of its own."""
    section = model_section("mobilenet_v1", ASPECT_RATIOS=[[1], [1, 2], [1], [1], [1], [1, 3]])
    values = {"annotations": str(data / "truth.json"), "images": str(data)}
    values |= {"val_annotations": values["annotations"], "val_images": values["images"]}
    small = {"width": 0.1, "batch": 4, "lr": 0.01, "iterations": 2, "eval_every": 0}
    quiet = {"workers": 0, "threads": 1, "device": "cpu"}
    config = write(tmp_path / "e.yml", {"MODEL": section, **values, **small, **quiet})
    call("train", "--config", config, "-o", tmp_path / "run").fits()
    own = mapping_from_yaml(tmp_path / "run" / "config.yml", "x")
    assert own["MODEL"] == {**section, "NUM_CLASSES": 3}
    assert "model" not in own
    call("train", "--config", tmp_path / "run" / "config.yml", "-o", tmp_path / "again").fits()
    first, again = (tensors(tmp_path / name / "last.pth") for name in ("run", "again"))
    weights = [key for key, value in first.items() if isinstance(value, torch.Tensor)]
    assert weights
    assert all(torch.equal(first[key], again[key]) for key in weights)
    scored = call(
        *("eval", "--config", tmp_path / "run" / "config.yml", "--json"),
        *("--weights", tmp_path / "run" / "last.pth"),
    ).fits()
    assert scored.json["model"] == "ssd_mobilenet_v1".replace("ssd", section["SSDS"])
    # the checkpoint knows its network, so another one beside it is refused
    other = write(tmp_path / "other.yml", {"MODEL": model_section("mobilenet_v1")})
    picture = data / "0.png"
    weights_of_run = ("--weights", tmp_path / "run" / "last.pth", picture)
    call("detect", "--config", config, *weights_of_run).fits()
    call("detect", "--config", other, *weights_of_run).fails(2, "ssd_lite_mobilenet_v1")


def test_a_runs_configuration_is_what_print_config_prints(call, run: Path) -> None:
    printed = call("train", "--config", run / "config.yml", "--print-config").fits()
    assert printed.out == (run / "config.yml").read_text()
    assert printed.err == ""
    assert mapping_from_yaml(run / "config.yml", "x")["optimizer"] == "adam"


@pytest.mark.slow
def test_eval_takes_data_and_weights_from_a_configuration(
    call, run: Path, data: Path, tmp_path: Path
) -> None:
    """The weights of a run are not those that its configuration began with."""
    weights = ("--weights", run / "last.pth", "--json")
    by_config = call("eval", "--config", run / "config.yml", *weights).fits()
    truth = ("--annotations", data / "truth.json", "--images", data)
    by_hand = call("eval", *truth, *weights).fits()
    for key in ("metrics", "postprocess", "annotations", "model"):
        assert by_config.json[key] == by_hand.json[key]
    own = {
        "MODEL": model_section("mobilenet_v1", NUM_CLASSES=3),
        "TEST": {"BATCH_SIZE": 3},
        "POST_PROCESS": {"SCORE_THRESHOLD": 0.02, "MAX_DETECTIONS": 50},
        "RESUME_CHECKPOINT": str(run / "last.pth"),
        "val_annotations": str(data / "truth.json"),
        "val_images": str(data),
    }
    config = write(tmp_path / "e.yml", own)
    outcome = call("eval", "--config", config, "--json").fits()
    assert f"weights are {run / 'last.pth'}, which its training starts from" in outcome.err
    assert "starts from" not in call("eval", "--config", config, *weights).fits().err
    scored = outcome.json
    assert scored["postprocess"]["score_threshold"] == 0.02
    assert scored["postprocess"]["keep_topk_per_class"] == 50
    assert scored["postprocess"]["keep_topk"] == 0
    # what stands on the command line wins
    deployed = call("eval", "--config", config, "--protocol", "deploy", "--json").fits().json
    assert deployed["postprocess"]["keep_topk"] == 200


def test_a_published_experiment_becomes_options_of_training(call, tmp_path: Path) -> None:
    config = write(
        tmp_path / "e.yml",
        {
            "MODEL": model_section("vgg16_s1l2_dual", NUM_CLASSES=81),
            "TRAIN": {
                "MAX_EPOCHS": 60,
                "BATCH_SIZE": 16,
                "LR_SCHEDULER": {"SCHEDULER": "SGDR", "WARM_UP_EPOCHS": 5},
            },
            "DATASET": {"DATASET_DIR": "./data/COCO", "TRAIN_SETS": [["2017", "train"]]},
            "EXP_DIR": "runs/x",
            "PHASE": ["test"],
            "SHAPE": 3,
        },
    )
    outcome = call("train", "--config", config, "--batch", 4, "--print-config").fits()
    (tmp_path / "printed.yml").write_text(outcome.out)
    printed = mapping_from_yaml(tmp_path / "printed.yml", "x")
    assert printed["model"] == "vgg16_s1l2_dual"
    assert (printed["epochs"], printed["batch"], printed["schedule"]) == (60, 4, "sgdr")
    assert printed["annotations"] == "data/COCO"
    assert printed["sets"] == [["2017", "train"]]
    assert printed["output"] == "runs/x"
    notes = outcome.err.splitlines()
    assert all(line.startswith(f"note: {config}: ") for line in notes)
    assert any("SHAPE is no known key" in line for line in notes)
    assert any("without effect here: PHASE" in line for line in notes)


def test_print_config_and_back(call, tmp_path: Path) -> None:
    options = ("--model", "mobilenet_v1", "--minutes", 3, "--trainable-scope", "loc,conf")
    printed = call("train", *options, "--print-config").fits().out
    config = tmp_path / "printed.yml"
    config.write_text(printed)
    assert call("train", "--config", config, "--print-config").fits().out == printed
    changed = call("train", "--config", config, "--epochs", 2, "--print-config").fits().out
    assert "epochs: 2\n" in changed
    assert "\nminutes" not in changed


def test_models_shows_the_network_of_a_configuration(call, tmp_path: Path) -> None:
    listed = call("models", "--json", "--num-classes", 21).fits().json["networks"]
    config = write(tmp_path / "e.yml", {"MODEL": model_section("mobilenet_v1", NUM_CLASSES=21)})
    shown = call("models", "--config", config, "--json").fits().json["networks"]
    assert shown == [row for row in listed if row["name"] == "mobilenet_v1"]
    table = call("models", "--config", config).fits().out
    assert re.search(r"mobilenet_v1 +300x300 +19 10 5 3 2 1 +2 990 ", table)
    # a network without a published row
    lite = model_section("mobilenet_v1", NETS="mobilenet_v1_S1L6")
    (row,) = (
        call("models", "--config", write(config, {"MODEL": lite}), "--json").fits().json["networks"]
    )
    assert row["published_map"] is None
    assert row["feature_maps"][0] == [38, 38]
    assert call("models", "--config", config).fits().out


@pytest.mark.slow
def test_create_model_is_the_network_that_models_shows(call, tmp_path: Path) -> None:
    """Width and classes are those of the file; a name alone does not say its classes."""
    section = model_section("mobilenet_v1", NUM_CLASSES=7)
    for values, classes in (({"MODEL": section}, 7), ({"model": "mobilenet_v1"}, 81)):
        config = write(tmp_path / "e.yml", {**values, "width": 0.25})
        net = create_model(config=config)
        assert (net.num_classes, net.width) == (classes, 0.25)
        count = sum(one.numel() for one in net.parameters())
        (row,) = call("models", "--config", config, "--json").fits().json["networks"]
        assert row["parameters"] == count
        other = create_model(config=config, num_classes=3, width=0.1)
        assert (other.num_classes, other.width) == (3, 0.1)


@pytest.mark.slow
def test_export_takes_network_and_post_processing(call, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    config = write(
        tmp_path / "e.yml",
        {
            "MODEL": model_section("mobilenet_v1", NUM_CLASSES=3),
            "POST_PROCESS": {"IOU_THRESHOLD": 0.45},
            "DATASET": {"PIXEL_MEANS": [100, 110, 120]},
            "width": 0.1,
        },
    )
    arguments = ("export", "--config", config, "--random-weights", "-o", tmp_path / "m.onnx")
    description = call(*arguments, "--json").fits().json["description"]
    assert description["model"] == "mobilenet_v1"
    assert (description["num_classes"], description["width"]) == (3, 0.1)
    assert description["postprocess"]["iou_threshold"] == 0.45
    assert description["postprocess"]["keep_topk"] == 0
    assert description["preprocessing"]["mean"] == [100.0, 110.0, 120.0]
    given = ("--preset", "deploy", "--num-classes", 5, "--json")
    own = call(*arguments, *given).fits().json["description"]
    assert (own["num_classes"], own["postprocess"]["keep_topk"]) == (5, 200)


@pytest.mark.slow
def test_bench_takes_a_described_network(call, tmp_path: Path) -> None:
    for module in ("onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    section = model_section("mobilenet_v1", ASPECT_RATIOS=[[1]] * 6, NUM_CLASSES=3)
    post = {"SCORE_THRESHOLD": 0.2}
    config = write(tmp_path / "e.yml", {"MODEL": section, "POST_PROCESS": post, "width": 0.1})
    rows = call("bench", "--config", config, "--seconds", 0, "--json").fits().json["results"]
    assert {row["model"] for row in rows} == {"ssd_lite_mobilenet_v1"}
    assert [row["postprocess"]["score_threshold"] for row in rows] == [0.2, 0.2]
    assert all(row["published_ms"] is None for row in rows)


def test_detect_takes_network_and_weights(
    call, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    values = {"model": "mobilenet_v1", "weights": str(checkpoint)}
    config = write(tmp_path / "e.yml", values)
    by_config = call("detect", "--config", config, pictures / "a.jpg", "--json").fits()
    by_hand = call(
        *("detect", "--model", "mobilenet_v1", "--weights", checkpoint),
        *(pictures / "a.jpg", "--json"),
    ).fits()
    assert json.loads(by_config.out) == json.loads(by_hand.out)


def test_what_is_refused(
    call, checkpoint: Path, engine: Path, pictures: Path, tmp_path: Path
) -> None:
    picture = pictures / "a.jpg"
    vgg = write(tmp_path / "vgg.yml", {"MODEL": model_section("vgg16")})
    own = write(tmp_path / "own.yml", {"lr": 0.1})
    bad = write(tmp_path / "bad.yml", {"MODEL": model_section("vgg16", NUM_CLASSES="many")})
    yolo = write(tmp_path / "yolo.yml", {"MODEL": {"SSDS": "yolo_v2", "NETS": "darknet_19"}})
    weights = ("--weights", checkpoint)
    call("detect", "--config", vgg, "--model", "mobilenet_v1", *weights, picture).fails(
        2, "--model mobilenet_v1", "vgg16", str(vgg)
    )
    call("detect", "--config", vgg, "--engine", engine, picture).fails(2, "--engine")
    call("detect", "--config", vgg, picture).fails(2, "vgg16", "--weights FILE")
    call("detect", "--config", own, picture).fails(2, "no network")
    call("detect", "--config", bad, picture).fails(4, "MODEL.NUM_CLASSES: got 'many'")
    call("detect", "--config", tmp_path / "absent.yml", picture).fails(4, "No such file")
    call("detect", "--config", picture, picture).fails(4, "UTF-8")
    call("models", "--config", yolo).fails(4, "yolo_v2", str(yolo))
    call("models", "--config", own).fails(4, "describes no network")
    classes = write(tmp_path / "classes.yml", {"MODEL": {"NUM_CLASSES": 5}})
    call("models", "--config", classes).fails(4, "expected NETS or SSDS in MODEL")
    call("bench", "--config", vgg, "--engine", engine).fails(2, "--config does not go with")
    call("eval", "--config", own, *weights).fails(2, "--annotations")
    call("train", "--config", own).fails(2, "--output")
    call("train", "--config", own, "-o", tmp_path / "o").fails(2, "nothing to learn from")
    call("train", "--config", yolo, "--print-config").fails(4, "yolo_v2")


def test_an_engine_is_scored_on_the_data_of_its_own_configuration_only(
    call, engine: Path, pictures: Path, truth, saved, tmp_path: Path
) -> None:
    values = {"val_annotations": str(saved(truth)), "val_images": str(pictures)}
    config = write(tmp_path / "e.yml", {"model": "mobilenet_v1", **values})
    scored = call("eval", "--config", config, "--engine", engine, "--json").fits().json
    assert scored["model"] == "mobilenet_v1"
    numbers = {"POST_PROCESS": {"IOU_THRESHOLD": 0.3}, "DATASET": {"PIXEL_MEANS": [1, 2, 3]}}
    of_file = write(tmp_path / "n.yml", {"model": "mobilenet_v1", **values, **numbers})
    again = call("eval", "--config", of_file, "--engine", engine, "--json").fits()
    assert again.json["postprocess"] == scored["postprocess"]
    for what in ("post-processing", "subtraction of means"):
        assert f"note: {what} as {engine} has it, not as {of_file} does" in again.err
    other = write(tmp_path / "o.yml", {"MODEL": model_section("vgg16"), **values})
    call("eval", "--config", other, "--engine", engine).fails(2, "is a mobilenet_v1", "vgg16")


def test_classes_of_a_checkpoint_are_its_own_unless_the_file_says(
    call, pictures: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "m.pth"
    torch.save(create_model("mobilenet_v1", 5, 0.1).state_dict(), weights)
    section = model_section("mobilenet_v1")
    config = write(tmp_path / "e.yml", {"MODEL": section})
    arguments = ("detect", "--config", config, "--weights", weights, pictures / "a.jpg")
    call(*arguments).fits()
    write(config, {"MODEL": {**section, "NUM_CLASSES": 7}})
    call(*arguments).fails(4, "7 classes")
