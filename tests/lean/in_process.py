"""One step with one of NVIDIA's lean runtimes, in a process of its own; prints one JSON line.

    python in_process.py STEP libssd_small_plugin.so libssd_small_plugin_dlopen.so

No Runtime and no Builder is made: without a driver those of the lean runtime end the process.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PLUGIN, REGISTERING = sys.argv[2:4]
if sys.argv[1] == "load_before_tensorrt":
    ctypes.CDLL(REGISTERING)

import tensorrt_lean_bindings as trt  # noqa: E402  (from here on TensorRT is loaded)

registry = trt.get_plugin_registry()


def creators() -> list[list[str]]:
    """What of ours is registered."""
    return sorted(
        [creator.name, creator.plugin_version, creator.plugin_namespace, type(creator).__name__]
        for creator in registry.all_creators
        if creator.name.startswith("Decode")
    )


def loaded_library() -> Any:
    """The TensorRT library of this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    path = next(line.split()[-1] for line in lines if "libnvinfer_lean.so" in line)
    return ctypes.CDLL(path)


def registered_creator() -> int:
    """Address of the creator that the registry finds, asked as C++ asks it: by virtual table.

    getCreator stands two places behind registerCreator: at 14 in TensorRT 10, at 10 in 11.
    """
    library = loaded_library()
    library.getPluginRegistry.restype = ctypes.c_void_p
    address = library.getPluginRegistry()
    table = ctypes.cast(
        ctypes.c_void_p.from_address(address).value, ctypes.POINTER(ctypes.c_void_p)
    )
    slot = 14 if library.getInferLibVersion() < 110000 else 10
    text = ctypes.c_char_p
    function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, text, text, text)(table[slot])
    return function(address, b"DecodeNms", b"1", b"") or 0


def creator_of_file(path: str) -> int:
    """Address of the creator that the library itself hands out."""
    get_creators = ctypes.CDLL(path).getCreators
    get_creators.restype = ctypes.POINTER(ctypes.c_void_p)
    return get_creators(ctypes.byref(ctypes.c_int32()))[0]


def start() -> Any:
    """What is registered before anything of ours is loaded in this process."""
    return creators()


def load_library() -> Any:
    """The registry's own way, once and again."""
    handles = [registry.load_library(PLUGIN) is not None for _ in range(2)]
    return [handles, creators(), registered_creator() == creator_of_file(PLUGIN)]


def by_ssd_small() -> Any:
    """What building and opening an engine do, and with files that are none of ours."""
    from ssd_small.errors import MissingRequirement
    from ssd_small.runtimes.plugin_library import check_fields, load_plugin

    refused = []
    for wrong in (__file__, loaded_library()._name, f"{PLUGIN}.not"):
        try:
            load_plugin(trt, Path(wrong))
        except MissingRequirement as error:
            refused.append([wrong, error.command_line])
    creator = load_plugin(trt, Path(PLUGIN))
    from ssd_small.artefacts.decode_nms_function import node_attributes
    from ssd_small.postprocess import PostprocessParams

    for version, params in ("1", PostprocessParams()), ("2", PostprocessParams(clip_boxes=True)):
        check_fields(load_plugin(trt, version=version), node_attributes(params))
    return [refused, creator is not None and creators()]


