"""``run.json``: the description of a folder's run, so that ``--resume`` needs no other options.

It is written before the first update of each session, so that an option given with ``--resume``
(such as a new place of the pictures) also applies to later sessions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..artefacts.record import (
    Fields,
    check_record,
    read_record,
    unknown_fields,
    with_unknown_fields,
)
from ..artefacts.written_spec import spec_from_fields, spec_to_dict
from ..configs.network import network_config_from_dict, network_config_to_dict
from ..datasets.sets import sets_from_text, text_from_sets
from ..errors import BadFile, UsageError
from ..files import sha256_of
from ..models.from_config import spec_from_config
from ..models.registry import known_models
from ..models.spec import ModelSpec
from ..pictures.tiles import Tiling
from .dataset import DetectionDataset
from .initialise import NAMED_SCOPES
from .job import TrainingJob
from .recipe import recipe_from_fields
from .trainer import LoopOptions

#: newest version of run.json; 2 and 3 are written only if readers of older formats would perform a
#: different run: 3 if pictures are cut into tiles
RUN_FORMAT = 3
#: inputs of a job: files whose SHA-256 is part of the record, and folders
_FILES, _FOLDERS = ("annotations", "val_annotations"), ("images", "val_images")
_SETS = ("sets", "val_sets")
_ADVICE = "remove it and repeat the whole command of the run with --resume"
_MOST = 1 << 31


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder describes it.

    Attributes:
        job: the training job, with absolute paths.
        labels: class names, without background.
        sha256: SHA-256 of ``annotations``, ``val_annotations`` and ``weights``, if given; for sets,
            of their combined ground truth.
        median_object_pixels: see :meth:`DetectionDataset.object_size`, at the network's input.
        tool_version: version of this package that wrote the record.
        unknown: fields of a newer minor format, kept so that they are written again.
    """

    job: TrainingJob
    labels: tuple[str, ...]
    sha256: Mapping[str, str]
    median_object_pixels: float
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Values that must not change when a run is resumed, in addition to the recipe."""
        weights = self.sha256.get("weights")
        return {
            "model": self.job.model,
            "network": _network_to_dict(self.job).get("network"),
            "width": self.job.width,
            "labels": list(self.labels),
            "annotations": f"sha256:{self.sha256['annotations']}",
            "weights": f"sha256:{weights}" if weights else "random",
            "init_scope": self.job.init_scope if weights else "-",
            "tiles": _tiles_to_dict(self.job),
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, including the unknown fields that were read."""
        job, options = self.job, self.job.options
        data: dict[str, Any] = {}
        for name in (*_FILES, *_FOLDERS):
            path = getattr(job, name)
            data[name] = None if path is None else {"path": str(path)}
            if name in self.sha256:
                data[name]["sha256"] = self.sha256[name]
        for name, field_name in zip(_FILES, _SETS, strict=True):
            if sets := getattr(job, field_name):
                data[name]["sets"] = text_from_sets(sets)
        if job.tiles is not None:
            data["tiles"] = _tiles_to_dict(job)
        weights = None
        if job.weights is not None:
            taken = {"sha256": self.sha256["weights"], "init_scope": job.init_scope}
            weights = {"path": str(job.weights), **taken}
        own: dict[str, Any] = {
            "format": _oldest_format(job),
            "tool_version": self.tool_version,
            "model": job.model,
            **_network_to_dict(job),
            "width": job.width,
            "labels": list(self.labels),
            "recipe": job.recipe.to_dict(),
            "weights": weights,
            "data": data | {"median_object_pixels": self.median_object_pixels},
            "options": {
                "eval_every": options.eval_every,
                "save_minutes": options.save_minutes,
                "log_every": options.log_every,
                "device": job.device,
                "workers": job.workers,
                "threads": job.threads,
                **({"skip_unreadable": skips} if (skips := job.skip_unreadable) else {}),
            },
        }
        return with_unknown_fields(own, self.unknown)

    @classmethod
    def from_dict(cls, values: object, source: Path) -> RunRecord:
        """Rebuild a record from :meth:`to_dict`; the job's ``output`` is the folder of ``source``.

        Raises:
            BadFile: the format is newer, or a field is missing or invalid.
        """
        known = check_record(values, "run record", RUN_FORMAT, source, _ADVICE)
        try:
            fields = Fields(known)
            data = fields.fields("data")
            paths, hashes = _places_from_fields(data)
            if "weights" in fields:
                weights = fields.fields("weights")
                hashes["weights"] = weights.text("sha256")
                paths["weights"] = weights.path("path")
                paths["init_scope"] = weights.text("init_scope")
            record = cls(
                job=TrainingJob(
                    **_network_from_fields(fields, source),
                    recipe=recipe_from_fields(fields.fields("recipe"), known["format"]),
                    output=source.parent,
                    width=fields.number("width", 0, 4),
                    **paths,
                    **_options_from_fields(fields.fields("options")),
                ),
                labels=fields.texts("labels"),
                sha256=hashes,
                median_object_pixels=data.number("median_object_pixels", 0),
                tool_version=fields.text("tool_version"),
            )
            if not record.job.width:
                raise ValueError("width: got 0, expected more")
            needed = _oldest_format(record.job)
            if known["format"] < needed:
                raise ValueError(f"format: got {known['format']}, expected {needed} for such a run")
            if known["format"] > 2 and record.job.tiles is None:
                raise ValueError("data.tiles is missing")
        except ValueError as error:
            raise BadFile(f"{source} is incomplete or damaged ({error}); {_ADVICE}") from error
        return replace(record, unknown=unknown_fields(known, record.to_dict()))


