"""Make the README's pictures of a report: the demo's page on a desktop and on a telephone.

    python benchmarks/report_pictures.py [benchmarks/results/demo.json]

The file is the ``summary.json`` of a demo. Needs Chromium and Pillow. Writes report_desktop.png and
report_telephone.png.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# tests look at the pages of this browser too
sys.path[:0] = [str(ROOT / "tests")]

from browser import WIDTHS, browse, seen_in_frames  # noqa: E402
from PIL import Image  # noqa: E402

from ssd_small.files import write_bytes  # noqa: E402
from ssd_small.report.from_runs import page_from_runs  # noqa: E402
from ssd_small.report.page import html_from_page  # noqa: E402
from ssd_small.report.run_files import read_run  # noqa: E402

NAMES = ("report_telephone.png", "report_desktop.png")
#: colours of a palette; the pages have few
COLOURS = 256


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    results = Path(os.path.relpath(ROOT / "benchmarks" / "results"))
    parser.add_argument("demo", type=Path, nargs="?", default=results / "demo.json")
    parser.add_argument("--output", type=Path, default=results)
    arguments = parser.parse_args()
    html = html_from_page(page_from_runs([read_run(arguments.demo)]))
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        for name, width in zip(NAMES, WIDTHS, strict=True):
            png = palette_png(screenshot(Path(temporary), html, width))
            write_bytes(arguments.output / name, png)
            print(f"{arguments.output / name}: {len(png)} bytes", file=sys.stderr)


def screenshot(folder: Path, html: str, width: int) -> Image.Image:
    """The whole page, as a screen of this width in pixels shows it."""
    (seen,) = seen_in_frames(folder, html, [width])
    height = int(seen["height"])
    # a window has a least width, a frame has none
    page, frame, shot = (folder / name for name in ("shown.html", "frame.html", "shot.png"))
    page.write_text(html)
    frame.write_text(
        "<style>* { margin: 0; border: 0 }</style>"
        f'<iframe src="{page.name}" width="{width}" height="{height}"></iframe>'
    )
    size = f"--window-size={max(width, 600)},{height}"
    browse(folder, size, f"--screenshot={shot}", f"file://{frame}")
    with Image.open(shot) as picture:
        return picture.convert("RGB").crop((0, 0, width, height))


def palette_png(picture: Image.Image) -> bytes:
    """A file of few colours."""
    file = io.BytesIO()
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()