def create() -> Any:
    """Fields in, the plugin's own description out; a wrong field is refused."""
    registry.load_library(PLUGIN)
    creator = registry.get_creator("DecodeNms", "1", "")
    kinds = trt.PluginFieldType
    given = [
        trt.PluginField("keep_topk", np.array([5], np.int32), kinds.INT32),
        trt.PluginField("variances", np.array([0.5, 0.25], np.float32), kinds.FLOAT32),
        trt.PluginField("activation", np.frombuffer(b"sigmoid\0", np.int8), kinds.CHAR),
    ]
    unknown = trt.PluginField("keep_top", np.array([5], np.int32), kinds.INT32)
    told = {}
    for phase in (trt.TensorRTPhase.BUILD, trt.TensorRTPhase.RUNTIME):
        plugin = creator.create_plugin("node", trt.PluginFieldCollection(given), phase)
        parts = [
            plugin.get_capability_interface(getattr(trt.PluginCapabilityType, name))
            for name in ("CORE", "BUILD", "RUNTIME")
        ]
        core, build, _ = parts
        told[phase.name] = {
            "interfaces": [
                [one.interface_info.kind, one.interface_info.major, one.interface_info.minor]
                for one in (creator, plugin, *parts)
            ],
            "languages": [one.api_language.name for one in (creator, plugin, *parts)],
            "name": [core.plugin_name, core.plugin_version, core.plugin_namespace],
            "outputs": build.num_outputs,
            "format_limit": build.format_combination_limit,
            "texts": [build.timing_cache_id, build.metadata_string],
        }
    fields = [[field.name, field.type.name] for field in creator.field_names]
    refused = creator.create_plugin("node", trt.PluginFieldCollection([unknown]), phase) is None
    return [told, fields, _clipping(phase), refused]


def _clipping(phase: Any) -> dict[str, Any]:
    """What version 2 says of itself."""
    creator = registry.get_creator("DecodeNms", "2", "")
    given = trt.PluginField("clip_boxes", np.array([1], np.int32), trt.PluginFieldType.INT32)
    plugin = creator.create_plugin("node", trt.PluginFieldCollection([given]), phase)
    core = plugin.get_capability_interface(trt.PluginCapabilityType.CORE)
    build = plugin.get_capability_interface(trt.PluginCapabilityType.BUILD)
    return {
        "fields": [[field.name, field.type.name] for field in creator.field_names],
        "name": [core.plugin_name, core.plugin_version, core.plugin_namespace],
        "text": build.timing_cache_id,
    }


def calls() -> Any:
    """Every virtual function, on a plugin of the creator that the registry has."""
    import plugin_driver as driver
    from plugin_fields import fields_from

    from ssd_small.postprocess import PostprocessParams

    ctypes.CDLL(REGISTERING)
    library = driver.adopted(registered_creator())
    plugin = library.create(fields_from(PostprocessParams(keep_topk=7)))
    assert plugin is not None
    heads, extents = [driver.FLOAT] * 3, driver.extents_of(2, 500, 11)
    types = [*heads, driver.INT32, driver.FLOAT, driver.FLOAT, driver.INT32, driver.INT32]
    return {
        "creator": library.creator_texts(),
        "plugin": plugin.texts(),
        "copies": [plugin.clone().texts() == plugin.texts(), plugin.attach().texts()[4]],
        "types": plugin.output_types(heads),
        "shapes": [
            [extent for extent, _ in output] for output in plugin.output_shapes(extents, [1] * 8)
        ],
        "supports": [plugin.supports(i, types, [0] * 8) for i in range(8)],
        "configure": plugin.configure(extents),
        "shape_change": plugin.on_shape_change(extents),
        "workspace": plugin.workspace_bytes(extents) > 0,
    }


def round_trip() -> Any:
    """What a plugin serialises, read again by NVIDIA's classes in the runtime phase."""
    import plugin_driver as driver
    from plugin_fields import FIELD_CHAR, FIELD_FLOAT32, fields_from

    from ssd_small.postprocess import PostprocessParams

    registry.load_library(PLUGIN)
    params = PostprocessParams.coco()
    plugin = driver.adopted(registered_creator()).create(fields_from(params))
    assert plugin is not None
    kinds = trt.PluginFieldType
    read_as = {FIELD_CHAR: (np.int8, kinds.CHAR), FIELD_FLOAT32: (np.float32, kinds.FLOAT32)}
    fields = []
    for name, kind, _, data in plugin.serialized():
        dtype, theirs = read_as.get(kind, (np.int32, kinds.INT32))
        assert data is not None
        fields.append(trt.PluginField(name, np.frombuffer(data, dtype), theirs))
    creator = registry.get_creator("DecodeNms", "1", "")
    again = creator.create_plugin(
        "node", trt.PluginFieldCollection(fields), trt.TensorRTPhase.RUNTIME
    )
    text = again.get_capability_interface(trt.PluginCapabilityType.BUILD).metadata_string
    return [text, plugin.texts()[4]]


