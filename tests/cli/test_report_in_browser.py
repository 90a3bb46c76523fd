"""Pages in a browser: as wide as the screen, a telephone's too, and on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, WIDTHS, browse, seen_in_frames
from report_values import bench, evaluation, measurement, parity

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from ssd_small.report.from_bench import page_from_bench
from ssd_small.report.from_eval import Details, page_from_eval
from ssd_small.report.from_parity import page_from_parity
from ssd_small.report.page import Page, Picture, Pictures, html_from_page
from ssd_small.report.pictures import Box, uri_from_picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="not executed here: no browser (apt-get install chromium)"
    ),
]
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


@pytest.mark.parametrize("kind", ["eval", "bench", "parity"])
def test_no_page_is_wider_than_the_screen(kind: str, tmp_path: Path) -> None:
    html = html_from_page(pages()[kind])
    seen = seen_in_frames(tmp_path, html, WIDTHS)
    assert [one["inner"] for one in seen] == list(WIDTHS)
    for one in seen:
        assert one["page"] <= one["inner"]
        # figures are neither lost nor cut
        assert 0.75 * min(one["inner"], 700) <= one["figure"] <= one["inner"]


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
