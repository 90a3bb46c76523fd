"""Writing an engine and its sidecar so that the two on disk always match.

No system call replaces two files at once, and the plan must stay a file that other tools can load.
So the sidecar is replaced first, by one that describes both engines, the new one and the one it
replaces; then the engine; then the sidecar again, to describe only the new one. If a build is
interrupted in between, the engine on disk is still described by its sidecar
(:func:`.sidecar.records_from_sidecar`), and the next build tidies up. Each output has at most one
builder at a time: a lock is held from before the long work to the end, since of two builds one
would be wasted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..files import atomic_output, behind_links, check_writable, write_bytes
from ..json_files import json_bytes
from ..system.locks import held
from .record import read_record
from .sidecar import (
    REPLACED,
    Sidecar,
    find_sidecars,
    record_of_engine,
    records_from_sidecar,
    sidecar_path,
)

#: the engine that this thread has locked
_locked: ContextVar[Path | None] = ContextVar("_locked", default=None)


@contextmanager
def sole_builder(path: Path) -> Iterator[None]:
    """Keep other builders off the engine ``path``, whatever name they use, for the whole block.

    Raises:
        LockHeld: another builder is at work on it. This is not a usage error: the same command
            will work later.
        OutputError: it cannot be written.
    """
    check_writable(path)
    target = behind_links(path)
    if _locked.get() == target:
        yield
        return
    # of the same length for any name, since a prefix could make a long name too long
    name = f".ssd-small-{sha256(os.fsencode(target.name)).hexdigest()[:16]}.lock"
    with held(target.parent / name, path):
        token = _locked.set(target)
        try:
            yield
        finally:
            _locked.reset(token)


def sidecars_written(path: Path, option: str = "--output") -> list[Path]:
    """The sidecars that are written with the engine ``path``, which ``option`` gave.

    If the path is a link, the engine and its sidecar are written where it points. An existing
    sidecar beside the link or its target describes the engine under that name, and is replaced.

    Raises:
        OutputError: a sidecar cannot be written: with ``.json`` the name may be too long.
    """
    own = sidecar_path(behind_links(path))
    check_writable(own, option)
    found = {behind_links(one): one for one in find_sidecars(path)}
    return list(found.values()) or [own]


@contextmanager
def engine_output(path: Path) -> Iterator[tuple[Path, Callable[[Sidecar], None]]]:
    """Write an engine and its sidecar together, or neither.

    Yields a temporary path for the engine and a function that takes its sidecar; both files move
    into place when the block ends without an exception.

    Raises:
        LockHeld: see :func:`sole_builder`.
        OutputError: one of the two cannot be written; nothing is left behind and an older pair
            stays intact.
    """
    with sole_builder(path):
        sides = sidecars_written(path)
        before = {side: _content(side) for side in sides}
        try:
            with ExitStack() as outputs:
                # they move into place in reverse order; whatever needs space is written before that
                after = [outputs.enter_context(atomic_output(side)) for side in sides]
                engine = outputs.enter_context(atomic_output(path))
                between = [outputs.enter_context(atomic_output(side)) for side in sides]

                def take(sidecar: Sidecar) -> None:
                    own = sidecar.to_dict()
                    for side, last, first in zip(sides, after, between, strict=True):
                        old = _record_in_place(path, side)
                        last.write_bytes(json_bytes(own))
                        both = own if old is None else own | {REPLACED: old}
                        first.write_bytes(json_bytes(both))

                yield engine, take
        except BaseException:
            for side, content in before.items():
                with suppress(OSError, BadFile):
                    _put_back(path, side, content)
            raise


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _record_in_place(path: Path, side_path: Path) -> Any | None:
    """What the sidecar at its path says about the engine at its path; None if nothing."""
    with suppress(OSError, BadFile):
        records = records_from_sidecar(read_record(side_path, "a sidecar"))
        return record_of_engine(records, path)
    return None


def _put_back(path: Path, side_path: Path, before: bytes | None) -> None:
    """Restore the sidecar's old content if it has changed and its engine is not the new one."""
    now = _content(side_path)
    if now is None or now == before:
        return
    records = records_from_sidecar(read_record(side_path, "a sidecar"))
    if path.exists() and record_of_engine(records[:1], path) is not None:
        return
    if before is None:
        behind_links(side_path).unlink()
    else:
        write_bytes(side_path, before)
