"""Our own keys: the options of ``ssd-small train`` in lower case, as its dataclasses name them.

They are listed here so that a file can be read without the requirements of training. Tests keep the
list in step with :class:`~ssd_small.training.job.TrainingJob`,
:class:`~ssd_small.training.recipe.Recipe` and :class:`~ssd_small.training.trainer.LoopOptions`,
which document each option and check it further.
"""

from __future__ import annotations

from collections.abc import Mapping

from .kinds import Kind, flag, names, number, path, several, text, tile_size, whole, year_sets

_MOST = 1e6
_COUNT = whole(1, 2**31 - 1)
_FROM_ZERO = whole(0, 2**31 - 1)
_POSITIVE = number(0, _MOST, above=True)
_SHARE = number(0, 1)

#: the network, its data, and where the results are written
PLACES: Mapping[str, Kind] = {
    "model": text(),
    "width": number(0, 4, above=True),
    "annotations": path(),
    "images": path(),
    "sets": year_sets(),
    "val_annotations": path(),
    "val_images": path(),
    "val_sets": year_sets(),
    "tiles": tile_size(),
    "overlap": number(0, 1, below=True),
    "weights": path(),
    "init_scope": text(),
    "output": path(),
}
#: hyper-parameters
RECIPE: Mapping[str, Kind] = {
    "epochs": _COUNT,
    "iterations": _COUNT,
    "minutes": _POSITIVE,
    "batch": _COUNT,
    "optimizer": text("sgd", "rmsprop", "adam"),
    "lr": _POSITIVE,
    "head_lr": _POSITIVE,
    "momentum": number(0, 1, below=True),
    "momentum_2": number(0, 1, below=True),
    "eps": number(0, 1, above=True),
    "weight_decay": number(0, _MOST),
    "schedule": text("cosine", "sgdr", "step", "multi_step", "exponential"),
    "schedule_steps": several(_COUNT, 1),
    "gamma": _POSITIVE,
    "warm_up": _SHARE,
    "ramp": _SHARE,
    "clip_norm": _POSITIVE,
    "ema_decay": number(0, 1, above=True, below=True),
    "negative_ratio": _POSITIVE,
    "match_iou": number(0, 1, above=True),
    "expand": _SHARE,
    "norm_scale": _POSITIVE,
    "background": number(0, 1, above=True, below=True),
    "repeat_threshold": _SHARE,
    "trainable_scope": names(),
    "precision": text("fp32", "amp"),
    "channels_last": flag(),
    "seed": whole(0, 2**63 - 1),
}
#: how the training run is executed
LOOP: Mapping[str, Kind] = {
    "eval_every": _FROM_ZERO,
    "save_minutes": number(0, _MOST),
    "log_every": _COUNT,
    "stop_after": _POSITIVE,
    "device": text("auto", "cpu", "cuda"),
    "workers": whole(0, 1024),
    "threads": whole(0, 1024),
    "skip_unreadable": _FROM_ZERO,
}
OPTIONS: Mapping[str, Kind] = {**PLACES, **RECIPE, **LOOP}
