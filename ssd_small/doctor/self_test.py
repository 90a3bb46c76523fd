"""A short test that proves an engine on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..runtimes.gpu import gpus
from .environment import Finding


def self_test(seed: int = 0) -> list[Finding]:
    """Build a small engine for this machine and compare it with PyTorch and the oracle.

    With a GPU the engine is TensorRT's. Without one it is ONNX Runtime's, and a finding that is
    not fine says that no GPU engine was executed; it is not ``needed``, which is left to the
    comparisons.

    Raises:
        MissingRequirement: torch, onnx or the target is not installed.
    """
    from ..export.build_engine import build_engine, resolve_target
    from ..export.build_options import BuildOptions
    from ..export.onnx_file import write_onnx
    from ..export.to_onnx import onnx_from_network
    from ..postprocess import decode_nms
    from ..requirements import require

    torch = require("torch", "the self-test")
    from ..artefacts.description import description_from_spec
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
        state = f"not executed: {gpus().fault or 'no GPU'}"
        remedy = "on a machine with an NVIDIA GPU and driver: ssd-small doctor --self-test"
        findings.append(Finding("TensorRT engine", False, state, remedy))
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as name:
        onnx_path = Path(name) / "self-test.onnx"
        write_onnx(onnx_from_network(net, description), onnx_path)
        for heads in (True, False):
            engine = Path(name) / f"{heads}.engine"
            # 3 images over batches of at most 2: a full batch and a rest
            build_engine(onnx_path, engine, BuildOptions(target, max_batch=2, heads=heads))
            with open_engine(engine) as runtime:
                outputs = [runtime.infer(images) for _ in range(3)][-1]
            if isinstance(outputs, HeadOutputs):
                findings.append(_heads_finding(target, reference, outputs))
                expected = decode_nms(
                    outputs.loc, outputs.conf, description.priors, description.postprocess
                )
            else:
                same = sum(
                    bool(
                        np.array_equal(a.prior_indices, b.prior_indices)
                        and np.array_equal(a.labels, b.labels)
                    )
                    for a, b in zip(expected, outputs, strict=True)
                )
                state = f"{same} of {len(images)} images as decode + NMS of the heads gives them"
                findings.append(
                    Finding(f"{target} detections", same == len(images), state, needed=True)
                )
    return findings


def _heads_finding(target: str, reference: Any, outputs: Any) -> Finding:
    """Heads within 1e-4 of the largest value: fp32 sums of a few thousand terms reordered."""
    pairs = ((reference.loc, outputs.loc), (reference.conf, outputs.conf))
    worst = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    state = f"within {worst:.1e} of PyTorch (relative to the largest value; limit 1e-4)"
    return Finding(f"{target} heads", worst <= 1e-4, state, needed=True)
