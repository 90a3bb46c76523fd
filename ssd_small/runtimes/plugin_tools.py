"""Which of the plugin's two files another tool takes, with what to type."""

from __future__ import annotations

from pathlib import Path

#: beside the plugin; registers it when it is loaded, for tools that do nothing but load a library
REGISTERING_FILE = "libssd_small_plugin_dlopen.so"


def registering_file(plugin: Path) -> Path:
    """The file that registers this plugin; it need not exist."""
    return plugin.with_name(REGISTERING_FILE)


def lines_for_tools(plugin: Path) -> dict[str, str]:
    """What to type in each tool that runs an engine with DecodeNms.

    ``trtexec --dynamicPlugins`` and ``load_library`` ask the plugin for its creators; the others
    only dlopen what they are given.
    """
    other = registering_file(plugin)
    return {
        "trtexec": f"--dynamicPlugins={plugin}",
        "Python": f"tensorrt.get_plugin_registry().load_library({str(plugin)!r})",
        "Triton": f"--backend-config=tensorrt,plugins={other}",
        "DeepStream": f"custom-lib-path={other}",
        "polygraphy": f"--plugins {other}",
        "another tool": f"LD_PRELOAD={other}",
    }
