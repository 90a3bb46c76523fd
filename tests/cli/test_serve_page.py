"""The page of `ssd-small serve` in a browser: chosen, seen, filtered, on a telephone too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, WIDTHS
from devtools import Tab, tab
from serve_process import Running, serving

for _package in ("uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(_package)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="not executed here: no browser (apt-get install chromium)"
    ),
]
STATUS = "document.getElementById('status').textContent"
ROWS = "document.getElementById('rows').rows.length"
TOKEN = "a-token-of-this-test"


def shown(page: Tab, running: Running, picture: Path, at: float) -> int:
    """Choose a picture and look at what is above a score."""
    page.choose("#file", picture)
    page.wait(f"{STATUS}.includes('found in')")
    slide(page, at)
    number = page.of(ROWS)
    assert isinstance(number, int)
    return number


def slide(page: Tab, at: float) -> None:
    page.of(
        f"(s => {{ s.value = {at}; s.dispatchEvent(new Event('input')); }})"
        "(document.getElementById('threshold'))"
    )


def counted(found: dict[str, Any], above: float) -> int:
    return sum(one["score"] > above for one in found["detections"])


def test_a_picture_is_shown_with_its_boxes(engine, pictures, tmp_path) -> None:
    with serving(engine, "--token", TOKEN) as running, tab(tmp_path) as page:
        own = {"Authorization": f"Bearer {TOKEN}"}
        content = (pictures / "a.jpg").read_bytes()
        found = running.detect(content, "?score_threshold=0.01", **own).json
        scores = sorted(one["score"] for one in found["detections"])
        assert len(scores) > 3, "nothing to be seen"
        # of the slider's hundredths one that leaves some away
        middle = round(scores[len(scores) // 2], 2)
        url = f"http://127.0.0.1:{running.port}/"
        for width in WIDTHS:
            page.go(url, width)
            assert page.of("!document.getElementById('token-row').hidden")
            page.choose("#file", pictures / "a.jpg")
            page.wait(f"{STATUS}.includes('refused')")
            assert page.of("document.activeElement.id") == "token"
            page.faults.clear()  # the browser's own line about an answer of 401
            page.of(f"void (document.getElementById('token').value = '{TOKEN}')")
            assert shown(page, running, pictures / "a.jpg", 0.01) == counted(found, 0.01)
            slide(page, middle)
            assert page.of(ROWS) == counted(found, middle)
            slide(page, 1)
            assert page.of(f"[{ROWS}, {STATUS}]") == [0, "0 found in 80x60 pixels."]
            slide(page, 0.01)
            # boxes are drawn on the picture, which is not wider than the screen
            assert page.of("[canvas.width, canvas.height, canvas.hidden]") == [80, 60, False]
            assert page.of("document.documentElement.scrollWidth <= innerWidth")
            label = page.of("canvas.getAttribute('aria-label')")
            assert f"{counted(found, 0.01)} found in 80x60 pixels" in label
            # what is no picture takes nothing away
            bad = tmp_path / "bad.jpg"
            bad.write_bytes(b"no picture")
            page.choose("#camera", bad)
            page.wait(f"{STATUS}.includes('refused')")
            page.faults.clear()
        assert set(page.requests) <= {url, f"{url}v1/detect?score_threshold=0.01", "data:,"}
        assert not page.faults


def test_it_is_worked_by_keys(engine, pictures, tmp_path) -> None:
    with serving(engine) as running, tab(tmp_path) as page:
        page.go(f"http://127.0.0.1:{running.port}/", WIDTHS[1])
        assert page.of("document.getElementById('token-row').hidden")
        names = []
        for _ in range(3):
            page.press("Tab")
            names.append(page.of("document.activeElement.id"))
        assert names == ["file", "camera", "threshold"]
        before = page.of("Number(threshold.value)")
        page.press("ArrowRight")
        assert page.of("Number(threshold.value)") == pytest.approx(before + 0.01)
        # each has a name that a screen reader says
        for name in names:
            assert page.of(f"document.getElementById('{name}').labels[0].textContent.trim()")
        # as the browser's own colours ask
        for scheme, least in (("light", 200), ("dark", 0)):
            feature = [{"name": "prefers-color-scheme", "value": scheme}]
            page.call("Emulation.setEmulatedMedia", features=feature)
            colour = page.of("getComputedStyle(document.body).backgroundColor")
            red = int(colour.partition("(")[2].partition(",")[0])
            assert least <= red <= least + 60
        assert not page.faults
