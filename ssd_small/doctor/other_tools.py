"""How other tools get the plugin: a check of the file that registers it, and what to type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..errors import MissingRequirement
from ..runtimes.plugin_library import PLUGIN_NAME, find_plugin
from ..runtimes.plugin_tools import lines_for_tools, registering_file
from ..runtimes.tensorrt_module import MODULES
from .environment import Finding

# in a separate process, since in this one the plugin is already registered
_LOADING = (
    "import ctypes, importlib, sys; trt = importlib.import_module(sys.argv[1]); "
    "ctypes.CDLL(sys.argv[2]); "
    "sys.exit(sys.argv[3] not in [c.name for c in trt.get_plugin_registry().all_creators])"
)
_SECONDS = 60


def examine_other_tools() -> Iterator[Finding]:
    """If there is a plugin: what loading its file registers, then a line to type for each tool."""
    try:
        plugin = find_plugin()
    except MissingRequirement:
        return  # reported by the finding about the plugin itself
    file = registering_file(plugin)
    fault, tried = _fault(file)
    subject = "plugin by loading a file"
    if fault:
        remedy = "pip install --force-reinstall . (in a checkout, with nvcc present)"
        yield Finding(subject, False, f"{file.name} {fault}: Triton and DeepStream need it", remedy)
        return
    yield Finding(subject, True, f"{file.name} {tried}")
    for tool, line in lines_for_tools(plugin).items():
        yield Finding(f"plugin in {tool}", True, f"type there: {line}")


def _fault(file: Path) -> tuple[str, str]:
    """What is wrong with the file that registers the plugin, and what was tried with it."""
    if not file.is_file():
        return "is not beside the plugin", ""
    module = next((module for module in MODULES.values() if find_spec(module)), None)
    if module is None:
        return "", "is there, and not tried: no TensorRT to register with"
    command = [sys.executable, "-c", _LOADING, module, str(file), PLUGIN_NAME]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"does not come back in {_SECONDS} s with {module}", ""
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"does not register {PLUGIN_NAME} with {module} ({lines[-1]})", ""
    return "", f"registers {PLUGIN_NAME} with {module}"
