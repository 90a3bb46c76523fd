"""A browser without a window, where one is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: a telephone, a desktop; pixels
WIDTHS = (390, 1280)


def browse(folder: Path, *arguments: str) -> str:
    """Standard output of the browser, whose own files lie in ``folder``."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'browser'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def seen_in_frames(folder: Path, html: str, widths: Sequence[int]) -> list[dict[str, float]]:
    """What a page measures at some widths of a screen, in pixels.

    Returns:
        By width ``inner`` (of the screen), ``page`` (of all that is on it), ``figure`` (its first
        figure) and ``height`` (of the page).
    """
    # frames are as narrow as asked for, while a window has a least width; the page itself lets no
    # script run
    probe = html.replace("default-src 'none'", "script-src 'unsafe-inline'").replace(
        "</body>",
        "<script>const root = document.documentElement; parent.postMessage([innerWidth,"
        " root.scrollWidth, document.querySelector('svg').getBoundingClientRect().width,"
        " root.scrollHeight], '*')</script></body>",
    )
    (folder / "page.html").write_text(probe)
    frames = "".join(f'<iframe src="page.html" width="{w}" height="900"></iframe>' for w in widths)
    (folder / "frames.html").write_text(
        f'<style>iframe {{ border: 0 }}</style><pre id="seen"></pre><script>onmessage = e => '
        f"seen.textContent += `[${{e.data}}]`</script>{frames}"
    )
    place = f"file://{folder / 'frames.html'}"
    dom = browse(folder, "--virtual-time-budget=5000", "--dump-dom", place)
    rows = [map(float, one.split(",")) for one in re.findall(r"\[([\d.,]+)\]", dom)]
    seen = [dict(zip(("inner", "page", "figure", "height"), row, strict=True)) for row in rows]
    return sorted(seen, key=lambda one: one["inner"])
