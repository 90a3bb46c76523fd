"""Numbers of a report as text, and elements shared by several pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from .page import Table


def share(value: float | None) -> str:
    """Three digits; a dash for an undefined value."""
    return "-" if value is None else f"{value:.3f}"


def prefixes() -> Iterator[str]:
    """Prefixes for the ids of a page's figures, one after the other."""
    return (f"figure-{number}" for number in count(1))


def machine_lines(machine: Mapping[str, Any], threads: int | None = None) -> list[tuple[str, str]]:
    """The machine of a run, as names and values."""
    gpus = "".join(f", {gpu['name']}" for gpu in machine.get("gpus", ()))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    rows = [
        ("processor", f"{machine['cpu']}{gpus}"),
        ("software", f"Python {machine['python']}, {packages}"),
    ]
    if threads is not None:
        rows.insert(1, ("threads", str(threads)))
    return rows


def protocol_text(values: Mapping[str, Any]) -> str:
    """Parameters of decode + NMS in one line."""
    from ..postprocess import PostprocessParams
    from ..postprocess.protocol import text_from_params

    own = {key: value for key, value in values.items() if key not in ("name", "tiles")}
    return text_from_params(PostprocessParams.from_dict(own))


def tiles_text(values: Mapping[str, Any]) -> str:
    """How pictures were cut, and how the caps of decode + NMS apply, in one line."""
    from ..pictures.tiles import Tiling

    return f"{Tiling.from_dict(values)}; caps {values['caps']}"


def size_name(row: Mapping[str, Any]) -> str:
    """``8-16`` or ``96+``, in pixels."""
    return f"{row['from_px']}-{row['to_px']}" if row["to_px"] else f"{row['from_px']}+"


def folded(caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of which only the caption is shown until it is opened."""
    return Table(caption, headers, rows, folded=True)
