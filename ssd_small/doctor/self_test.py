"""A short test that proves an engine on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.limits import HEAD_LIMITS
from ..evaluation.proof import faults_from_heads, heads_difference
from ..postprocess import Detections
from ..system.gpu import gpus
from ..system.temporary import temporary_folder
from .environment import Finding

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..runtimes import HeadOutputs


def self_test(seed: int = 0) -> list[Finding]:
    """Build a small engine for this machine and compare it with PyTorch and the oracle.

    Two engines are built, one of the heads alone and one with decode + NMS inside. The builder may
    choose other kernels for each, so that their heads differ by rounding; the detections of the
    second are proven to be possible for the heads of the first within the limit for heads.

    With a GPU the engine is TensorRT's. Without one it is ONNX Runtime's, and a finding that is not
    fine says that no GPU engine was executed. That finding is not ``needed``; only the comparisons
    are.

    Raises:
        MissingRequirement: torch, onnx or the target is not installed.
    """
    from ..requirements import require

    # checked before the imports below, which require these
    torch, _, _ = (require(name, "the self-test") for name in ("torch", "onnx", "onnxscript"))
    from ..artefacts.build_options import BuildOptions
    from ..artefacts.description import description_from_spec
    from ..export.build_engine import build_engine, resolve_target
    from ..export.onnx_file import write_onnx
    from ..export.to_onnx import onnx_from_network
    from ..models.network import create_model
    from ..runtimes import HeadOutputs, open_engine
    from ..runtimes.torch import TorchRuntime

    torch.manual_seed(seed)
    net = create_model("mobilenet_v1", num_classes=4, width=0.25)
    description = description_from_spec(net.spec, 4, 0.25, has_decode_nms=True)
    shape = (3, 3, *net.spec.input_size)
    images = np.random.default_rng(seed).uniform(-120, 130, shape).astype(np.float32)
    reference = TorchRuntime(net, description.with_decode_nms(False)).infer(images)
    assert isinstance(reference, HeadOutputs)
    target = resolve_target("auto")
    findings = []
    if target == "onnxruntime":
        require("onnxruntime", "the self-test")
        state = f"not executed: {gpus().fault or 'no GPU'}"
        remedy = "on a machine with an NVIDIA GPU and driver: ssd-small doctor --self-test"
        findings.append(Finding("TensorRT engine", False, state, remedy))
    with temporary_folder() as folder:
        onnx_path = folder / "self-test.onnx"
        write_onnx(onnx_from_network(net, description), onnx_path)
        for heads in (True, False):
            engine = folder / f"{heads}.engine"
            # 3 images with batches of at most 2: one full batch and a remainder
            build_engine(onnx_path, engine, BuildOptions(target, max_batch=2, heads=heads))
            with open_engine(engine) as runtime:
                outputs = [runtime.infer(images) for _ in range(3)][-1]
            if isinstance(outputs, HeadOutputs):
                own = outputs
                findings.append(_heads_finding(target, own, reference))
            else:
                findings.append(_detections_finding(target, outputs, own, description))
    return findings


def _heads_finding(target: str, own: HeadOutputs, reference: HeadOutputs) -> Finding:
    worst = heads_difference((own.loc, own.conf), (reference.loc, reference.conf))
    limit = HEAD_LIMITS["fp32"]
    state = f"within {worst:.1e} of PyTorch (relative to the largest value; limit {limit:.0e})"
    return Finding(f"{target} heads", worst <= limit, state, needed=True)


def _detections_finding(
    target: str, found: list[Detections], own: HeadOutputs, description: Description
) -> Finding:
    loc_error, conf_error = (
        HEAD_LIMITS["fp32"] * float(np.abs(array).max()) for array in (own.loc, own.conf)
    )
    faults = faults_from_heads(
        found,
        own.loc,
        own.conf,
        description.priors,
        description.postprocess,
        loc_error=loc_error,
        conf_error=conf_error,
    )
    proven = sum(not of_image for of_image in faults)
    state = f"{proven} of {len(found)} images as decode + NMS of the heads gives them"
    for image, of_image in enumerate(faults):
        if of_image:
            state += f"; image {image}: {of_image[0]}"
            break
    return Finding(f"{target} detections", not any(faults), state, needed=True)
