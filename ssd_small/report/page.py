"""What a page is made of, as plain values, and the HTML of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._version import __version__
from ..files import check_writable, write_bytes
from ..requirements import require
from ..terminal import cut, shown

#: the one file of a report's folder
FILE_NAME = "report.html"
#: letters of a cell or a caption; names of classes and files may have any number
_MOST_LETTERS = 300


@dataclass(frozen=True)
class Table:
    """Cells as text; the first of each row is its header.

    Attributes:
        caption: what the table holds, a sentence.
        headers: of the columns.
        rows: as many cells each.
        folded: behind its caption until somebody opens it.
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
        svg: markup of :mod:`ssd_small.report.figures`, names in it escaped, with what a screen
            reader says in its place.
        caption: what it shows.
        numbers: what is drawn, to be read.
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
        alt: what is seen on it.
        caption: below it.
    """

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of one thing, side by side.

    Attributes:
        title: of them all.
        pictures: two, mostly.
        lines: what is to be said of them.
    """

    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str] = ()
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Lines:
    """Sentences, a paragraph each."""

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
    """What the page comes to, before everything else.

    Attributes:
        text: in a sentence.
        good: whether a check passed; None: nothing was checked.
        figures: name and value of the figures it rests on.
        lines: what else is to be known before the rest is read.
    """

    text: str
    good: bool | None = None
    figures: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what was looked at.
        subtitle: how, in a line.
        verdict: first of the page.
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
    """The page as one HTML document that refers to nothing outside of it."""
    jinja2 = require("jinja2", "writing a report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # what a file or a name holds is shown, whatever it is made of
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
    """Make sure before any work that the report can be made, and replaces nothing that is read.

    Raises:
        MissingRequirement: see :func:`require_report`.
        UsageError: the file is an input.
        OutputError: it cannot be written.
    """
    from ..artefacts.outputs import check_outputs

    check_outputs([report_path(folder)], inputs, "--report")
    require_report()


def write_page(page: Page, folder: Path) -> Path:
    """Write the page into a folder, which is made if there is none; whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    path = report_path(folder)
    check_writable(path, "--report")
    write_bytes(path, html_from_page(page).encode())
    return path
