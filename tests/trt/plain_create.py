"""Reads the plugin through NVIDIA's own Python classes; prints one JSON line.

    python plain_create.py libssd_small_plugin.so

What is read here crosses the binary interface in NVIDIA's code, not in a stand-in.
"""

import json
import sys

import numpy as np
import tensorrt_rtx as trt


class Log(trt.ILogger):
    """Keeps what the plugin says."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if message.startswith("DecodeNms"):
            self.lines.append(f"{severity} {message}")


def main(library: str) -> None:
    log = Log()
    builder = trt.Builder(log)
    registry = trt.get_plugin_registry()
    registry.load_library(library)
    creator = registry.get_creator("DecodeNms", "1", "")
    kinds, phases = trt.PluginFieldType, trt.TensorRTPhase

    def create(phase: trt.TensorRTPhase, *fields: trt.PluginField) -> trt.IPluginV3 | None:
        return creator.create_plugin("node", trt.PluginFieldCollection(list(fields)), phase)

    top = trt.PluginField("keep_topk", np.array([5], np.int64), kinds.INT64)
    letters = np.frombuffer(b"sigmoid", np.int8)
    activation = trt.PluginField("activation", letters, kinds.CHAR)
    unknown = trt.PluginField("keep_top", np.array([5], np.int32), kinds.INT32)
    report: dict[str, object] = {}
    for phase in (phases.BUILD, phases.RUNTIME):
        plugin = create(phase, top, activation)
        capability = {
            name: plugin.get_capability_interface(getattr(trt.PluginCapabilityType, name))
            for name in ("CORE", "BUILD", "RUNTIME")
        }
        core, build = capability["CORE"], capability["BUILD"]
        report[phase.name] = {
            "interfaces": [
                [item.interface_info.kind, item.interface_info.major, item.interface_info.minor]
                for item in (creator, plugin, *capability.values())
            ],
            "language": plugin.api_language.name,
            "name": [core.plugin_name, core.plugin_version, core.plugin_namespace],
            "outputs": build.num_outputs,
            "format_limit": build.format_combination_limit,
            "timing_id": build.timing_cache_id,
            "metadata": build.metadata_string,
        }
    report["refused"] = create(phases.BUILD, unknown) is None
    report["log"] = log.lines
    print(json.dumps(report))
    del builder


if __name__ == "__main__":
    main(*sys.argv[1:])