def _oldest_format(job: TrainingJob) -> int:
    """The oldest format whose readers would perform the same run and know every value."""
    if job.tiles is not None:
        return 3
    return 2 if _needs_format_2(job) else 1


def _tiles_to_dict(job: TrainingJob) -> dict[str, Any] | None:
    """How pictures are cut into tiles; None if they are not."""
    if job.tiles is None:
        return None
    return {"width": job.tiles[0], "height": job.tiles[1], "overlap": job.overlap}


def _tiles_from_fields(data: Fields) -> dict[str, Any]:
    """The fields of a job that describe how pictures are cut into tiles."""
    if "tiles" not in data:
        return {}
    tiles = data.fields("tiles")
    width, height = (tiles.integer(name, 1, _MOST) for name in ("width", "height"))
    try:
        tiling = Tiling(width, height, tiles.number("overlap", 0, 1))
    except UsageError as error:
        raise ValueError(f"data.tiles: {error}") from error
    return {"tiles": (width, height), "overlap": tiling.overlap}


def _needs_format_2(job: TrainingJob) -> bool:
    """Whether a reader of format 1 would perform another run, or find an unknown value."""
    return (
        job.recipe.needs_format_2
        or job.network is not None
        or job.init_scope not in NAMED_SCOPES
        or bool(job.sets or job.val_sets)
    )


def _network_to_dict(job: TrainingJob) -> dict[str, Any]:
    """The keys that describe a network that is not in the registry."""
    if isinstance(job.network, ModelSpec):
        return {"network": spec_to_dict(job.network)}
    return {} if job.network is None else {"network": network_config_to_dict(job.network)}


def _network_from_fields(fields: Fields, source: Path) -> dict[str, Any]:
    """The fields of a job that say which network it trains."""
    if "network" not in fields:
        return {"model": fields.text("model", known_models()), "network": None}
    if "layers" in fields.fields("network"):
        written = spec_from_fields(fields.fields("network"))
        return {"model": fields.text("model", (written.name,)), "network": written}
    network = network_config_from_dict(fields.mapping("network"), source, "network")
    spec = spec_from_config(network, source)
    if spec.name in known_models():
        raise ValueError(f"network: got that of {spec.name}, expected one without a name")
    return {"model": fields.text("model", (spec.name,)), "network": network}


