"""A detector's backbone from the weights of a classifier, as torchvision saves them.

VGG16: the convolutions of ``features`` are those of the backbone, index by index. The classifier's
two large layers become fc6 and fc7 by subsampling (Liu et al. 2016, section 3): every third row
and column of the 7x7 kernels and every fourth of the 4096 channels is kept.

MobileNet: the modules of ``features`` are matched in order, each with the backbone's next module
of the same shapes; what a detector splits or leaves out does not change that order.
"""

from __future__ import annotations

from torch import Tensor

from .containers import COUNTER, StateDict
from .network import SsdNetwork

_FEATURES, _CLASSIFIER = "features.", "classifier."
#: VGG16's large layers: index in the classifier -> index in the backbone
_LARGE = {0: 31, 3: 33}
#: every how many channels, and rows and columns of a kernel, one is kept
_CHANNELS, _SIDE = 4, 3


def backbone_from_classifier(state: StateDict, net: SsdNetwork) -> StateDict | None:
    """Return the classifier's tensors that fit the backbone, by the backbone's keys.

    None if ``state`` is not a classifier's.

    Args:
        state: a classifier's tensors, or only those of its ``features``.
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
    """Turn a fully connected layer into a convolution with fewer channels and a smaller kernel."""
    kernels = weight.reshape(len(weight), -1, side, side)[::_CHANNELS, :, ::_SIDE, ::_SIDE]
    # fc6 is fed by a map that keeps all its channels; fc7 by fc6, which does not
    return kernels if side > 1 else kernels[:, ::_CHANNELS]


def _in_order(features: StateDict, own: StateDict) -> StateDict:
    """Match the classifier's modules, in order, with backbone modules of the same shapes."""
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
    """Group tensors by module, in the order of the state dict, without counters."""
    found: dict[str, StateDict] = {}
    for key, value in state.items():
        begin, _, end = key.rpartition(".")
        if end != COUNTER:
            found.setdefault(begin, {})[end] = value
    return list(found.items())
