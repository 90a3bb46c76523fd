"""Whether the driver can run the CUDA versions of the packages and the plugin.

A driver runs software built with its own major version of CUDA or an earlier one. Anything newer
raises an error, or ends the process, when it is first used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import metadata

from ..errors import MissingRequirement
from ..runtimes.plugin_library import cuda_of_plugin, find_plugin
from ..runtimes.tensorrt_module import MODULES, cuda_major_of_package
from ..system.gpu import Gpus
from .environment import Finding

PLUGIN, CUDA_PACKAGE = "TensorRT plugin", "cuda-bindings"
ALL_PARTS = (*MODULES, CUDA_PACKAGE, PLUGIN)


def examine_cuda_versions(
    found: Gpus, parts: Collection[str] = ALL_PARTS, *, needed: bool = False
) -> Iterator[Finding]:
    """One finding for each of ``parts`` that needs a newer driver; none without a driver."""
    if found.driver is None:
        return
    most = int(found.driver.partition(".")[0])
    for part in parts:
        major = _cuda_major(part)
        if major is None or major <= most:
            continue
        state = f"built with CUDA {major}, and the driver is for CUDA {found.driver}"
        line = f"install a driver for CUDA {major}, or: {_other_build(part, most)}"
        yield Finding(f"CUDA of {part}", False, state, line, needed)


def _cuda_major(part: str) -> int | None:
    """Major version of CUDA that a part was built with; None if absent or not stated."""
    if part in MODULES:
        return cuda_major_of_package(MODULES[part])
    try:
        version = cuda_of_plugin(find_plugin()) if part == PLUGIN else metadata.version(part)
    except (MissingRequirement, metadata.PackageNotFoundError):
        return None
    return int(version.partition(".")[0]) if version else None


def _other_build(part: str, major: int) -> str:
    """Command that installs a build of a part for this major version of CUDA."""
    if part in MODULES:
        return f"pip install {part}-cu{major}"
    if part == PLUGIN:
        return f"CUDACXX=<nvcc of CUDA {major}> pip install --force-reinstall --no-deps ."
    return f"pip install '{part}=={major}.*'"
