"""Other implementations of decode + NMS, the contenders of `bench_decode_nms.py`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.postprocess.oracle import iou_scale_and_offset

#: detections of an image in order, each (label, prior)
Pairs = list[tuple[int, int]]


def numpy_loop(loc, conf, priors, params) -> list[Pairs]:
    """Softmax, then class after class: threshold, sort, greedy NMS."""
    scale, offset = iou_scale_and_offset(params.pixel_offset)
    found = []
    for image in range(len(loc)):
        scores = np.exp(conf[image] - conf[image].max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        boxes = boxes_xyxy_from_loc(loc[image], priors, params.variances)
        rows = []
        for label in range(1, scores.shape[1]):
            index = np.flatnonzero(scores[:, label] > params.score_threshold)
            index = index[np.argsort(-scores[index, label], kind="stable")]
            index = index[: params.pre_nms_topk or None]
            kept = 0
            while len(index) and not (0 < params.keep_topk_per_class <= kept):
                rows.append((-scores[index[0], label], label, int(index[0])))
                kept += 1
                overlap = iou_one_to_many(
                    boxes[index[0]] * scale, boxes[index[1:]] * scale, float(offset)
                )
                index = index[1:][overlap <= params.iou_threshold]
        rows.sort()
        found.append([row[1:] for row in rows[: params.keep_topk or None]])
    return found


def torchvision_run(loc, conf, priors, params, threads) -> Callable[[], list[Pairs]]:
    """The steps of torchvision's SSD after its heads, without the clipping to the image."""
    import torch
    from torchvision.ops import batched_nms

    torch.set_num_threads(threads)
    loc, conf, priors = (torch.from_numpy(array) for array in (loc, conf, priors))
    centre_variance, size_variance = params.variances

    def one(loc, scores):
        centre = priors[:, :2] + loc[:, :2] * centre_variance * priors[:, 2:]
        size = priors[:, 2:] * torch.exp(loc[:, 2:] * size_variance)
        boxes = torch.cat([centre - size / 2, centre + size / 2], 1)
        parts = []
        for label in range(1, scores.shape[1]):
            score = scores[:, label]
            index = torch.where(score > params.score_threshold)[0]
            score, top = score[index].topk(min(params.pre_nms_topk, len(index)))
            parts.append((score, index[top], torch.full_like(top, label)))
        score, prior, label = (torch.cat(part) for part in zip(*parts, strict=True))
        kept = batched_nms(boxes[prior], score, label, params.iou_threshold)[: params.keep_topk]
        return score[kept], boxes[prior[kept]], label[kept], prior[kept]

    def run() -> list[Pairs]:
        with torch.inference_mode():
            scores = torch.softmax(conf, -1)
            images = [one(loc[i], scores[i]) for i in range(len(loc))]
        return [list(zip(label.tolist(), prior.tolist(), strict=True))
                for _, _, label, prior in images]  # fmt: skip

    return run


def onnxruntime_run(loc, conf, priors, params, threads) -> Callable[[], list[Pairs]]:
    """The function body in a model of its own."""
    import onnxruntime
    from onnx import TensorProto, helper
    from ssd_small.export.decode_nms_node import append_decode_nms

    shapes = {"loc": ["batch", len(priors), 4], "conf": ["batch", len(priors), conf.shape[2]]}
    inputs, outputs = (
        [helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, shape)
         for name, shape in shapes.items()]
        for prefix in ("in_", "")
    )  # fmt: skip
    nodes = [helper.make_node("Identity", [f"in_{name}"], [name]) for name in shapes]
    graph = helper.make_graph(nodes, "heads", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    append_decode_nms(model, params, priors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run() -> list[Pairs]:
        count, _, _, label, prior = session.run(None, {"in_loc": loc, "in_conf": conf})
        return [list(zip(label[i, :n].tolist(), prior[i, :n].tolist(), strict=True))
                for i, n in enumerate(count)]  # fmt: skip

    return run
