"""The kinds of files that describe themselves: how a record is put into one and what reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import torch
from record_damage import json_text

from ssd_small.artefacts.description import METADATA_KEY
from ssd_small.models.checkpoint import RECORD_KEY

EXAMPLES = Path(__file__).with_name("data")
FORMAT_1 = EXAMPLES / "format-1"
#: files of a network without a name
UNNAMED = EXAMPLES / "description-format-2"
#: files of a network that takes pictures as they are
OF_PICTURES = EXAMPLES / "description-format-3"
#: files of a network with tiles inside
TILED = EXAMPLES / "description-format-4"
#: files of a network whose prior boxes are data
OF_STORED_PRIORS = EXAMPLES / "description-format-5"
#: files of a network whose pictures are in a letterbox
OF_LETTERBOX = EXAMPLES / "description-format-5-fit"
#: files of a network whose boxes are clipped
CLIPPED = EXAMPLES / "description-format-5-clip"
#: files of a network whose pictures are decoded at a fraction
REDUCED = EXAMPLES / "description-format-6"
_FOLDERS = {
    FORMAT_1: "",
    UNNAMED: "unnamed/",
    OF_PICTURES: "pictures/",
    TILED: "tiles/",
    OF_STORED_PRIORS: "priors/",
    OF_LETTERBOX: "fit/",
    CLIPPED: "clipped/",
    REDUCED: "reduced/",
}


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        file: its name in a folder of examples.
        kind: as inspect calls it.
        option: of ``detect``, that takes it; None where no network is inside.
        record: gives what the file says of itself.
        put: writes a copy of the file that says something else: example, text or record, copy.
        folder: the folder of examples.
    """

    file: str
    kind: str
    option: str | None
    record: Callable[[Path], dict[str, Any]]
    put: Callable[[Path, Any, Path], None]
    folder: Path = FORMAT_1

    @property
    def name(self) -> str:
        """Its file, and of which kind of network it is, unless that is an ordinary one."""
        return f"{_FOLDERS[self.folder]}{self.file}"

    def said(self) -> dict[str, Any]:
        """What the example says of itself; not to be changed."""
        return self.record(self.folder / self.file)

    def write(self, record: Any, folder: Path) -> Path:
        """A copy of the example, in a folder, that says ``record`` of itself."""
        copy = folder / self.file
        self.put(self.folder / self.file, record, copy)
        return copy


class Text(str):
    """JSON text that goes into a file as it is."""


def _as_text(record: Any) -> str:
    return record if isinstance(record, Text) else json_text(record)


@cache
def _checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def _checkpoint_record(path: Path) -> dict[str, Any]:
    return _checkpoint(path)[RECORD_KEY]


def _put_checkpoint(example: Path, record: Any, copy: Path) -> None:
    torch.save(_checkpoint(example) | {RECORD_KEY: record}, copy)


@cache
def _onnx_record(path: Path) -> dict[str, Any]:
    (entry,) = (p for p in onnx.load(path).metadata_props if p.key == METADATA_KEY)
    return json.loads(entry.value)


def _put_onnx(example: Path, record: Any, copy: Path) -> None:
    model = onnx.load(example)
    onnx.helper.set_model_props(model, {METADATA_KEY: _as_text(record)})
    onnx.save(model, copy)


def _sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _put_sidecar(example: Path, record: Any, copy: Path) -> None:
    copy.write_text(_as_text(record))


def _put_engine(example: Path, record: Any, copy: Path) -> None:
    if not copy.exists():
        shutil.copy(example, copy)
    _put_sidecar(example, record, _sidecar_of(copy))


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


FORMS = {
    form.file: form
    for form in (
        Form("record.pth", "checkpoint", "--weights", _checkpoint_record, _put_checkpoint),
        Form("detections.onnx", "onnx", "--engine", _onnx_record, _put_onnx),
        Form("heads.onnx", "onnx", "--engine", _onnx_record, _put_onnx),
        *(
            Form(name, "engine", "--engine", lambda path: _json(_sidecar_of(path)), _put_engine)
            for name in ("detections.fp32.engine", "heads.fp16.engine")
        ),
        Form("detections.tensorrt-rtx.engine.json", "sidecar", None, _json, _put_sidecar),
    )
}

UNNAMED_FORMS = {
    form.name: form
    for form in (replace(FORMS[name], folder=UNNAMED) for name in ("record.pth", "heads.onnx"))
}

STORED_PRIORS_FORMS = {
    form.name: form
    for form in (
        replace(FORMS[name], folder=OF_STORED_PRIORS)
        for name in ("record.pth", "detections.onnx", "heads.fp16.engine")
    )
}

CLIPPED_FORMS = {form.name: form for form in (replace(FORMS["detections.onnx"], folder=CLIPPED),)}

PICTURE_FORMS = {
    form.name: form
    for form in (
        *(replace(FORMS[name], folder=OF_PICTURES) for name in ("heads.onnx", "heads.fp16.engine")),
        replace(FORMS["heads.onnx"], folder=TILED),
    )
}

REDUCED_FORMS = {form.name: form for form in (replace(FORMS["heads.fp16.engine"], folder=REDUCED),)}

_LETTERBOX = replace(FORMS["heads.fp16.engine"], folder=OF_LETTERBOX)
LETTERBOX_FORMS = {_LETTERBOX.name: _LETTERBOX}
