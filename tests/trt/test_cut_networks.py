"""Parts of a network, cut for the search for the first layer, in TensorRT-RTX without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engine_builds import Exported

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.trt

from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402

if TYPE_CHECKING:
    from cuda_double import Cuda
    from tensorrt_double import TensorRt


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx")
def test_parts_of_a_half_precision_network_are_built(exported: Exported, tmp_path: Path) -> None:
    """From the pictures to a cut, and from another on, where several tensors pass."""
    import numpy as np
    from onnx import helper
    from ssd_small.export.decode_nms_node import strip_decode_nms
    from ssd_small.export.prepare import prepare

    from ssd_small.artefacts.onnx_file import read_onnx
    from ssd_small.parity.shared_cuts import shared_cuts
    from ssd_small.parity.tensorrt_parts import plan_from_part, with_shapes
    from ssd_small.runtimes.cuts import cut_model

    path = exported("mobilenet_v1")
    reference, _ = read_onnx(path)
    strip_decode_nms(reference)
    model = prepare(path, "fp16", heads=True, for_plugin=False).model
    cuts = shared_cuts(reference, model)
    assert len(cuts) > 60
    # the least effort of the builder, and few layers: what is tried is whether it takes them
    options = BuildOptions(
        "tensorrt-rtx", "fp16", 1, True, compute_capabilities=("8.6",), optimization_level=0
    )
    # behind the last feature map, where many tensors pass
    early, late, last = cuts[3], cuts[-6], cuts[-1]
    assert len(late.engine) > 6
    images = {"images": (1, 3, 300, 300)}
    start = {"images": (np.dtype(np.float32), None)}
    first = cut_model(model, early.engine, start)
    middle = cut_model(model, late.engine, start)
    known = with_shapes(middle, images).graph.output
    starts = {
        value.name: (helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type), None)
        for value in known
    }
    assert {kind for kind, _ in starts.values()} == {np.dtype(np.float16)}
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in known
    }
    second = cut_model(model, last.engine, starts)
    for name, part, given in (("first", first, images), ("second", second, shapes)):
        (tmp_path / name).mkdir()
        plan = plan_from_part(part, given, tmp_path / name, options)
        assert plan.stat().st_size > 1000


@pytest.mark.slow
def test_a_search_runs_over_parts_in_tensorrt(
    cuda: Cuda, double: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the doubles, whose plans are ONNX files."""
    import numpy as np
    from layered_network import DESCRIPTION, layered_network, with_scaled_weights

    from ssd_small.parity import tensorrt_parts
    from ssd_small.parity.first_layer import search_from_graphs
    from ssd_small.runtimes.cuda_device import _PythonCuda

    def plan_from_part(model, shapes, folder: Path, options: BuildOptions) -> Path:  # type: ignore[no-untyped-def]
        assert options.max_batch == 1
        plan = folder / "part.plan"
        plan.write_bytes(tensorrt_parts.with_shapes(model, shapes).SerializeToString())
        return plan

    monkeypatch.setattr(tensorrt_parts, "require", lambda name, purpose: double)
    monkeypatch.setattr(tensorrt_parts, "plan_from_part", plan_from_part)
    parts = tensorrt_parts.TensorRtParts(
        BuildOptions("tensorrt-rtx", max_batch=8), _PythonCuda(cuda)
    )
    network = layered_network()
    pictures = list(np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3), np.uint8))
    wrong = with_scaled_weights(network, "conv_17", 1.05)
    found = search_from_graphs(network, wrong, DESCRIPTION, pictures, parts)
    assert found.first is not None
    assert found.first.name == "conv_17"
    assert double.executions >= 2 * found.cuts
    # nothing is left on the GPU
    assert not cuda.device
    assert not cuda.pinned
