"""What an ONNX file that is written ends in, as ``export`` and ``adopt`` offer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..artefacts.build_options import Precision
    from ..artefacts.description import Description

#: DecodeNms with its function body, or what one of the options asks for
Ending = Literal["decode-nms", "heads", "inline", "plugin-only"]


def ending_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options, which the command gets as the parameters of :func:`ending_from_options`."""
    options = (
        click.option(
            "--heads", is_flag=True, help="Leave decode + NMS out: the outputs are loc and conf."
        ),
        click.option(
            "--inline",
            is_flag=True,
            help="Standard operators only, for runtimes without ONNX functions (OpenVINO, ...).",
        ),
        click.option(
            "--plugin-only",
            is_flag=True,
            help="DecodeNms without its function body, for trtexec, Triton and other builders.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ending_from_options(*, heads: bool, inline: bool, plugin_only: bool) -> Ending:
    """Which of them was asked for.

    Raises:
        UsageError: two at once.
    """
    given = {"plugin-only": plugin_only, "heads": heads, "inline": inline}
    asked: list[Any] = [name for name, is_given in given.items() if is_given]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} exclude each other; pass one of them")
    ending: Ending = asked[0] if asked else "decode-nms"
    return ending


def with_ending(
    model: ModelProto, description: Description, ending: Ending, precision: Precision = "fp32"
) -> ModelProto:
    """The model as it is to be written.

    Args:
        model: ends in DecodeNms with its function body, or for ``heads`` in them; may be changed.
        description: what it says about itself.
        ending: as asked for.
        precision: of the network before DecodeNms, for ``plugin-only``.

    Raises:
        CheckFailed: the network cannot be had in half precision.
    """
    if ending == "plugin-only":
        from ..export.prepare import plugin_onnx

        return plugin_onnx(model, description, precision)
    if ending == "inline":
        from ..export.decode_nms_node import inlined

        return inlined(model)
    return model