def _places_from_fields(data: Fields) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a job that locate its data, and the hashes by field name."""
    named = [name for name in (*_FILES, *_FOLDERS) if name == _FILES[0] or name in data]
    files = {name: data.fields(name) for name in named}
    hashes = {name: files[name].text("sha256") for name in _FILES if name in files}
    places: dict[str, Any] = {"images": None}
    places |= {name: one.path("path") for name, one in files.items()}
    for name, field_name in zip(_FILES, _SETS, strict=True):
        if name in files and "sets" in files[name]:
            places[field_name] = sets_from_text(files[name].text("sets"))
    places |= _tiles_from_fields(data)
    if places["images"] is None and "sets" not in places:
        raise ValueError("data.images is missing")
    return places, hashes


def _options_from_fields(fields: Fields) -> dict[str, Any]:
    """The fields of a job that do not affect what is learned."""
    return {
        "device": fields.text("device", ("auto", "cpu", "cuda")),
        "workers": fields.integer("workers", 0, _MOST),
        "threads": fields.integer("threads", 0, _MOST),
        "skip_unreadable": fields.integer("skip_unreadable", 0, _MOST)
        if "skip_unreadable" in fields
        else 0,
        "options": LoopOptions(
            log_every=fields.integer("log_every", 1, _MOST),
            eval_every=fields.integer("eval_every", 0, _MOST),
            save_minutes=fields.number("save_minutes", 0),
        ),
    }


def read_run_record(path: Path) -> RunRecord | None:
    """Read the record of a run; None if there is no such file, as in folders of older versions.

    Raises:
        BadFile: the file cannot be read.
    """
    # a broken or circular link exists, and reading it reports the fault
    if not os.path.lexists(path):
        return None
    return RunRecord.from_dict(read_record(path, "what 'ssd-small train' wrote of its run"), path)


def record_from_job(
    job: TrainingJob,
    data: DetectionDataset,
    hashes: Mapping[str, str],
    before: RunRecord | None = None,
) -> RunRecord:
    """Make the record of a session that is about to begin.

    Args:
        job: the training job.
        data: the pictures of its annotations.
        hashes: SHA-256 of annotations, and of val_annotations if given.
        before: record of the run that is resumed, if any.

    Raises:
        BadFile: the checkpoint to start from cannot be read.
    """
    names = (*_FILES, *_FOLDERS, "weights")
    given = {name: getattr(job, name) for name in names if getattr(job, name) is not None}
    paths = {name: path.absolute() for name, path in given.items()}
    hashes = dict(hashes)
    if "weights" in paths:
        if before is not None and before.job.weights == paths["weights"]:
            # the weights were read when the run began; the file may have been removed or replaced
            hashes["weights"] = before.sha256["weights"]
        else:
            hashes["weights"] = sha256_of(paths["weights"], "pass the right --weights")
    told = job.spec.preprocessing
    return RunRecord(
        job=replace(job, **paths),
        labels=data.labels,
        sha256=hashes,
        median_object_pixels=data.object_size(told.height, told.width, told.fit).network,
        unknown={} if before is None else before.unknown,
    )


def training_from_record(record: RunRecord, data: DetectionDataset) -> dict[str, Any]:
    """What a checkpoint records of its training data, without folders of this machine."""
    job = record.job
    annotations = {"file": job.annotations.name, "sha256": record.sha256["annotations"]}
    if job.sets:
        annotations["sets"] = text_from_sets(job.sets)
    return {
        "annotations": annotations,
        "images": data.report.images,
        "boxes": data.report.boxes,
        "median_object_pixels": record.median_object_pixels,
        "weights": record.identity["weights"],
        "init_scope": record.identity["init_scope"],
        **({} if job.tiles is None else {"tiles": _tiles_to_dict(job)}),
    }
