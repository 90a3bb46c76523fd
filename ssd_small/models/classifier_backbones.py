"""The backbone of a detector from a classifier's weights, as torchvision saves them.

VGG16: the convolutions of ``features`` are those of the backbone, place by place. Its two large
layers become fc6 and fc7 by leaving rows and columns out (Liu et al. 2016, section 3): of 7x7
kernels every third row and column, of 4096 channels every fourth.

MobileNet: the layers of ``features`` in order, each with the next of the backbone that has its
shapes; what a detector splits or leaves out has the same order.
"""

from __future__ import annotations

from torch import Tensor

from .containers import COUNTER, StateDict
from .network import SsdNetwork

_FEATURES, _CLASSIFIER = "features.", "classifier."
#: classifier's place -> the backbone's, of VGG16
_LARGE = {0: 31, 3: 33}
#: kept of the channels and of the kernel's side
_CHANNELS, _SIDE = 4, 3


def backbone_from_classifier(state: StateDict, net: SsdNetwork) -> StateDict | None:
    """What of a classifier fits the backbone, by the backbone's keys; None if it is none.

    Args:
        state: a classifier's tensors, or those of its ``features`` alone.
        net: the detector.
    """
    features = {key: value for key, value in state.items() if key.startswith(_FEATURES)}
    own = {key: v for key, v in net.state_dict().items() if key.startswith("base.")}
    if not features or any(key.startswith(("base.", "conf.")) for key in state):
        return None
    if "features.0.weight" in features:
        found = _vgg(state, features)
        return {key: v for key, v in found.items() if key in own and v.shape == own[key].shape}
    return _in_order(features, own)


def _vgg(state: StateDict, features: StateDict) -> StateDict:
    found = {f"base.{key.removeprefix(_FEATURES)}": value for key, value in features.items()}
    for theirs, ours in _LARGE.items():
        weight, bias = (state.get(f"{_CLASSIFIER}{theirs}.{end}") for end in ("weight", "bias"))
        if weight is not None and bias is not None and weight.shape[0] == 4096 == len(bias):
            found[f"base.{ours}.weight"] = _thinned(weight, 7 if theirs == 0 else 1)
            found[f"base.{ours}.bias"] = bias[::_CHANNELS]
    return found


def _thinned(weight: Tensor, side: int) -> Tensor:
    """A fully connected layer as a convolution of fewer channels and a smaller kernel."""
    kernels = weight.reshape(len(weight), -1, side, side)[::_CHANNELS, :, ::_SIDE, ::_SIDE]
    # what feeds fc6 is a map, none of whose channels is left out; what feeds fc7 is fc6
    return kernels if side > 1 else kernels[:, ::_CHANNELS]


def _in_order(features: StateDict, own: StateDict) -> StateDict:
    """Modules of one list that have the shapes of the next ones of the other."""
    found: StateDict = {}
    theirs = iter(_modules(features))
    wanted = next(theirs, None)
    for begin, tensors in _modules(own):
        if wanted is not None and {k: v.shape for k, v in tensors.items()} == {
            k: v.shape for k, v in wanted[1].items()
        }:
            found |= {f"{begin}.{end}": value for end, value in wanted[1].items()}
            wanted = next(theirs, None)
    return found


def _modules(state: StateDict) -> list[tuple[str, StateDict]]:
    """Tensors by module, in the order of the state dict; counters are left out."""
    found: dict[str, StateDict] = {}
    for key, value in state.items():
        begin, _, end = key.rpartition(".")
        if end != COUNTER:
            found.setdefault(begin, {})[end] = value
    return list(found.items())
