"""Which of the plugin's two files another tool takes, with what to type."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

#: beside the plugin; registers it when it is loaded, for tools that do nothing but load a library
REGISTERING_FILE = "libssd_small_plugin_dlopen.so"


def registering_file(plugin: Path) -> Path:
    """The file that registers this plugin; it need not exist."""
    return plugin.with_name(REGISTERING_FILE)


def lines_for_tools(plugin: Path) -> dict[str, str]:
    """What to type in each tool that runs an engine with DecodeNms.

    ``trtexec --dynamicPlugins`` and ``load_library`` ask the plugin for its creators; the others
    only dlopen what they are given. What a shell reads is quoted where the path needs it.
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
        # the loader takes both for the end of a path, whatever the quotes
        lines["another tool"] = "LD_PRELOAD takes no path with a space or a colon: copy both files"
    return lines
