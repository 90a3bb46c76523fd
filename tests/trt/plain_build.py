"""An engine from an ONNX file and a plugin library: what somebody without ssd_small writes.

    python plain_build.py libssd_small_plugin.so heads_and_nms.onnx engine.plan [max_batch]

Needs the Python package tensorrt_rtx only, no GPU. Prints one JSON line. Exit 0: built;
1: the parser or the builder refused.
"""

import json
import sys

import tensorrt_rtx as trt


class Log(trt.ILogger):
    """Keeps warnings and errors."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity <= trt.ILogger.WARNING:
            self.lines.append(message)


def main(plugin: str, onnx_file: str, plan_file: str, max_batch: str = "8") -> int:
    log = Log()
    report: dict[str, object] = {"log": log.lines, "outputs": [], "plan_bytes": 0}
    builder = trt.Builder(log)
    registry = trt.get_plugin_registry()
    registry.load_library(plugin)
    for name, version in ("fields", "1"), ("fields_of_2", "2"):
        creator = registry.get_creator("DecodeNms", version, "")
        report[name] = None if creator is None else [f.name for f in creator.field_names]

    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    with open(onnx_file, "rb") as file:
        report["parsed"] = parser.parse(file.read())
    plan = None
    if report["parsed"]:
        outputs = [network.get_output(i) for i in range(network.num_outputs)]
        report["outputs"] = [[out.name, list(out.shape), str(out.dtype)] for out in outputs]
        plan = builder.build_serialized_network(network, config_for(builder, network, max_batch))
    if plan is not None:
        report["plan_bytes"] = plan.nbytes
        with open(plan_file, "wb") as file:
            file.write(plan)
    print(json.dumps(report))
    return 0 if plan is not None else 1


def config_for(
    builder: trt.Builder, network: trt.INetworkDefinition, max_batch: str
) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        smallest = [1 if extent == -1 else extent for extent in tensor.shape]
        largest = [int(max_batch) if extent == -1 else extent for extent in tensor.shape]
        profile.set_shape(tensor.name, smallest, largest, largest)
    config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
