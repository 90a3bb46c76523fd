"""Detectors whose network runs in a Triton server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...artefacts.description import METADATA_KEY, Description
from ...artefacts.tensors import INPUT, output_names
from ...detection.detector import Detector
from ...detection.picture_detections import PictureDetections
from ...detection.pipeline import Outcome
from ...detection.thresholds import ScoreFilter, ScoreThreshold
from ...errors import BadFile, SsdSmallError
from ...pictures.pixels import each_picture
from ...pictures.reading import bytes_of_image
from ...postprocess import Detections
from ...postprocess.detections import detections_from_padded
from ...runtimes.base import BatchingRuntime, HeadOutputs, Images
from .connection import Connection, Refused, ServerAddress
from .ensemble import PICTURE, SIZE

_FROM_US = "one that 'ssd-small triton' has written"


@dataclass(frozen=True)
class RemoteModel:
    """A model of a server.

    Attributes:
        name, version: name and version in requests; an empty version is the newest.
        description: description of its network.
        max_batch: most pictures per call.
        takes_files: whether it is an ensemble, which takes encoded pictures.
        facts: all parameters of its configuration, by name.
    """

    name: str
    version: str
    description: Description
    max_batch: int
    takes_files: bool
    facts: dict[str, str]


def model_from_config(config: dict[str, Any], version: str) -> RemoteModel:
    """Read a model from its configuration.

    Raises:
        BadFile: it was not written by this package, or is a step of an ensemble.
    """
    parameters = config.get("parameters", {})
    told = {key: str(value.get("string_value", "")) for key, value in parameters.items()}
    name = str(config.get("name"))
    inputs = [one.get("name") for one in config.get("input", [])]
    if METADATA_KEY not in told or inputs not in ([INPUT], [PICTURE]):
        raise BadFile(f"model {name} does not say what network it holds; expected {_FROM_US}")
    is_ensemble = config.get("platform") == "ensemble"
    if inputs == [PICTURE] and not is_ensemble:
        raise BadFile(f"model {name} is a step of an ensemble; expected the ensemble itself")
    return RemoteModel(
        name=name,
        version=version,
        description=Description.from_metadata(told, f"model {name}"),
        max_batch=max(int(config.get("max_batch_size", 0)), 1),
        takes_files=is_ensemble,
        facts=told,
    )


def find_model(connection: Connection, name: str | None) -> RemoteModel:
    """Find the named model or, without a name, the only one of this package on the server.

    A network and its ensemble count as one model, the ensemble.

    Raises:
        BadFile: there is no such model, or there are several.
    """
    version = connection.address.version
    if name is not None:
        return model_from_config(connection.config(name, version), version)
    found: list[RemoteModel] = []
    for one in connection.models():
        try:
            found.append(model_from_config(connection.config(one), ""))
        except BadFile:
            continue
    inside = {one.facts.get("network") for one in found if one.takes_files}
    left = [one for one in found if one.name not in inside]
    if len(left) == 1:
        return left[0]
    if not left:
        raise BadFile(f"{connection.address.place} has no model that is ready; expected {_FROM_US}")
    names = ", ".join(one.name for one in left)
    raise BadFile(f"{connection.address.place} has the models {names}; name one with --model")


def open_remote(
    address: ServerAddress,
    model: str | None = None,
    *,
    timeout: float = 60.0,
    **running: Any,
) -> Detector:
    """Open a detector that runs on a server; closing it closes the connection.

    Args:
        address: address of the server.
        model: name of the model; default: that in the address, else the only one of this package.
        timeout: seconds that one answer may take.
        running: ``max_batch``, ``workers`` and other arguments of
            :class:`~ssd_small.detection.detector.Detector`.

    Raises:
        MissingRequirement: the client is not installed, or the server does not answer.
        BadFile: there is no such model, or it is not of this package.
    """
    connection = Connection(address, timeout)
    try:
        runtime = TritonRuntime(connection, find_model(connection, model or address.model))
        kind = EnsembleDetector if runtime.model.takes_files else Detector
        return kind(runtime, **running)
    except BaseException:
        connection.close()
        raise


class TritonRuntime(BatchingRuntime):
    """A runtime whose network runs in a server.

    Attributes:
        connection: connection to the server.
        model: the model on it.
    """

    def __init__(self, connection: Connection, model: RemoteModel) -> None:
        self.connection, self.model = connection, model
        self.description, self.max_batch = model.description, model.max_batch
        self.name = f"triton {connection.address.protocol}://{connection.address.place}"
        self.precision = model.facts.get("precision", "fp32")

    def infer_batch(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        names = output_names(self.description)
        own = self.model
        found = self.connection.infer(own.name, own.version, {INPUT: images}, names)
        if not self.description.has_decode_nms:
            return HeadOutputs(*(found[name] for name in names))
        return _detections(found, names)

    def close(self) -> None:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        super().close()
        self.connection.close()


def _detections(found: dict[str, Any], names: Sequence[str]) -> list[Detections]:
    """Detections from padded outputs; the server returns their numbers as ``[N, 1]``."""
    number, *others = (found[name] for name in names)
    return detections_from_padded(number.reshape(-1), *others)


class EnsembleDetector(Detector):
    """Sends picture files unchanged; the server decodes them and returns boxes in pixels."""

    def outcomes(
        self,
        pictures: Iterable[Any] | Any,
        *,
        score_threshold: ScoreThreshold | None = None,
        **_: Any,
    ) -> Iterator[tuple[Outcome, PictureDetections]]:
        """See :class:`~ssd_small.detection.detector.Detector`; pictures are paths."""
        self._check_open()
        keep = self.filter_from_threshold(score_threshold)
        batch: list[tuple[Path, bytes | SsdSmallError]] = []
        for picture in each_picture(pictures):
            batch.append((Path(picture), self._content(picture)))
            if len(batch) == self.max_batch:
                yield from self._answered(batch, keep)
                batch = []
        yield from self._answered(batch, keep)

    def _content(self, picture: Any) -> bytes | SsdSmallError:
        try:
            return bytes_of_image(picture, self.max_pixels)
        except BadFile as error:
            return error

    def _answered(
        self, batch: Sequence[tuple[Path, bytes | SsdSmallError]], keep: ScoreFilter
    ) -> Iterator[tuple[Outcome, PictureDetections]]:
        contents = [content for _, content in batch if isinstance(content, bytes)]
        answers = iter(self._asked(contents))
        for path, content in batch:
            answer = next(answers) if isinstance(content, bytes) else content
            if isinstance(answer, SsdSmallError):
                if isinstance(content, bytes):  # the server does not know the file's name
                    answer = BadFile(f"image {path}: {answer.command_line}")
                outcome = Outcome(path, (0, 0), Detections.empty(), error=answer)
                yield outcome, self._in_pixels(path, outcome.size, outcome.detections)
                continue
            found, size = answer
            yield Outcome(path, size, found), self._in_pixels(path, size, keep(found))

    def _asked(
        self, contents: Sequence[bytes]
    ) -> list[tuple[Detections, tuple[int, int]] | SsdSmallError]:
        """For each picture, detections in pixels with height and width, or an error."""
        if not contents:
            return []
        runtime = self.runtime
        assert isinstance(runtime, TritonRuntime)
        names = output_names(self.description)
        given = {PICTURE: np.array([[content] for content in contents], np.object_)}
        own = runtime.model
        try:
            found = runtime.connection.infer(own.name, own.version, given, (*names, SIZE))
        except Refused as error:
            if len(contents) == 1:
                return [error]
            # the server cannot read one of them; ask for each separately
            return [answer for content in contents for answer in self._asked([content])]
        sizes = [(int(height), int(width)) for height, width in found[SIZE]]
        return list(zip(_detections(found, names), sizes, strict=True))

    def _in_pixels(
        self, path: Path, size: tuple[int, int], detections: Detections
    ) -> PictureDetections:
        height, width = size
        return PictureDetections(
            detections.boxes,
            detections.scores,
            detections.labels,
            detections.prior_indices,
            width,
            height,
            str(path),
            self.description.labels,
            self.description.postprocess.background_label,
        )
