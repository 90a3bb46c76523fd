"""Check that no output of a command replaces one of its inputs, before the work starts."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterable
from importlib.util import find_spec
from pathlib import Path

from ..errors import UsageError
from ..files import behind_links, check_writable


def check_outputs(
    outputs: Iterable[Path], inputs: Iterable[Path | None], option: str = "--output"
) -> None:
    """Check before any work that ``outputs`` can be written and do not replace any input.

    Files are compared by identity, so other names of a file (symbolic and hard links) count as the
    same. In a folder that is read, only JSON files may be replaced, since no folder has any as
    inputs, apart from the sets of COCO (``instances_*.json``).

    Args:
        outputs: every file that will be written, including those beside the one that was named.
        inputs: every file and folder that is read; None and absent ones are ignored.
        option: the option that names the outputs.

    Raises:
        UsageError: an output is an input, lies among them, or is another output.
        OutputError: see :func:`check_writable`.
    """
    outputs = list(outputs)
    read = [(path, state) for path in inputs if path is not None and (state := _state(path))]
    known = {_identity(state): path for path, state in read}
    folders = [path for path, state in read if stat.S_ISDIR(state.st_mode)]
    seen: dict[Hashable, Path] = {}
    for path in outputs:
        state = _state(path)
        is_file = state is not None and stat.S_ISREG(state.st_mode)
        key = _identity(state) if state else behind_links(path)
        if is_file and (same := known.get(key)) is not None:
            named = path if same == path else f"{path}, which is {same}"
            raise UsageError(f"{option} would overwrite an input, {named}; name another file")
        if key in seen:
            raise UsageError(
                f"{path} and {seen[key]} would be written to one file; name another one"
            )
        seen[key] = path
        for folder in folders if is_file else ():
            _check_beside_inputs(path, folder, option)
    for path in outputs:
        check_writable(path, option)


def engine_inputs(engine: Path | None) -> list[Path]:
    """An engine or ONNX file with the files read with it: its sidecar and its external weights."""
    if engine is None:
        return []
    from .sidecar import sidecar_path

    beside = [sidecar_path(engine)]
    if engine.suffix.lower() == ".onnx" and find_spec("onnx") is not None:
        from .onnx_weights import weights_beside

        beside += weights_beside(engine)
    return [engine, *beside]


def folder_with_inputs(output: Path, inputs: Iterable[Path | None]) -> Path | None:
    """``output`` if it exists and holds an input, in which case its other content is the user's."""
    own = _state(output)
    if own is None:
        return None
    states = map(_state, {path.parent for path in inputs if path is not None})
    return output if any(one and os.path.samestat(one, own) for one in states) else None


def _state(path: Path) -> os.stat_result | None:
    """File status; None if there is no file, or its name is invalid."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _identity(state: os.stat_result) -> Hashable:
    """What distinguishes a file from all others, whatever its name."""
    return state.st_dev, state.st_ino


def _check_beside_inputs(path: Path, folder: Path, option: str) -> None:
    """Refuse to replace a file in a folder that is read, or the target of a link in it."""
    target = behind_links(path)
    refused = UsageError(f"{option} would overwrite {path} of {folder}, an input; name another")
    may_be = target.suffix.lower() == ".json" and not target.name.startswith("instances_")
    own, root = behind_links(path.parent) / path.name, behind_links(folder)
    if root in (*target.parents, *own.parents) and not may_be:
        raise refused
    for place, folders, files in os.walk(root):
        for one in (Path(place, name) for name in (*folders, *files)):
            if one == own or not one.is_symlink():
                continue
            leads_to = behind_links(one)
            if leads_to == target or (leads_to in target.parents and not may_be):
                raise refused
