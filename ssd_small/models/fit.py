"""Whether a state dict fits a network, of what size it is, and what else it may belong to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from .containers import COUNTER, StateDict
from .network import SsdNetwork
from .registry import get_spec, known_models
from .spec import ModelSpec

#: most classes of a network, background included, in options and in weights
MOST_CLASSES = 1024
#: detectors and backbones of other projects, each with patterns of its keys
_FAMILIES: Sequence[tuple[str, tuple[str, ...]]] = (
    ("torchvision's ssd300_vgg16", (r"backbone\.scale_weight", r"head\.classification_head\.")),
    (
        "torchvision's ssdlite320_mobilenet_v3_large",
        (r"backbone\.features\.0\.0\.0\.", r"head\.classification_head\."),
    ),
    ("lufficc's SSD", (r"box_head\.predictor\.", r"backbone\.")),
    ("mmdetection", (r"bbox_head\.", r"backbone\.")),
    ("torchvision's Faster or Mask R-CNN", (r"roi_heads\.", r"rpn\.")),
    ("torchvision's RetinaNet or FCOS", (r"head\.classification_head\.", r"backbone\.fpn\.")),
    ("detectron2", (r"backbone\.bottom_up\.",)),
    ("ssd.pytorch of amdegroot", (r"vgg\.0\.weight", r"loc\.0\.", r"conf\.0\.")),
    ("Ultra-Light-Fast-Generic-Face-Detector", (r"base_net\.7\.branch0\.",)),
    ("pytorch-ssd of qfgaohao", (r"base_net\.", r"classification_headers\.")),
    (
        "NVIDIA's SSD300 (DeepLearningExamples)",
        (r"feature_extractor\.", r"additional_blocks\."),
    ),
    ("Ultralytics' YOLO", (r"model\.0\.conv\.weight", r"model\.\d+\.(cv2|dfl|m)\.")),
    ("a DETR", (r"(class_embed|class_labels_classifier)\.", r"(bbox_embed|bbox_predictor)\.")),
    ("a ResNet classifier", (r"layer1\.0\.conv1\.weight", r"layer4\.")),
    ("torchvision's VGG or MobileNet classifier", (r"features\.0\.", r"classifier\.")),
    ("a VGG-16 backbone alone, as vgg16_reducedfc", (r"0\.weight", r"2\.weight", r"28\.weight")),
)
#: those that ``ssd-small import`` can import
_IMPORTED = (
    *("torchvision's ssd300_vgg16", "torchvision's ssdlite320_mobilenet_v3_large"),
    *("ssd.pytorch of amdegroot", "Ultra-Light-Fast-Generic-Face-Detector"),
    *("pytorch-ssd of qfgaohao", "NVIDIA's SSD300 (DeepLearningExamples)"),
)
#: those with whose backbone training can begin
CLASSIFIERS = ("torchvision's VGG or MobileNet classifier",)
_IMPORT = "bring it in by 'ssd-small import', and pass what that writes"
_LISTED = "expected one of the networks that 'ssd-small models' lists"
#: parts of keys that show what should have been removed before the state dict was saved
_LEFT_IN = (
    ("weight_orig", "it is pruned: call torch.nn.utils.prune.remove before it is saved"),
    (
        "parametrizations",
        "it is parametrised: call torch.nn.utils.parametrize.remove_parametrizations",
    ),
    ("weight_g", "it has weight norms: call torch.nn.utils.remove_weight_norm before it is saved"),
    ("fake_quant", "it is of quantisation-aware training: save the float network"),
    ("activation_post_process", "it is of quantisation-aware training: save the float network"),
    ("weight_scale", "it is quantised: take the weights from before the quantisation"),
    ("lora_", "it holds LoRA adapters: merge them before it is saved"),
)


def differences(net: SsdNetwork, state: StateDict, scope: str = "") -> list[str]:
    """List the keys that are missing, unexpected or of another shape, one per line."""
    own = {key: value for key, value in net.state_dict().items() if key.startswith(scope)}
    lines = [f"  missing: {key}" for key in own if key not in state and not key.endswith(COUNTER)]
    lines += [f"  unexpected: {key}" for key in state if key not in own]
    lines += [
        f"  shape of {key}: received {list(state[key].shape)}, expected {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    return lines


def count_differences(
    spec: ModelSpec, num_classes: int, width: float, state: StateDict, scope: str = ""
) -> int:
    """Count the keys in which a state dict and a network differ; 0 if it fits."""
    # the network may need more memory than there is
    with torch.device("meta"):
        return len(differences(SsdNetwork(spec, num_classes, width), state, scope))


def misfit_hint(
    net: SsdNetwork, state: StateDict, scope: str = "", advice: str | None = None
) -> str:
    """Say why a state dict does not fit a network, and what to do about it.

    Args:
        net: the requested network.
        state: tensors with the published keys.
        scope: prefix of the network's keys that are compared.
        advice: what to suggest for other heads, for commands that have no ``--num-classes``.
    """
    asked = len(differences(net, state, scope))
    head = state.get("conf.0.weight")
    anchors = net.spec.levels[0].num_anchors
    if head is not None and head.ndim == 4 and head.shape[0] > MOST_CLASSES * anchors:
        return f"it has heads of {head.shape[0]} channels; expected {MOST_CLASSES} classes at most"
    nearest, fewest, share = _nearest(net, state, scope)
    family = None if fewest == 0 else family_from_keys(state)
    if family is not None:
        return (
            f"it looks like a checkpoint of {family}, which is another network with other layers; "
            + (_IMPORT if family in _IMPORTED else _LISTED)
        )
    if nearest == [net.spec.name] and fewest < asked:
        classes, width = num_classes_from_state(state, net.spec), width_from_state(state, net.spec)
        if classes not in (None, net.num_classes):
            return f"it has {classes} classes: {advice or f'pass --num-classes {classes}'}"
        if width is not None and width_from_state(net.state_dict(), net.spec) != width:
            return f"it has width {width:g}: pass --width {width:g}"
    if net.spec.name not in nearest and share > 0.5:
        most = "" if fewest == 0 else "most of "
        other = f", or {advice}" if advice else ""
        return f"{most}its tensors are those of {' or '.join(nearest)}: pass that --model{other}"
    for part, left in _LEFT_IN:
        if any(part in key for key in state):
            return left
    own = [key for key in net.state_dict() if key.startswith(scope) and not key.endswith(COUNTER)]
    there = sum(key in state for key in own)
    if there == len(own) and asked == len(state.keys() - net.state_dict().keys()):
        return f"it has all tensors of a {net.spec.name} and others besides: save it without these"
    if there > len(own) // 2:
        return (
            f"it has {there} of the {len(own)} tensors of a {net.spec.name}, and is changed or "
            "damaged: take the whole state dict of the network"
        )
    first = f"keys such as {next(iter(state))}" if state else "no tensors"
    return f"it is of no network known here ({first}); expected keys such as {own[0]}"


def _nearest(net: SsdNetwork, state: StateDict, scope: str) -> tuple[list[str], int, float]:
    """Find the networks that differ least from the weights, each built at the weights' size.

    Returns:
        Their names (only the requested one if it is among them), how many keys differ, and which
        share of the first one's tensors is present, 0 to 1.
    """
    specs = {name: get_spec(name) for name in known_models()} | {net.spec.name: net.spec}
    counts, shares = {}, {}
    for name, spec in specs.items():
        classes = num_classes_from_state(state, spec) or net.num_classes
        width = width_from_state(state, spec) or net.width
        # the network may need more memory than there is
        with torch.device("meta"):
            other = SsdNetwork(spec, classes, width)
        counts[name] = len(differences(other, state, scope))
        own = {key: v for key, v in other.state_dict().items() if key.startswith(scope)}
        there = sum(key in state and state[key].shape == own[key].shape for key in own)
        shares[name] = there / max(len(own), 1)
    fewest = min(counts.values())
    names = [name for name, count in counts.items() if count == fewest]
    names = [net.spec.name] if net.spec.name in names else names
    return names, fewest, shares[names[0]]


def family_from_keys(keys: Iterable[str]) -> str | None:
    """Return the project whose networks have such keys; None for ours and for unknown ones."""
    listed = list(keys)
    for name, patterns in _FAMILIES:
        found = [re.compile(rf"(module\.|1\.|model\.)*{pattern}") for pattern in patterns]
        if all(any(one.match(key) for key in listed) for one in found):
            return name
    return None


def num_classes_from_state(state: StateDict, spec: ModelSpec) -> int | None:
    """Infer the number of classes from the first head; None if it does not tell."""
    head = state.get("conf.0.weight")
    if head is None or head.ndim != 4:
        return None
    classes, rest = divmod(head.shape[0], spec.levels[0].num_anchors)
    return classes if 2 <= classes <= MOST_CLASSES and rest == 0 else None


def width_from_state(state: StateDict, spec: ModelSpec) -> float | None:
    """Infer the simplest channel multiplier that gives every layer the channels it has here.

    One layer is not enough: 0.1 and 0.105 scale 1024 channels to the same number, but not 512.
    None if no multiplier fits all layers.
    """
    with torch.device("meta"):
        full = SsdNetwork(spec, num_classes=2)
    low, high = 0.0, math.inf
    for name, module in full.named_modules():
        tensor = state.get(f"{name}.weight")
        # heads, and layers whose channels follow from another layer's, have other types
        if type(module) is nn.Conv2d and tensor is not None and tensor.ndim:
            # the inverse of layers.scaled_channels: rounding to 8, at least 8
            channels = tensor.shape[0]
            low = max(low, (channels - 4) / module.out_channels if channels > 8 else 0.0)
            high = min(high, (channels + 4) / module.out_channels)
    if high == math.inf:  # no layer in common
        return None
    for parts in (1, 2, 4, 8, 10, 16, 20, 100, 1000, 10**4, 10**5, 10**6):
        width = max(math.ceil(low * parts), 1) / parts
        if width < high and width <= 4:
            return float(width)
    return None
