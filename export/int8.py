"""Converting a heads model to INT8: calibration, quantisation, and the limit on the loss of mAP."""

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

#: number of pictures on which convolutions are ranked
_RANKED_ON = 2


@dataclass(frozen=True)
class Int8Build:
    """How to make the INT8 network of a build.

    Attributes:
        options: what to calibrate on, and how much mAP may be lost.
        form: how Q/DQ are written for the target.
        opener: opens a heads model in the runtime that executes it for scoring.
        progress: called with the progress of the work.
    """

    options: Int8Options
    form: Form
    opener: Opener
    progress: BuildProgress


@dataclass(frozen=True)
class Int8Model:
    """A heads model with INT8 convolutions, and its records."""

    model: ModelProto
    calibration: Calibration
    quantised: Quantised


def int8_heads(
    model: ModelProto, description: Description, keep_fp: Sequence[str], build: Int8Build
) -> Int8Model:
    """Quantise the convolutions of a heads model.

    Args:
        model: model with preprocessed float32 input that ends in ``loc`` and ``conf``; not
            modified.
        description: description of the model.
        keep_fp: names of nodes that stay in floating point.
        build: see :class:`Int8Build`.

    Raises:
        BadFile: a picture or the annotations cannot be read.
        CheckFailed: nothing is quantised, the network gives values that are not finite, or mAP
            drops by more than allowed.
        UsageError: the network is in half precision, or a node to be kept is not a convolution.
    """
    check_single(model)
    kept = convs_to_keep(model, keep_fp)
    folded = ModelProto()
    folded.CopyFrom(model)
    initializers_from_constants(folded)  # the quantizer looks for weights there
    fold_batch_norm(folded)
    name_convs(folded)
    # gives the quantizer the types of tensors
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
