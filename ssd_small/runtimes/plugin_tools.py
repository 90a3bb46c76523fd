"""Which of the plugin's two files other tools load, and the option or setting to use."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

#: file beside the plugin that registers it on loading, for tools that only load a library
REGISTERING_FILE = "libssd_small_plugin_dlopen.so"


def registering_file(plugin: Path) -> Path:
    """Return the path of the file that registers this plugin; it may not exist."""
    return plugin.with_name(REGISTERING_FILE)


def lines_for_tools(plugin: Path) -> dict[str, str]:
    """Return, by tool, the option or setting for running an engine with DecodeNms.

    ``trtexec --dynamicPlugins`` and ``load_library`` ask the plugin for its creators; the others
    only dlopen the given file. Paths in shell commands are quoted where necessary.
    """
    other = registering_file(plugin)
    typed = quote(str(other))
    lines = {
        "trtexec": f"--dynamicPlugins={quote(str(plugin))}",
        "trtexec, the older way": f"--staticPlugins={typed}",
        "Python": f"tensorrt.get_plugin_registry().load_library({str(plugin)!r})",
        "Triton": f"--backend-config=tensorrt,plugins={typed}",
        "DeepStream": f"custom-lib-path={other}",
        "polygraphy": f"--plugins {typed}",
        "another tool": f"LD_PRELOAD={other}",
    }
    if any(sign in str(other) for sign in " :"):
        # the loader treats both as the end of a path, even if quoted
        lines["another tool"] = "LD_PRELOAD takes no path with a space or a colon: copy both files"
    return lines
