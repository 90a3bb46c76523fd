"""The plugin's host build, driven from Python as TensorRT drives a plugin.

kernels/tests/plugin holds both halves: ``libssd_small_plugin_host.so``, the source of the plugin
over the CPU executor, and ``libssd_small_plugin_driver.so``, a stand-in for TensorRT that calls
its virtual functions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import plugin_libraries
from plugin_fields import (
    FIELD_CHAR,
    FIELD_FLOAT32,
    FIELD_INT32,
    Field,
    PluginFieldCollection,
    collection_from,
    fields_from,
    value_from,
)

from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.params import WHOLE

FLOAT, HALF, INT32 = 0, 1, 3
BUILD, RUNTIME = 0, 1
NO_LOGGER, PLAIN, MIXED, VERSIONED, FOREIGN = range(5)


class Library:
    """A plugin library under the stand-in."""

    def __init__(self, driver: ctypes.CDLL, handle: int) -> None:
        self.driver, self.handle = driver, handle

    def set_logger(self, kind: int) -> None:
        self.driver.driver_set_logger(self.handle, kind)

    def take_messages(self) -> list[str]:
        text = self.driver.driver_messages(self.handle).decode()
        self.driver.driver_clear_messages(self.handle)
        return text.splitlines()

    def creator_texts(self) -> list[str]:
        """Name, version, namespace, interface."""
        return [self.driver.driver_creator_text(self.handle, i).decode() for i in range(4)]

    def announced_fields(self) -> list[tuple[str, int, int]]:
        collection = self.driver.driver_field_names(self.handle).contents
        return [
            (entry.name.decode(), entry.type, entry.length)
            for entry in collection.fields[: collection.count]
        ]

    def create(self, fields: Sequence[Field] | None, phase: int = BUILD) -> Plugin | None:
        """None where the creator refuses."""
        if fields is None:
            pointer = self.driver.driver_create(self.handle, None, phase)
        else:
            collection, alive = collection_from(fields)
            pointer = self.driver.driver_create(self.handle, ctypes.byref(collection), phase)
            del alive  # the creator must have copied what it needs
        return Plugin(self, pointer) if pointer else None

    def create_for(self, params: PostprocessParams, edges: tuple[float, float] = WHOLE) -> Plugin:
        """Of the other version where the parameters ask for it."""
        library = open_library(2) if params.clip_boxes else self
        plugin = library.create(fields_from(params, edges))
        assert plugin is not None, self.take_messages()
        return plugin


class Plugin:
    """One plugin object; destroyed with the Python object."""

    def __init__(self, library: Library, pointer: int) -> None:
        self.library, self.driver, self.pointer = library, library.driver, pointer

    def destroy(self) -> None:
        if self.pointer:
            self.driver.driver_destroy(self.pointer)
            self.pointer = 0

    def __del__(self) -> None:
        self.destroy()

    def clone(self) -> Plugin:
        return Plugin(self.library, self.driver.driver_clone(self.pointer))

    def attach(self) -> Plugin:
        return Plugin(self.library, self.driver.driver_attach(self.pointer))

    def texts(self) -> list[str]:
        """Name, version, namespace, timing id, metadata, and the four interfaces."""
        return [self.driver.driver_plugin_text(self.pointer, i).decode() for i in range(9)]

    @property
    def timing_id(self) -> str:
        return self.texts()[3]

    def serialized(self) -> list[Field]:
        collection = self.driver.driver_serialize(self.pointer).contents
        size = {FIELD_FLOAT32: 4, FIELD_INT32: 4, FIELD_CHAR: 1}
        return [
            (
                entry.name.decode(),
                entry.type,
                entry.length,
                ctypes.string_at(entry.data, entry.length * size[entry.type]),
            )
            for entry in collection.fields[: collection.count]
        ]

    def params(self) -> PostprocessParams:
        values = {field[0]: value_from(field) for field in self.serialized()}
        values.pop("clip_edges", None)
        return PostprocessParams(**values | {"clip_boxes": bool(values.get("clip_boxes"))})

    def output_types(self, types: Sequence[int], num_inputs: int = 3) -> list[int] | None:
        out = (ctypes.c_int32 * 5)()
        status = self.driver.driver_output_types(self.pointer, _ints(types), num_inputs, out)
        return None if status else list(out)

    def output_shapes(
        self, extents: Sequence[int], known: Sequence[int]
    ) -> list[list[tuple[int, bool]]]:
        """Per output and axis: the value, and whether the builder knows it."""
        ranks, known_out = (ctypes.c_int32 * 5)(), (ctypes.c_int32 * 15)()
        extents_out = (ctypes.c_int64 * 15)()
        status = self.driver.driver_output_shapes(
            self.pointer, _longs(extents), _ints(known), ranks, extents_out, known_out
        )
        assert status == 0, self.library.take_messages()
        return [
            [(extents_out[3 * i + axis], bool(known_out[3 * i + axis])) for axis in range(ranks[i])]
            for i in range(5)
        ]

    def supports(self, position: int, types: Sequence[int], formats: Sequence[int]) -> bool:
        return bool(
            self.driver.driver_supports(self.pointer, position, _ints(types), _ints(formats))
        )

    def configure(self, extents: Sequence[int], types: Sequence[int] = (FLOAT,) * 3) -> int:
        return self.driver.driver_configure(self.pointer, _ints(types), _longs(extents))

    def on_shape_change(self, extents: Sequence[int], types: Sequence[int] = (FLOAT,) * 3) -> int:
        return self.driver.driver_on_shape_change(self.pointer, _ints(types), _longs(extents))

    def workspace_bytes(self, extents: Sequence[int], types: Sequence[int] = (FLOAT,) * 3) -> int:
        return self.driver.driver_workspace(self.pointer, _ints(types), _longs(extents))

    def enqueue(
        self,
        types: Sequence[int],
        extents: Sequence[int],
        inputs: Sequence[int | None],
        outputs: Sequence[int | None],
        workspace: int | None,
    ) -> int:
        return self.driver.driver_enqueue(
            self.pointer,
            _ints(types),
            _longs(extents),
            (ctypes.c_void_p * 3)(*inputs),
            (ctypes.c_void_p * 5)(*outputs),
            workspace,
        )


def extents_of(batch: int, num_priors: int, num_classes: int) -> list[int]:
    return [batch, num_priors, 4, batch, num_priors, num_classes, num_priors, 4]


def _ints(values: Sequence[int]) -> Any:
    return (ctypes.c_int32 * len(values))(*values)


def _longs(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


@cache
def open_library(version: int = 1) -> Library:
    """A version of the plugin in its host build, with a logger of TensorRT 10."""
    driver = _open_driver()
    error = ctypes.create_string_buffer(512)
    path = plugin_libraries.host_library_path()
    handle = driver.driver_open(str(path).encode(), str(version).encode(), error, 512)
    if not handle:
        raise OSError(error.value.decode())
    library = Library(driver, handle)
    library.set_logger(PLAIN)
    return library


def library_of_version(version: int) -> Library:
    """The same, its messages to a plain logger and none of them there yet."""
    library = open_library(version)
    library.set_logger(PLAIN)
    library.take_messages()
    return library


def refusal(library: Library, fields: list[Field]) -> str:
    """The one message with which the creator refuses these fields."""
    assert library.create(fields) is None
    (message,) = library.take_messages()
    assert message.startswith("1 DecodeNms: ")  # severity: error
    return message


def adopted(creator: int) -> Library:
    """A creator at an address, as a registry has it."""
    driver = _open_driver()
    return Library(driver, driver.driver_adopt(creator))


@cache
def _open_driver() -> ctypes.CDLL:
    driver = ctypes.CDLL(str(plugin_libraries.build_directory() / "libssd_small_plugin_driver.so"))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    collection = ctypes.POINTER(PluginFieldCollection)
    for name, result, arguments in (
        ("open", pointer, [text, text, text, ctypes.c_int32]),
        ("adopt", pointer, [pointer]),
        ("set_logger", None, [pointer, ctypes.c_int32]),
        ("messages", text, [pointer]),
        ("clear_messages", None, [pointer]),
        ("creator_text", text, [pointer, ctypes.c_int32]),
        ("field_names", collection, [pointer]),
        ("create", pointer, [pointer, collection, ctypes.c_int32]),
        ("clone", pointer, [pointer]),
        ("attach", pointer, [pointer]),
        ("destroy", None, [pointer]),
        ("serialize", collection, [pointer]),
        ("plugin_text", text, [pointer, ctypes.c_int32]),
        ("output_types", ctypes.c_int32, [pointer, pointer, ctypes.c_int32, pointer]),
        ("output_shapes", ctypes.c_int32, [pointer] * 6),
        ("supports", ctypes.c_int32, [pointer, ctypes.c_int32, pointer, pointer]),
        ("configure", ctypes.c_int32, [pointer] * 3),
        ("workspace", ctypes.c_uint64, [pointer] * 3),
        ("on_shape_change", ctypes.c_int32, [pointer] * 3),
        ("enqueue", ctypes.c_int32, [pointer] * 6),
    ):
        function = getattr(driver, f"driver_{name}")
        function.restype, function.argtypes = result, arguments
    return driver
