"""Pages in a browser: as wide as the screen, a telephone's too, and on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from report_values import bench, evaluation, measurement, parity

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from ssd_small.report.from_bench import page_from_bench
from ssd_small.report.from_eval import Details, page_from_eval
from ssd_small.report.from_parity import page_from_parity
from ssd_small.report.page import Page, Picture, Pictures, html_from_page
from ssd_small.report.pictures import Box, uri_from_picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="not executed here: no browser (apt-get install chromium)"
    ),
]
#: a telephone, a desktop; pixels
WIDTHS = (390, 1280)
#: a name that has no place to break, and one with many
LONG = ("x" * 200, "a class whose name goes on and on " * 4)


def pages() -> dict[str, Page]:
    pixels = np.full((300, 500, 3), 120, np.uint8)
    boxes = [Box((20, 20, 100, 60), wrong, "0.91") for wrong in (False, True)]
    one = Picture(uri_from_picture(pixels, (300.0, 500.0), boxes), "a picture", "its caption")
    examples = [Pictures(LONG[0], (one, one), LONG)]
    kinds = [(name, 3, 0.1) for name in LONG]
    matrix = (LONG, [[1, 2, 3]] * 3)
    rows = [measurement("a/long/path/" * 8, 12.5), measurement("a/long/path/" * 8, 9, batch=4)]
    return {
        "eval": page_from_eval(evaluation(LONG), Details(kinds, matrix, examples)),
        "bench": page_from_bench(bench(*rows)),
        "parity": page_from_parity(parity(engine="e" * 150), examples),
    }


def browse(folder: Path, *arguments: str) -> str:
    """Standard output of a browser without a window."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'browser'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("kind", ["eval", "bench", "parity"])
def test_no_page_is_wider_than_the_screen(kind: str, tmp_path: Path) -> None:
    html = html_from_page(pages()[kind])
    # frames are as narrow as asked for, while a window has a least width; the page itself lets no
    # script run
    probe = html.replace("default-src 'none'", "script-src 'unsafe-inline'").replace(
        "</body>",
        "<script>parent.postMessage([innerWidth, document.documentElement.scrollWidth,"
        " document.querySelector('svg').getBoundingClientRect().width], '*')</script></body>",
    )
    (tmp_path / "page.html").write_text(probe)
    frames = "".join(f'<iframe src="page.html" width="{w}" height="900"></iframe>' for w in WIDTHS)
    (tmp_path / "frames.html").write_text(
        f'<style>iframe {{ border: 0 }}</style><pre id="seen"></pre><script>onmessage = e => '
        f"seen.textContent += `[${{e.data}}]`</script>{frames}"
    )
    place = f"file://{tmp_path / 'frames.html'}"
    dom = browse(tmp_path, "--virtual-time-budget=5000", "--dump-dom", place)
    seen = sorted(re.findall(r"\[(\d+),(\d+),([\d.]+)\]", dom), key=lambda one: int(one[0]))
    assert [int(width) for width, _, _ in seen] == list(WIDTHS)
    for width, page, figure in seen:
        assert int(page) <= int(width)
        # figures are neither lost nor cut
        assert 0.75 * min(int(width), 700) <= float(figure) <= int(width)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_seen_first_is_the_verdict(width: int, tmp_path: Path) -> None:
    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    page.write_text(html_from_page(page_from_parity(parity())))
    cv2 = pytest.importorskip("cv2")
    browse(tmp_path, f"--window-size={width},700", f"--screenshot={shot}", f"file://{page}")
    pixels = cv2.imread(str(shot)).astype(int)
    assert pixels.shape == (700, width, 3)
    # the double bar beside a verdict that says no: #b34700
    bar = (np.abs(pixels - (0x00, 0x47, 0xB3)) < 12).all(axis=2)
    rows = np.flatnonzero(bar.any(axis=1))
    assert len(rows) > 40
    assert rows[0] < 350


def test_a_page_on_paper_shows_what_is_folded(tmp_path: Path) -> None:
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(html_from_page(page_from_eval(evaluation())))
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", f"file://{page}")
    assert paper.read_bytes().startswith(b"%PDF")
