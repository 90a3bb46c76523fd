"""A heads model brought to INT8: calibrated, quantised, and held to what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx import ModelProto, shape_inference

from ..artefacts.int8_options import Calibration, Int8Options
from ..artefacts.quantised import Quantised
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import input_from_image
from .calibration import calibration_files, ranges_from_pictures
from .fold import fold_batch_norm
from .max_drop import Opener, Scorer, keep_promise
from .plain_shapes import initializers_from_constants
from .quantise import (
    Form,
    check_quantised,
    check_single,
    convs_to_keep,
    name_convs,
    quantise,
    quantised_of_model,
    unfit_convs,
)
from .quantised_layers import layer_costs

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildProgress
    from ..artefacts.description import Description

#: pictures that convolutions are ranked on
_RANKED_ON = 2


@dataclass(frozen=True)
class Int8Build:
    """How a build wants its INT8 network.

    Attributes:
        options: what it is calibrated on, and what is promised.
        form: what Q/DQ look like for the target.
        opener: opens a heads model on what executes it, to be scored.
        progress: told what goes on.
    """

    options: Int8Options
    form: Form
    opener: Opener
    progress: BuildProgress


@dataclass(frozen=True)
class Int8Model:
    """A heads model with INT8 convolutions, and what is told of it."""

    model: ModelProto
    calibration: Calibration
    quantised: Quantised


def int8_heads(
    model: ModelProto, description: Description, keep_fp: Sequence[str], build: Int8Build
) -> Int8Model:
    """Quantise the convolutions of a heads model.

    Args:
        model: of preprocessed float32, ending in ``loc`` and ``conf``; left as it is.
        description: of it.
        keep_fp: names of nodes that stay in floating point.
        build: see :class:`Int8Build`.

    Raises:
        BadFile: a picture or the annotations cannot be read.
        CheckFailed: nothing is quantised, the network gives no finite values, or the promise
            cannot be kept.
        UsageError: the network is in half precision, a node to be kept is no convolution.
    """
    check_single(model)
    kept = convs_to_keep(model, keep_fp)
    folded = ModelProto()
    folded.CopyFrom(model)
    initializers_from_constants(folded)  # which is where the quantizer looks for weights
    fold_batch_norm(folded)
    name_convs(folded)
    # what the quantizer knows of a tensor's type
    folded = shape_inference.infer_shapes(folded)
    kept |= unfit_convs(folded)
    most_drop = build.options.max_drop
    if most_drop is not None:
        score = Scorer(description, build.options, build.opener)
    ranges, calibration = ranges_from_pictures(
        folded, description.preprocessing, build.options, build.form, build.progress
    )
    found = quantise(folded, ranges, build.form, kept)
    check_quantised(quantised_of_model(found, kept))
    if most_drop is not None:
        build.progress("Scoring fp32", 0.0)
        reference = score(folded)
        inputs = [
            input_from_image(
                decoded_from_picture(path, preprocessing=description.decoding).pixels,
                description.preprocessing,
            )[None]
            for path in calibration_files(build.options)[:_RANKED_ON]
        ]
        ranked = [one.name for one in layer_costs(folded, found, inputs)]

        def candidate(reverted: int) -> ModelProto:
            build.progress(f"Trying {reverted} convolutions in fp32", 0.0)
            return quantise(folded, ranges, build.form, {*kept, *ranked[:reverted]})

        promise = keep_promise(reference, most_drop, len(ranked), candidate, score)
        found = promise.model
        why = f"mAP would drop by more than {most_drop:g}"
        kept |= dict.fromkeys(ranked[: promise.reverted], why)
        calibration = replace(calibration, map=promise.map)
    return Int8Model(found, calibration, quantised_of_model(found, kept))
