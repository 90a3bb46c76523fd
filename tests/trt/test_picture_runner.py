"""The runner over doubles with an engine of pictures as they are, of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import onnx
from cuda_double import Cuda
from runner_stage import Stage, make_stage, outputs_of, reference
from tensorrt_double import TensorRt

from ssd_small.artefacts.build_record import EngineFile
from ssd_small.detection.detector import Detector
from ssd_small.errors import UsageError
from ssd_small.files import sha256_of
from ssd_small.pictures.preprocessing import PictureInput
from ssd_small.runtimes import cuda_device, tensorrt_lanes
from ssd_small.runtimes.cuda_device import _PythonCuda
from ssd_small.runtimes.tensorrt import TensorRtRuntime

if TYPE_CHECKING:
    from traced import Traces

pytestmark = pytest.mark.slow

Open = Callable[..., TensorRtRuntime]


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Stage:
    with traces():
        return make_stage("pictures", tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def runner(of_pictures: Stage, cuda: Cuda, double: TensorRt) -> Iterator[TensorRtRuntime]:
    device = _PythonCuda(cuda)
    with TensorRtRuntime(of_pictures.path, of_pictures.sidecar, device=device) as opened:
        yield opened
    assert cuda.live() == 0


def _pictures(number: int, height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(height * width)
    return random.integers(0, 256, (number, height, width, 3)).astype(np.uint8)


def _uploads(runner: TensorRtRuntime, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each upload that is enqueued from now on."""
    sizes: list[int] = []
    upload = runner._device.upload

    def counted(device: int, host: int, size: int, stream: int) -> None:
        sizes.append(size)
        upload(device, host, size, stream)

    monkeypatch.setattr(runner._device, "upload", counted)
    return sizes


def test_pictures_of_several_sizes_by_turns_give_what_the_network_gives(
    runner: TensorRtRuntime, of_pictures: Stage, cuda: Cuda
) -> None:
    sizes = ((300, 300), (40, 60), (400, 400), (60, 40))
    for _ in range(2):
        for number, (height, width) in enumerate(sizes, 1):
            images = _pictures(number, height, width)
            pairs = zip(
                outputs_of(runner.infer(images)), reference(of_pictures, images), strict=True
            )
            for own, other in pairs:
                np.testing.assert_array_equal(own, other)
    # each shape was replayed the second time
    assert cuda.calls.count("cudaGraphLaunch") == len(sizes)


def test_what_is_uploaded_is_a_byte_for_each_channel(
    runner: TensorRtRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = _uploads(runner, monkeypatch)
    runner.infer(_pictures(1, 300, 300))
    runner.infer(_pictures(2, 40, 60))
    # executed, and captured
    assert sizes == [270_000, 270_000, 14_400, 14_400]


def test_the_shape_used_longest_ago_makes_room(
    runner: TensorRtRuntime, double: TensorRt, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_lanes, "MOST_LANES", 2)
    first, second, third = (_pictures(1, side, side) for side in (30, 40, 50))
    for images in (first, second, first, third):
        runner.infer(images)
    assert len(cuda.executables) == 2
    assert len(double.contexts) == 3
    runner.infer(first)  # is still there
    assert len(double.contexts) == 3
    runner.infer(second)
    assert len(double.contexts) == 4


def test_a_picture_larger_than_the_engine_was_built_for_is_refused(
    runner: TensorRtRuntime,
) -> None:
    refusal = (
        "a picture of 401x300 pixels; this engine takes at most 400x400: build it with "
        "max_picture 401x300"
    )
    with pytest.raises(UsageError, match=refusal):
        runner.infer(_pictures(1, 300, 401))
    with pytest.raises(UsageError, match=r"float32 \[1, 3, 300, 300\]; expected uint8 \[N, height"):
        runner.infer(np.zeros((1, 3, 300, 300), np.float32))
    assert runner.infer(_pictures(1, 400, 400))


def test_one_of_many_that_is_too_large_does_not_end_the_others(runner: TensorRtRuntime) -> None:
    pictures = [_pictures(1, side, side)[0] for side in (300, 401, 300)]
    detector = Detector(runner, threads=1)
    found: list[Any] = []
    with pytest.raises(UsageError, match="a picture of 401x401"):
        found.extend(detector.stream(pictures))
    assert len(found) == 1


def test_the_callers_memory_takes_a_picture_of_the_size_that_is_said(
    runner: TensorRtRuntime, of_pictures: Stage, cuda: Cuda
) -> None:
    images = _pictures(2, 40, 60)
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    addresses: dict[str, Any] = {}
    _, addresses["images"] = cuda.cudaMalloc(images.nbytes)
    for name in ("loc", "conf"):
        row = int(np.prod(runner.engine.get_tensor_shape(name)[1:])) * 4
        _, addresses[name] = cuda.cudaMalloc(2 * row)
    cuda_device.host_array(addresses["images"], images.nbytes)[:] = images.ravel()
    runner.enqueue(2, addresses, stream, picture=(40, 60))
    cuda.cudaStreamSynchronize(stream)
    found = cuda_device.host_array(addresses["conf"], 2 * row).view(np.float32)
    np.testing.assert_array_equal(found, reference(of_pictures, images)[1].ravel())
    with pytest.raises(UsageError, match="picture None; expected height and width"):
        runner.enqueue(2, addresses, stream)
    with pytest.raises(UsageError, match="a picture of 60x401 pixels"):
        runner.enqueue(2, addresses, stream, picture=(401, 60))
    runner.close()
    with pytest.raises(UsageError, match="closed"):
        runner.enqueue(2, addresses, stream, picture=(40, 60))
    for address in addresses.values():
        cuda.cudaFree(address)
    cuda.cudaStreamDestroy(stream)


def test_a_size_is_for_networks_of_pictures_only(open_it: Open) -> None:
    with open_it() as runner:
        names = [runner.engine.get_tensor_name(i) for i in range(runner.engine.num_io_tensors)]
        with pytest.raises(UsageError, match="None for any other"):
            runner.enqueue(1, dict.fromkeys(names, 256), 1, picture=(300, 300))


def test_a_fixed_picture_is_bound_without_its_size(
    cuda: Cuda, double: TensorRt, of_pictures: Stage, tmp_path: Path
) -> None:
    """Height and width are then in the engine; saying them is refused as elsewhere."""
    model = onnx.load(of_pictures.path)
    for dim, side in zip(
        model.graph.input[0].type.tensor_type.shape.dim[1:3], (40, 60), strict=True
    ):
        dim.dim_value = side
    path = tmp_path / "x.engine"
    path.write_bytes(model.SerializeToString())
    sidecar = replace(
        of_pictures.sidecar,
        description=replace(of_pictures.sidecar.description, pictures=PictureInput(40, 60)),
        engine=EngineFile(path.name, sha256_of(path), path.stat().st_size),
    )
    with TensorRtRuntime(path, sidecar, device=_PythonCuda(cuda)) as runner:
        assert outputs_of(runner.infer(_pictures(1, 40, 60)))
        with pytest.raises(UsageError, match=r"expected uint8 \[N, 40, 60, 3\]"):
            runner.infer(_pictures(1, 60, 40))
        with pytest.raises(UsageError, match="this network takes pictures of 60x40 only"):
            runner.check_picture(60, 40)
