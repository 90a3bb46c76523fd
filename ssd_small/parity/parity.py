"""Judge whether an engine finds what the network it was made from finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..detection.tiling import tiles_of_protocol
from ..errors import BadFile
from ..evaluation.evaluate import annotations_without
from ..postprocess.protocol import protocol_from_params
from .comparison import Compared, compare_sides
from .precision_difference import map_difference

if TYPE_CHECKING:
    from .pictures import Pictures
    from .side import Side


@dataclass(frozen=True, eq=False)
class Parity:
    """What was found out about an engine.

    Attributes:
        verdict: ``equal`` or ``different``.
        why: a line for each thing that is different; empty if nothing is.
        protocol: decode + NMS parameters of both.
        reference, engine: what was compared.
        images: number of pictures that both could read.
        map: average precision of both; None without annotations.
        detections: counts of detections matched one to one.
        heads: differences per feature level; None if heads are not available.
        attribution: what each stage costs; None against a result file.
        first_layer: the first differing layer; None if none differs.
        quantised_layers: how much each INT8 convolution of the engine alone changes the heads, the
            most expensive first; None if it has none, or no graph is available.
        self_consistency: whether the engine gives the same in other batches, runs and threads.
        layers: lines for people about the layers examined, in network order.
        notes: a line for each thing a user should know.
        faults: a line for each picture that could not be read.
    """

    verdict: Literal["equal", "different"]
    why: tuple[str, ...]
    protocol: dict[str, Any]
    reference: dict[str, Any]
    engine: dict[str, Any]
    images: int
    map: dict[str, Any] | None
    detections: dict[str, Any]
    heads: list[dict[str, Any]] | None
    attribution: list[dict[str, Any]] | None = None
    first_layer: dict[str, Any] | None = None
    quantised_layers: list[dict[str, Any]] | None = None
    self_consistency: list[dict[str, Any]] | None = None
    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        quantised = self.quantised_layers
        return {
            "verdict": self.verdict,
            "why": list(self.why),
            "protocol": self.protocol,
            "reference": self.reference,
            "engine": self.engine,
            "images": self.images,
            "map": self.map,
            "detections": self.detections,
            "heads": self.heads,
            "attribution": self.attribution,
            "first_layer": self.first_layer,
            "self_consistency": self.self_consistency,
            **({} if quantised is None else {"quantised_layers": quantised}),
            "notes": list(self.notes),
            "unreadable": list(self.faults),
        }


def parity_of_sides(
    reference: Side,
    engine: Side,
    pictures: Pictures,
    *,
    max_difference: float,
    progress: Callable[[int], None] = lambda count: None,
) -> Parity:
    """Run both sides on the pictures and judge.

    Args:
        reference, engine: the two sides, under one protocol.
        pictures: what both are shown.
        max_difference: largest difference of AP (0 to 1) that still counts as equal.
        progress: called with the number of pictures just finished.

    Raises:
        BadFile: no picture can be read, or the categories do not match.
    """
    compared = compare_sides(reference, engine, pictures, progress)
    return parity_of_comparison(
        compared, reference.to_dict(), engine, pictures, max_difference=max_difference
    )


def parity_of_comparison(
    compared: Compared,
    reference: dict[str, Any],
    engine: Side,
    pictures: Pictures,
    *,
    max_difference: float,
) -> Parity:
    """Judge a finished comparison; see :func:`parity_of_sides`."""
    read = len(pictures) - len(compared.faults)
    if not read:
        first = next(iter(compared.faults.values()))
        raise BadFile(
            f"none of the {len(pictures)} images could be read, the first: {first.command_line}"
        )
    precision = None
    if pictures.annotations is not None and pictures.annotations.annotated:
        truth = annotations_without(pictures.annotations, compared.faults)
        precision = map_difference(truth, *compared.results)
    why = _reasons(precision, compared, engine.precision, max_difference)
    return Parity(
        "different" if why else "equal",
        tuple(why),
        protocol_from_params(engine.params) | tiles_of_protocol(engine.tiling),
        reference,
        engine.to_dict(),
        read,
        precision,
        compared.counts.to_dict(),
        compared.heads,
        notes=(*compared.notes, *_interval_notes(precision, max_difference)),
        faults=tuple(error.command_line for error in compared.faults.values()),
    )


def _reasons(
    precision: dict[str, Any] | None, compared: Compared, of_engine: str, max_difference: float
) -> list[str]:
    """What is different; below fp32, detections count only through AP, if that is known."""
    why = []
    difference = None if precision is None else precision["difference"]
    if difference is not None and abs(difference) > max_difference:
        why.append(f"AP differs by {difference:+.5f}, more than {max_difference:g}")
    unexplained = compared.counts.unexplained
    if unexplained and (of_engine == "fp32" or difference is None):
        why.append(f"{unexplained} detections differ by more than rounding explains")
    return why


def _interval_notes(precision: dict[str, Any] | None, max_difference: float) -> list[str]:
    if precision is None or precision["interval"] is None:
        return []
    low, high = precision["interval"]
    if -max_difference <= low <= high <= max_difference:
        return []
    if high < -max_difference or low > max_difference:
        return []
    return [
        f"the 95 % interval of the difference, {low:+.5f} to {high:+.5f}, reaches beyond the "
        f"margin of {max_difference:g}: other pictures may change the verdict"
    ]
