"""The engine and what it is compared with: found by the hash of the weights, and opened."""

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
#: what checkpoints are called, in small letters
_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Running:
    """How both sides run.

    Attributes:
        batch: pictures per call; None for what each takes.
        workers: threads that read pictures; None for what keeps each busy.
        threads: of the CPU; 0 for one per core.
        cuda_graph: replay captured graphs (TensorRT).
    """

    batch: int | None = None
    workers: int | None = None
    threads: int = 0
    cuda_graph: bool = True

    def detector(self, runtime: Runtime, params: PostprocessParams) -> Detector:
        """A detector that runs so; the runtime is closed if there can be none."""
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
    """The side that is judged, under its own protocol or a preset.

    Raises:
        BadFile: absent, damaged or foreign.
        UsageError: another protocol than the one inside the engine.
    """
    runtime = open_runtime(
        path, threads=running.threads, cuda_graph=running.cuda_graph, max_batch=running.batch
    )
    own = runtime.description.postprocess
    params = own if protocol is None else params_from_preset(protocol, own)
    detector = running.detector(runtime, params)
    return Side(detector, runtime.description, str(path), _source(path), params)


def open_reference_side(path: Path, engine: Side, running: Running) -> Side:
    """What the engine is compared with, under the engine's protocol.

    A checkpoint that does not say which network it is of is of the engine's. Decode + NMS inside
    with other parameters than the engine's are left out.

    Raises:
        BadFile: absent, damaged or foreign.
        UsageError: other parameters inside an engine of which decode + NMS are part for good.
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
    """A side of what is open already; ``path`` is what it was opened from."""
    return Side(detector, detector.description, str(path), _source(path), detector.params)


def _without_decode_nms(runtime: Runtime, path: Path, source: Source, running: Running) -> Runtime:
    """The same network ending in its heads, or itself where that cannot be had."""
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
    with suppress(BadFile):  # said again, and better, when the network is built
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
    """The checkpoint whose weights the engine was made from, by the hash that its file records.

    A shipped one, else a file in the folder of the engine or in the present one, where the ONNX
    file of a build mostly lies.

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
    # one that an operating point was saved in is another file with the same weights, and says so
    for path in candidates:
        with suppress(OSError, BadFile):
            if open_checkpoint(path).weights_hash == recorded:
                return path
    raise UsageError(
        f"no checkpoint with the weights of {engine.path} (SHA-256 {wanted[:12]}...) in its folder "
        "or among the shipped ones: pass --against CHECKPOINT, an engine, or a COCO result file"
    )


def _candidates(engine: Path) -> Iterator[Path]:
    """Files that are called as checkpoints are, each once."""
    folders = dict.fromkeys([engine.parent, engine.resolve().parent, Path()])
    seen = set()
    for folder in folders:
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in _SUFFIXES and path.resolve() not in seen:
                    seen.add(path.resolve())
                    if path.is_file():
                        yield path
