"""Fields of a TensorRT plugin as C structures, made as TensorRT's ONNX parser makes them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from typing import Any

import numpy as np

from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.params import WHOLE

#: of version 1 of the plugin, and of version 2
FIRST_NAMES = [f.name for f in dataclass_fields(PostprocessParams) if f.name != "clip_boxes"]
FIELD_NAMES = [*FIRST_NAMES, "clip_boxes", "clip_edges"]
FIELD_FLOAT32, FIELD_FLOAT64, FIELD_INT32, FIELD_CHAR, FIELD_INT64 = 1, 2, 5, 6, 10


class PluginField(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


class PluginFieldCollection(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int32), ("fields", ctypes.POINTER(PluginField)))


#: a field as the tests write it: name, type, length, bytes (None: a null pointer)
Field = tuple[str, int, int, bytes | None]


def field_from(name: str, value: Any) -> Field:
    """The field as TensorRT's ONNX parser makes it from a node attribute."""
    if isinstance(value, str):
        data = value.encode() + b"\0"
        return name, FIELD_CHAR, len(data), data
    if isinstance(value, int):
        return name, FIELD_INT32, 1, np.int32(value).tobytes()
    values = np.atleast_1d(np.asarray(value, np.float32))
    return name, FIELD_FLOAT32, len(values), values.tobytes()


def fields_from(
    params: PostprocessParams, edges: tuple[float, float] = WHOLE, version: int | None = None
) -> list[Field]:
    """All fields of a version; of the one that the parameters ask for where none is given."""
    values = asdict(params) | {"clip_edges": edges}
    of_second = params.clip_boxes if version is None else version == 2
    return [field_from(name, values[name]) for name in (FIELD_NAMES if of_second else FIRST_NAMES)]


def value_from(field: Field) -> Any:
    _, kind, length, data = field
    assert data is not None
    if kind == FIELD_CHAR:
        return data.rstrip(b"\0").decode()
    array = np.frombuffer(data, np.float32 if kind == FIELD_FLOAT32 else np.int32)
    assert len(array) == length
    return tuple(array.tolist()) if length > 1 else array[0].item()


def collection_from(fields: Sequence[Field]) -> tuple[PluginFieldCollection, list[Any]]:
    """The C structure, and what must stay alive with it. All data are misaligned by one byte."""
    array = (PluginField * max(len(fields), 1))()
    alive: list[Any] = [array]
    for entry, (name, kind, length, data) in zip(array, fields, strict=False):
        encoded = name.encode()
        entry.name, entry.type, entry.length = encoded, kind, length
        if data is not None:
            buffer = ctypes.create_string_buffer(b"?" + data, len(data) + 1)
            alive.append(buffer)
            entry.data = ctypes.addressof(buffer) + 1
        alive.append(encoded)
    return PluginFieldCollection(len(fields), array), alive