def execute() -> Any:
    """enqueue of the host build, on a plugin of the creator that the registry has."""
    import plugin_driver as driver
    from plugin_fields import fields_from
    from plugin_run import run

    from ssd_small.postprocess import PostprocessParams, decode_nms

    ctypes.CDLL(REGISTERING)
    params = PostprocessParams(keep_topk=20)
    plugin = driver.adopted(registered_creator()).create(fields_from(params))
    assert plugin is not None
    random = np.random.default_rng(0)
    loc = random.standard_normal((2, 60, 4), np.float32)
    conf = random.standard_normal((2, 60, 5), np.float32)
    priors = random.uniform(0.1, 0.9, (60, 4)).astype(np.float32)
    found = run(plugin, loc, conf, priors, 20)
    wanted = decode_nms(loc, conf, priors, params, backend="numpy")
    pairs = [
        all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("boxes", "scores"))
        for a, b in zip(found, wanted, strict=True)
    ]
    return [pairs, [len(one.scores) for one in wanted]]


def refuse_to_execute() -> Any:
    """enqueue of the shipped plugin where there is no driver."""
    import plugin_driver as driver

    ctypes.CDLL(REGISTERING)
    plugin = driver.adopted(registered_creator()).create([])
    assert plugin is not None
    block = np.zeros(1 << 20, np.uint8)
    address = -(-block.ctypes.data // 256) * 256
    extents = driver.extents_of(1, 10, 3)
    return plugin.enqueue([driver.FLOAT] * 3, extents, [address] * 3, [address] * 5, address)


def load_plain() -> Any:
    """Loading the plugin alone, as other tools do."""
    ctypes.CDLL(PLUGIN)
    return creators()


def load_registering() -> Any:
    """Loading the other file, RTLD_LOCAL and once more."""
    first = ctypes.CDLL(REGISTERING)
    told = creators()
    assert ctypes.CDLL(REGISTERING)._handle == first._handle
    return [told, creators(), registered_creator() == creator_of_file(PLUGIN)]


def load_before_tensorrt() -> Any:
    """The other file was loaded first, and has opened the TensorRT that came after it."""
    return creators()


def by_polygraphy() -> Any:
    """As ``polygraphy run --plugins`` loads a library."""
    from polygraphy.backend.trt import load_plugins

    load_plugins(plugins=[REGISTERING])
    return creators()


def both_orders() -> Any:
    """Both files, the registry's way last: it finds the creator taken, and nothing is harmed."""
    ctypes.CDLL(REGISTERING)
    handle = registry.load_library(PLUGIN)
    return [handle is None, creators(), registered_creator() == creator_of_file(PLUGIN)]


def both_orders_reversed() -> Any:
    """Both files, the registry's way first; then its library is given back."""
    handle = registry.load_library(PLUGIN)
    ctypes.CDLL(REGISTERING)
    told = creators()
    registry.deregister_library(handle)
    again = creators()
    registry.load_library(PLUGIN)
    return [told, again, creators()]


def wrong_files() -> Any:
    """load_library of a text, of another library, of nothing, and of the registering file."""
    told = []
    for path in (__file__, loaded_library()._name, f"{PLUGIN}.not"):
        try:
            told.append(registry.load_library(path) is None)
        except Exception as error:  # what the binding raises differs between versions
            told.append(type(error).__name__)
    return [told, creators()]


if __name__ == "__main__":
    print(json.dumps([trt.__version__, globals()[sys.argv[1]]()]))
