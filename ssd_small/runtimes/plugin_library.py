"""The TensorRT plugin library: finding it and loading it into a plugin registry."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingRequirement
from ..files import state_of

if TYPE_CHECKING:
    from ..postprocess import PostprocessParams

#: environment variable that names a library to use instead of the packaged one
ENVIRONMENT = "SSD_SMALL_PLUGIN"
FILE_NAME = "libssd_small_plugin.so"
PLUGIN_NAME = "DecodeNms"
#: versions of the plugin, each with its creator in the library; "2" is for engines that clip boxes
PLUGIN_VERSIONS = ("1", "2")


def find_plugin() -> Path:
    """Find the plugin library: the one SSD_SMALL_PLUGIN names, else the packaged one.

    Raises:
        MissingRequirement: there is no such file.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        path = Path(named)
        if not path.is_file():
            raise MissingRequirement(
                f"{ENVIRONMENT} names {path}, which {state_of(path)}; expected the path of "
                f"{FILE_NAME}, or leave {ENVIRONMENT} unset"
            )
        return path.resolve()
    path = Path(__file__).resolve().parents[1] / "_native" / FILE_NAME
    if not path.is_file():
        raise MissingRequirement(
            f"the TensorRT plugin {FILE_NAME} was not built with this installation; reinstall "
            f"ssd-small with nvcc present, or set {ENVIRONMENT}=PATH to one built elsewhere"
        )
    return path


def cuda_of_plugin(path: Path) -> str | None:
    """Return the CUDA version, such as ``"13.0"``, of the runtime in a plugin library.

    None if unknown: the library is from an earlier release, or cannot be loaded.
    """
    try:
        version = int(ctypes.CDLL(str(path)).ssd_small_plugin_cuda_version())
    except (OSError, AttributeError):
        return None
    return f"{version // 1000}.{version % 1000 // 10}" if version else None


def plugin_version(params: PostprocessParams) -> str:
    """Return the version of the plugin that implements these parameters."""
    return PLUGIN_VERSIONS[params.operator_version - 1]


def load_plugin(trt: Any, path: Path | None = None, version: str = PLUGIN_VERSIONS[0]) -> Any:
    """Return the creator of the DecodeNms plugin, loading its library if necessary.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        path: the library; None for :func:`find_plugin`.
        version: version of the plugin.

    Raises:
        MissingRequirement: there is no library, or it is not ours or of another version.
    """
    registry = trt.get_plugin_registry()
    creator = _creator(registry, version)
    if creator is not None:
        return creator
    path = path or find_plugin()
    try:
        handle = registry.load_library(str(path))
    except Exception as error:  # the binding's exceptions differ between the flavours
        raise MissingRequirement(_not_loaded(path, str(error))) from error
    creator = _creator(registry, version)
    if creator is not None:
        return creator
    other = sorted(c.plugin_version for c in registry.all_creators if c.name == PLUGIN_NAME)
    if other:
        raise MissingRequirement(
            f"plugin library {path} provides {PLUGIN_NAME} version {other[0]}; this version of "
            f"ssd-small needs version {version}: reinstall ssd-small, or set {ENVIRONMENT} "
            "to a library of the same release"
        )
    state = "it cannot be loaded" if handle is None else f"it provides no plugin {PLUGIN_NAME}"
    raise MissingRequirement(_not_loaded(path, state))


def check_fields(creator: Any, attributes: Collection[str]) -> None:
    """Refuse a creator that does not read exactly the attributes that were written.

    TensorRT's parser silently drops attributes that the creator does not list.

    Raises:
        MissingRequirement: the attributes differ.
    """
    read = {field.name for field in creator.field_names}
    differing = sorted(read ^ set(attributes))
    if differing:
        side = "does not know" if differing[0] in attributes else "also expects"
        raise MissingRequirement(
            f"the {PLUGIN_NAME} plugin {side} the attribute {differing[0]!r}; the plugin library "
            "is of another release: reinstall ssd-small"
        )


def _creator(registry: Any, version: str) -> Any:
    return next(
        (
            creator
            for creator in registry.all_creators
            if creator.name == PLUGIN_NAME and creator.plugin_version == version
        ),
        None,
    )


def _not_loaded(path: Path, reason: str) -> str:
    return (
        f"{path} is not the plugin library of ssd-small ({reason or 'it cannot be loaded'}); "
        f"expected {FILE_NAME}: reinstall ssd-small, or correct {ENVIRONMENT}"
    )
