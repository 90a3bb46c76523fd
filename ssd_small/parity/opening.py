"""Open the engine and its reference, which can be found by the hash of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..artefacts.described_spec import spec_from_description
from ..artefacts.network import network_from_checkpoint, open_checkpoint
from ..artefacts.sidecar import find_sidecar
from ..artefacts.tiled import with_tiles
from ..detection.detector import Detector
from ..detection.load import open_runtime, torch_runtime
from ..errors import BadFile, UsageError
from ..files import sha256_of
from ..models.registry import known_models
from ..models.shipped import find_shipped, shipped_checkpoints
from ..postprocess.protocol import params_from_preset, params_under_protocol
from .side import Side, Source

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..postprocess import PostprocessParams
    from ..runtimes import Runtime

_HASH = "sha256:"
#: file endings of checkpoints, in lower case
_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Running:
    """How both sides run.

    Attributes:
        batch: pictures per call; None for as many as each side takes.
        workers: threads that read pictures; None for as many as keep each side busy.
        threads: CPU threads; 0 for one per core.
        cuda_graph: replay captured graphs (TensorRT).
    """

    batch: int | None = None
    workers: int | None = None
    threads: int = 0
    cuda_graph: bool = True

    def detector(self, runtime: Runtime, params: PostprocessParams) -> Detector:
        """A detector with these settings; closes the runtime if it cannot be created."""
        try:
            return Detector(
                runtime,
                params,
                threads=self.threads,
                max_batch=self.batch,
                workers=self.workers,
                caps_grow=True,
            )
        except BaseException:
            runtime.close()
            raise


def open_engine_side(path: Path, protocol: str | None, running: Running) -> Side:
    """Open the side that is judged, under its own protocol or a preset.

    Raises:
        BadFile: the file is absent, damaged or foreign.
        UsageError: the protocol differs from the one inside the engine.
    """
    runtime = open_runtime(
        path, threads=running.threads, cuda_graph=running.cuda_graph, max_batch=running.batch
    )
    own = runtime.description.postprocess
    params = own if protocol is None else params_from_preset(protocol, own)
    detector = running.detector(runtime, params)
    return Side(detector, runtime.description, str(path), _source(path), params)


def open_reference_side(path: Path, engine: Side, running: Running) -> Side:
    """Open what the engine is compared with, under the engine's protocol.

    A checkpoint that does not record its network is taken to be of the engine's network. If the
    reference has decode + NMS inside with other parameters than the engine's, they are cut off.

    Raises:
        BadFile: the file is absent, damaged or foreign.
        UsageError: it has other parameters inside and decode + NMS cannot be cut off.
    """
    source = _source(path)
    if source == "checkpoint":
        runtime = _checkpoint(path, engine.description, running)
    else:
        runtime = open_runtime(
            path, threads=running.threads, cuda_graph=running.cuda_graph, max_batch=running.batch
        )
    described = runtime.description
    params = params_under_protocol(described.postprocess, engine.params)
    if described.has_decode_nms and params != described.postprocess:
        runtime = _without_decode_nms(runtime, path, source, running)
    detector = running.detector(runtime, params)
    return Side(detector, described, str(path), source, params)


def side_from_detector(detector: Detector, path: Path) -> Side:
    """A side from an open detector; ``path`` is what it was opened from."""
    return Side(detector, detector.description, str(path), _source(path), detector.params)


def _without_decode_nms(runtime: Runtime, path: Path, source: Source, running: Running) -> Runtime:
    """The same network ending in its heads; UsageError if that cannot be obtained."""
    from .recording import cut_runtime

    own = runtime.description.postprocess
    with runtime:
        side = Side(Detector(runtime), runtime.description, str(path), source, own)
        cut = cut_runtime(side, running.threads)
    if cut is None:
        raise UsageError(
            f"{path} has decode + NMS inside with other parameters than the engine's; compare with "
            "the checkpoint, or with an engine built with --heads"
        )
    return cut


def _checkpoint(path: Path, engine: Description, running: Running) -> Runtime:
    spec = None
    with suppress(BadFile):  # reported again, and better, when the network is built
        if open_checkpoint(path).spec is None:
            spec = spec_from_description(engine)
    net, description = network_from_checkpoint(path, spec)
    if engine.tiles is not None and description.network_size == engine.network_size:
        description = with_tiles(description, engine.tiles)
    return torch_runtime(net, description, threads=running.threads, max_batch=running.batch)


def _source(path: Path) -> Source:
    if find_shipped(path) is None:
        if find_sidecar(path) is not None:
            return "engine"
        if path.suffix.lower() == ".onnx":
            return "ONNX file"
    return "checkpoint"


def find_reference(engine: Side) -> Path:
    """Find the checkpoint that the engine was made from, by the hash of weights that it records.

    It is a shipped one, else a file in the folder of the engine or in the current folder, where
    the ONNX file of a build usually lies.

    Raises:
        UsageError: there is none, or the engine records no hash; says what to pass.
    """
    described = engine.description
    if described.stored_priors is not None and described.model not in known_models():
        raise UsageError(
            f"{engine.path} was adopted from an ONNX file, so there is no PyTorch network to "
            "compare it with: pass --against its ONNX file, an engine, or a COCO result file"
        )
    recorded = described.weights
    if not recorded.startswith(_HASH):
        raise UsageError(
            f"{engine.path} does not record which weights it was made from ({recorded!r}): pass "
            "--against CHECKPOINT, an engine, or a COCO result file"
        )
    wanted = recorded[len(_HASH) :]
    for shipped in shipped_checkpoints():
        if sha256_of(shipped.path) == wanted:
            return Path(shipped.name)
    candidates = list(_candidates(Path(engine.path)))
    for path in candidates:
        with suppress(OSError, BadFile):
            if sha256_of(path) == wanted:
                return path
    # a checkpoint with an operating point saved in it is another file, but records the same weights
    for path in candidates:
        with suppress(OSError, BadFile):
            if open_checkpoint(path).weights_hash == recorded:
                return path
    raise UsageError(
        f"no checkpoint with the weights of {engine.path} (SHA-256 {wanted[:12]}...) in its folder "
        "or among the shipped ones: pass --against CHECKPOINT, an engine, or a COCO result file"
    )


def _candidates(engine: Path) -> Iterator[Path]:
    """Files with the ending of a checkpoint, each once."""
    folders = dict.fromkeys([engine.parent, engine.resolve().parent, Path()])
    seen = set()
    for folder in folders:
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in _SUFFIXES and path.resolve() not in seen:
                    seen.add(path.resolve())
                    if path.is_file():
                        yield path
