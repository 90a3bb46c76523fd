"""The published experiments' networks, from their configuration files, against the original's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_networks import golden_parameter

import ssd_small
from ssd_small.configs.experiment import read_experiment
from ssd_small.errors import BadFile
from ssd_small.evaluation.limits import BOX_ROUNDING, HEAD_LIMITS
from ssd_small.evaluation.proof import heads_difference
from ssd_small.models.registry import get_spec, spec_from_experiment
from ssd_small.models.shapes import summarize

#: published outputs that are given, by configuration
GIVEN = (
    "fssd_lite_mobilenetv1_train_coco",
    "fssd_vgg16_train_voc",
    "rfb_darknet53_voc",
    "rfb_lite_mobilenetv2_train_voc",
    "rfb_vgg16_train_voc",
    "ssd_darknet19_coco",
    "ssd_dual_vgg16_S1L2_train_coco_1",
    "ssd_lite_dual_mobilenetv1_train_coco_S1L0_Split",
    "ssd_lite_mobilenetv1_train_coco",
    "ssd_lite_mobilenetv1_train_coco_S1L0_fmap1",
    "ssd_lite_mobilenetv1_train_coco_S1L4_fmap1",
    "ssd_lite_mobilenetv1_train_coco_size512",
    "ssd_lite_mobilenetv2_train_coco",
    "ssd_resnet50_train_voc",
    "ssd_vgg16_S1L2_train_coco_1",
    "ssd_vgg16_train_coco",
)
#: asks for channels that do not come
BROKEN = "ssd_lite_dual_mobilenetv1_train_coco_S1L0"
#: published map sides and priors, by begin of the name of the file
MAPS = {
    "ssd_vgg16_train": ([38, 19, 10, 5, 3, 1], 11620),
    "ssd_resnet50": ([38, 19, 10, 5, 3, 1], 11620),
    "ssd_darknet19": ([18, 9, 5, 3, 2, 1], 2654),
    "ssd_darknet53": ([19, 10, 5, 3, 2, 1], 2990),
    "ssd_lite_mobilenetv1_train_voc": ([19, 10, 5, 3, 2, 1], 2990),
    "ssd_lite_mobilenetv1_train_coco": ([19, 10, 5, 3, 2, 1], 2990),
    "ssd_lite_mobilenetv1_train_coco_S1L0_fmap1": ([38, 19, 10, 5, 3, 1], 11638),
    "ssd_lite_mobilenetv1_train_coco_S1L4_fmap1": ([38, 19, 10, 5, 3, 1], 11638),
    "ssd_lite_mobilenetv1_train_coco_S1L6": ([38, 19, 10, 5, 3, 2], 11650),
    "ssd_lite_mobilenetv1_train_coco_S2L0_6": ([75, 38, 19, 10, 5, 3], 45366),
    "ssd_lite_mobilenetv1_train_coco_f6": ([38, 19, 10, 5, 3, 2, 1], 11654),
    "ssd_lite_mobilenetv1_train_coco_size512": ([32, 16, 8, 4, 2, 1], 8180),
    "ssd_lite_mobilenetv2": ([19, 10, 5, 3, 2, 1], 2990),
    "ssd_lite_dual_mobilenetv1_train_coco_S1L0_Split": ([38, 19, 5, 3, 2, 1], 11062),
    "ssd_vgg16_S1L2": ([75, 37, 19, 10, 5, 3], 44866),
    "ssd_dual_vgg16_S1L2": ([75, 37, 10, 5, 3, 1], 42754),
    "ssd_vgg16_S2L2_5": ([75, 25, 13, 7, 5, 3], 38944),
    "rfb_vgg16": ([38, 19, 10, 5, 3, 1], 11620),
    "rfb_resnet50": ([38, 19, 10, 5, 3, 1], 11620),
    "rfb_darknet19": ([18, 9, 5, 3, 2, 1], 2654),
    "rfb_darknet53": ([19, 10, 5, 3, 2, 1], 2990),
    "rfb_lite": ([19, 10, 5, 3, 2, 1], 2990),
    "fssd_darknet19": ([37, 19, 10, 5, 3, 1], 11170),
    "fssd": ([38, 19, 10, 5, 3, 1], 11620),
}
#: files whose network has a name, which they must give
NAMED = {
    "ssd_vgg16_train_coco": "vgg16",
    "ssd_vgg16_S1L2_train_coco_1": "vgg16_s1l2",
    "ssd_dual_vgg16_S1L2_train_coco_1": "vgg16_s1l2_dual",
    "ssd_lite_mobilenetv1_train_coco": "mobilenet_v1",
    "ssd_lite_mobilenetv1_train_coco_S1L0_fmap1": "mobilenet_v1_s1l0",
    "ssd_lite_dual_mobilenetv1_train_coco_S1L0_Split": "mobilenet_v1_s1l0_dual",
}


@pytest.fixture(scope="module")
def files(shared_data: Path) -> dict[str, Path]:
    folder = shared_data / "experiments"
    if not folder.is_dir():
        pytest.skip(f"not executed here: no shared data in {folder}")
    return {path.stem: path for path in sorted(folder.glob("*.yml"))}


@pytest.fixture(params=GIVEN)
def case(request: pytest.FixtureRequest, files: dict[str, Path], shared_data: Path):
    path = shared_data.parent / "golden" / "experiments" / f"{request.param}.npz"
    if not path.is_file():
        pytest.skip(f"not executed here: no shared data in {path.parent}")
    with np.load(path) as content:
        return files[request.param], dict(content)


def test_keys_their_order_shapes_maps_and_priors_are_the_published_ones(case) -> None:
    path, expected = case
    with torch.device("meta"):
        state = ssd_small.create_model(config=path).state_dict()
    assert list(state) == expected["keys"].tolist()
    assert [str(tuple(v.shape)) for v in state.values()] == expected["shapes"].tolist()
    spec = spec_from_experiment(read_experiment(path))
    assert spec is not None
    maps = [[shape.height, shape.width] for shape in summarize(spec).levels]
    assert maps == expected["maps"].tolist()


@pytest.mark.slow
def test_heads_and_priors_are_those_of_the_published_network(case) -> None:
    path, expected = case
    net = ssd_small.create_model(config=path)
    net.load_state_dict(
        {
            key: torch.from_numpy(np.array(golden_parameter(key, tuple(value.shape))))
            for key, value in net.state_dict().items()
        }
    )
    np.testing.assert_allclose(net.priors.numpy(), expected["priors"], rtol=0, atol=BOX_ROUNDING)
    # noise on the scale of mean-subtracted pixels, as the published outputs were made with
    noise = np.random.default_rng(7).uniform(-120, 135, (1, 3, *net.spec.input_size))
    with torch.inference_mode():
        loc, conf = net(torch.from_numpy(noise.astype(np.float32)))
    for name, own in (("loc", loc.numpy()), ("conf", conf.numpy())):
        # relative to the largest: logits of these weights reach 1e8; 7e-6 of it was seen
        rows = own[:, expected["rows"]]
        assert heads_difference([rows], [expected[name]]) <= HEAD_LIMITS["fp32"]


def test_every_experiment_that_runs_has_its_published_maps_and_priors(
    files: dict[str, Path],
) -> None:
    assert len(files) == 47
    for name, path in files.items():
        if name == BROKEN:
            continue
        spec = spec_from_experiment(read_experiment(path))
        assert spec is not None
        summary = summarize(spec)
        # the longest begin that is listed
        maps, priors = MAPS[max((begin for begin in MAPS if name.startswith(begin)), key=len)]
        assert [shape.height for shape in summary.levels] == maps, name
        assert [shape.width for shape in summary.levels] == maps, name
        assert summary.num_priors == priors, name
        assert spec.clip == "all", name


@pytest.mark.slow
def test_every_experiment_that_runs_is_built(files: dict[str, Path]) -> None:
    for name, path in files.items():
        if name != BROKEN:
            with torch.device("meta"):
                net = ssd_small.create_model(config=path)
                loc, conf = net(torch.empty(1, 3, *net.spec.input_size))
            classes = 21 if name.endswith("_voc") else 81
            assert conf.shape == (1, len(loc[0]), classes), name


def test_the_experiment_whose_channels_do_not_come_says_so(files: dict[str, Path]) -> None:
    with pytest.raises(BadFile, match=r"S1L0\.yml: .*1536 channels .*1024 come") as caught:
        ssd_small.create_model(config=files[BROKEN])
    assert "\n" not in str(caught.value)


def test_a_published_file_and_the_name_of_its_network_are_the_same(files: dict[str, Path]) -> None:
    for name, model in NAMED.items():
        assert spec_from_experiment(read_experiment(files[name])) == get_spec(model), name
