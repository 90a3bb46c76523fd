"""Figures as SVG inside a page: the same bytes for the same values, text as text."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

from ..requirements import require
from ..terminal import cut, shown

#: Okabe and Ito's colours, distinguishable without colour vision, dark ones first
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
#: used in addition to the colours, so that none of them is essential
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# hatches of dots and circles make a figure ten times as large
HATCHES = ("", "///", "\\\\\\", "xx", "--", "||", "++")
#: inches: the width of a page's figure on a desktop; letters stay legible on a telephone
_SIZE = (5.6, 3.3)
#: longest name in a figure, in letters
_MOST_LETTERS = 44
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ssd-small",
    # a name may contain a dollar sign
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    # numbers in full, not as offsets from another one
    "axes.formatter.useoffset": False,
    "font.size": 10,
}


def legible_name(name: str) -> str:
    """Name of a class, network or file, shortened to fit into a figure."""
    return cut(shown(name), _MOST_LETTERS)


def svg_from_drawing(
    draw: Callable[[Any], None], name: str, *, height: float = _SIZE[1], prefix: str
) -> str:
    """SVG markup of a figure.

    Args:
        draw: draws into the axes that it is given.
        name: what a screen reader says instead.
        height: inches.
        prefix: of the ids in the figure, unique within a page.

    Raises:
        MissingRequirement: matplotlib is missing.
    """
    # if it cannot write a cache, it logs a message about its workaround on standard error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    matplotlib = require("matplotlib", "drawing the figures of a report")
    require("matplotlib.style", "drawing the figures of a report")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # for letters that its font lacks; the reader's own font may have them
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.grid(color="#d9dde2", linewidth=0.7)
        draw(axes)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return _inside_html(written.getvalue(), name, prefix)


def _inside_html(svg: str, name: str, prefix: str) -> str:
    """An SVG document as an element: without its header, with unique ids and a name."""
    opening = re.search(r"<svg[^>]*>", svg)
    assert opening is not None
    view = re.search(r'viewBox="[^"]*"', opening[0])
    assert view is not None
    body = svg[opening.end() :]
    # a figure's style sheet would apply to the whole page
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    # only inside tags, since a name that is drawn may contain anything
    tags = "".join(re.findall(r"<[^<>]+>", body))
    used = sorted(set(re.findall(r'(?:url\(#|href="#)([^)"]*)', tags)))
    names = {old: f"{prefix}-{place}" for place, old in enumerate(used)}

    def renamed(tag: re.Match[str]) -> str:
        own = re.sub(
            r' id="([^"]*)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", tag[0]
        )
        return re.sub(r'(url\(#|href="#)([^)"]*)', lambda m: m[1] + names[m[2]], own)

    body = re.sub(r"<[^<>]+>", renamed, body)
    label = escape(shown(name), quote=True)
    return f'<svg {view[0]} role="img" aria-label="{label}">{body.strip()}'
