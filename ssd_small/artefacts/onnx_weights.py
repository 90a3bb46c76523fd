"""The weights of an ONNX file that a tool has moved into separate files."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

from onnx import ModelProto, TensorProto, external_data_helper

from ..errors import BadFile
from ..files import not_a_file, read_bytes

#: maximum size of an ONNX file in bytes, a limit of protobuf itself
MOST_BYTES = 1 << 31


def weights_beside(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights; none if it cannot be read."""
    model = ModelProto()
    try:
        model.ParseFromString(read_bytes(path, "an ONNX file", MOST_BYTES))
    except Exception:  # reported by the code that reads the model
        return []
    return [path.parent / name for name in _locations(_external_tensors(model))]


def _external_tensors(model: ModelProto) -> list[TensorProto]:
    attributes = (a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))
    every = (*model.graph.initializer, *attributes)
    return [tensor for tensor in every if external_data_helper.uses_external_data(tensor)]


def _locations(tensors: Iterable[TensorProto]) -> list[str]:
    return sorted({e.value for t in tensors for e in t.external_data if e.key == "location"})


def check_beside(model: ModelProto, path: Path) -> None:
    """Refuse external weights that are not files, or may not be read."""
    for name in _locations(_external_tensors(model)):
        try:
            kind = not_a_file((path.parent / name).stat().st_mode)
            if kind is not None:
                raise OSError(errno.EINVAL, f"it is {kind}")
            (path.parent / name).open("rb").close()
        except FileNotFoundError as error:
            raise BadFile(
                f"{path} keeps its weights in another file, {name}, and {path.parent / name} does "
                "not exist; put it there, beside the model, or save the model in one file"
            ) from error
        except OSError as error:
            raise BadFile(
                f"{path} keeps its weights in another file, and cannot read {path.parent / name}: "
                f"{error.strerror}; make it readable, or save the model in one file"
            ) from error
        # the caches of model hubs store their files as links
        if (path.parent / name).is_symlink():
            raise BadFile(
                f"{path} keeps its weights in another file, and {path.parent / name} is a symbolic "
                "link, which onnx does not follow; copy the file itself there, or save the model "
                "in one file"
            )


def read_weights(model: ModelProto, path: Path) -> None:
    """Load weights that a tool has stored in files beside the model."""
    for tensor in _external_tensors(model):
        external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        # from here on the tensor holds the data itself
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
