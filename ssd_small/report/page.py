"""The parts of a page as plain values, and its HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._version import __version__
from ..files import check_writable, write_bytes
from ..requirements import require
from ..terminal import cut, shown

#: the only file in a report's folder
FILE_NAME = "report.html"
#: longest cell or caption, in letters, since names of classes and files may have any length
_MOST_LETTERS = 300


@dataclass(frozen=True)
class Table:
    """Cells as text; the first cell of each row is its header.

    Attributes:
        caption: what the table contains, one sentence.
        headers: of the columns.
        rows: each with as many cells.
        folded: whether only the caption is shown until it is opened.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        svg: markup from :mod:`ssd_small.report.figures`, with names escaped, and with the text for
            screen readers.
        caption: what it shows.
        numbers: table of the values drawn.
    """

    svg: str
    caption: str
    numbers: Table | None = None
    kind: ClassVar[str] = "plot"


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        uri: ``data:image/jpeg;base64,...``
        alt: what can be seen on it.
        caption: text below it.
    """

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of one thing, side by side.

    Attributes:
        title: common to all of them.
        pictures: usually two.
        lines: remarks about them.
    """

    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str] = ()
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Lines:
    """Sentences, one paragraph each."""

    lines: Sequence[str]
    kind: ClassVar[str] = "lines"


Block = Table | Plot | Pictures | Lines


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Verdict:
    """The result of a page, shown before everything else.

    Attributes:
        text: the result in one sentence.
        good: whether a check passed; None if nothing was checked.
        figures: name and value of the figures it is based on.
        lines: what else to know before reading on.
    """

    text: str
    good: bool | None = None
    figures: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what was examined.
        subtitle: how, in one line.
        verdict: shown first.
        sections: in their order; those without blocks are left out.
        about: name and value of what is needed to repeat it.
    """

    title: str
    subtitle: str
    verdict: Verdict
    sections: Sequence[Section]
    about: Sequence[tuple[str, str]] = ()


def require_report() -> None:
    """Make sure that a page can be made before anything is measured for it.

    Raises:
        MissingRequirement: jinja2, which lays out the page, or matplotlib, which draws, is missing.
    """
    for module in ("jinja2", "matplotlib"):
        require(module, "writing a report")


def html_from_page(page: Page) -> str:
    """The page as one HTML document that refers to nothing outside itself."""
    jinja2 = require("jinja2", "writing a report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # text from files and names is shown legibly, whatever characters it contains
        finalize=lambda value: _legible(value) if type(value) is str else value,
    )
    html: str = environment.get_template("page.html").render(
        page=page,
        sections=[one for one in page.sections if one.blocks],
        version=__version__,
    )
    return html


def _legible(text: str) -> str:
    if text.startswith("data:image/jpeg;base64,"):
        return text
    return cut(shown(text), _MOST_LETTERS)


def report_path(folder: Path) -> Path:
    """The file that ``--report`` writes into its folder."""
    return folder / FILE_NAME


def check_report(folder: Path, inputs: Iterable[Path | None]) -> None:
    """Check before any work that the report can be made, and replaces no input.

    Raises:
        MissingRequirement: see :func:`require_report`.
        UsageError: the file is an input.
        OutputError: it cannot be written.
    """
    from ..artefacts.outputs import check_outputs

    check_outputs([report_path(folder)], inputs, "--report")
    require_report()


def write_page(page: Page, folder: Path) -> Path:
    """Write the page atomically into a folder, which is created if necessary.

    Raises:
        OutputError: it cannot be written.
    """
    path = report_path(folder)
    check_writable(path, "--report")
    write_bytes(path, html_from_page(page).encode())
    return path
