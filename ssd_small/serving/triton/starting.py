"""Commands that start a server on a model repository, and a README that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from ...runtimes.plugin_tools import REGISTERING_FILE
from .source import ServedNetwork

#: subfolder of the model's folder; in the repository's folder it would count as a model
PLUGIN_FOLDER = "plugins"
#: path of the repository in the container of the commands below
_MOUNTED = Path("/models")
#: disables the usage reports that ONNX Runtime sends from Linux since 1.29
_QUIET = "ORT_DISABLE_TELEMETRY=1"
_IMAGE = "nvcr.io/nvidia/tritonserver:YY.MM-py3"
_LOOPBACK = ("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1")


def lines_to_start(repository: Path, name: str, network: ServedNetwork) -> list[str]:
    """Commands for a server on this machine and in a container.

    A plugin can be registered in two ways, with a command each: the backend loads it, or the
    dynamic loader does before everything else.
    """
    lines = []
    for folder, container in ((repository.absolute(), False), (_MOUNTED, True)):
        plugin = folder / name / PLUGIN_FOLDER / REGISTERING_FILE
        server = f"tritonserver --model-repository={quote(str(folder))}"
        ways: list[tuple[str, Sequence[str]]] = [("", ())]
        if network.needs_plugin:
            option = f"--backend-config=tensorrt,plugins={quote(str(plugin))}"
            ways = [("", (option,))]
            # for the loader, a space or colon ends a path, even inside quotes
            if not any(sign in str(plugin) for sign in " :"):
                ways.append((f"LD_PRELOAD={quote(str(plugin))}", ()))
        for variable, options in ways:
            words = [server, *options, *_LOOPBACK]
            variables = [_QUIET, variable] if variable else [_QUIET]
            if container:
                mounted = quote(f"{repository.absolute()}:{_MOUNTED}:ro")
                gpus = "--gpus=all " if network.backend == "tensorrt" else ""
                shown = "".join(f"-e {one} " for one in variables)
                before = f"docker run --rm --network=host {gpus}-v {mounted} {shown}{_IMAGE} "
            else:
                before = "".join(f"{one} " for one in variables)
            lines.append(before + " ".join(words))
    return lines


def readme(name: str, network: ServedNetwork, lines: Sequence[str], entry: str) -> str:
    """``README.md`` in the folder of a model, for whoever starts the server.

    Args:
        name: name of the model.
        network: the network that it serves.
        lines: commands from :func:`lines_to_start`.
        entry: the model that clients should use: the network's own, or the ensemble.
    """
    description = network.description
    parts = [
        f"# {name}",
        f"{description.model}, {len(description.labels)} classes, for Triton's {network.backend} "
        "backend.",
        "Start a server that this machine alone can ask (leave the addresses out for others to "
        "reach it), one of:",
        "\n".join(f"    {line}" for line in lines),
        "Ask it:",
        f"    ssd-small triton-client http://127.0.0.1:8000 --model {quote(entry)} picture.jpg",
        f"`{_QUIET}` keeps ONNX Runtime from reporting its use, which it does from Linux since "
        "1.29; Triton itself reports none.",
    ]
    if entry != name:
        parts.append(
            f"{entry} takes encoded pictures. Its steps in Python need ssd-small[images] in the "
            "environment that their config.pbtxt names (EXECUTION_ENV_PATH), with the Python of "
            "the server's stub; a container must have it at that path."
        )
    if network.backend == "tensorrt":
        parts.append(
            "The plan is for the version of TensorRT that it was built with "
            f"({network.facts.get('target_version', 'see its sidecar')}) and the GPU that it was "
            "built on: take the release YY.MM of the container that has it."
        )
    if network.needs_plugin:
        parts.append(
            f"`{PLUGIN_FOLDER}/` holds the plugin that executes DecodeNms. Both files belong "
            f"together; {REGISTERING_FILE} is the one to name, either way."
        )
    return "\n\n".join(parts) + "\n"
