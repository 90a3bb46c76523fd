"""Writing a model repository: whole or not at all, and beside the models of others."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ...artefacts.outputs import check_outputs
from ...errors import BadFile, UsageError, quoted
from ...files import output_error
from ...runtimes.plugin_library import find_plugin
from ...runtimes.plugin_tools import registering_file
from ...system.temporary import temporary_folder
from .configuration import (
    LABELS_FILE,
    WARMUP_FILE,
    WARMUP_FOLDER,
    ServingOptions,
    config_of_network,
    labels_text,
)
from .ensemble import (
    ENSEMBLE,
    PREPROCESS,
    EnsembleOptions,
    check_network,
    code_of_step,
    models_of_ensemble,
)
from .source import ServedNetwork
from .starting import PLUGIN_FOLDER, lines_to_start, readme
from .warmup import PICTURE, input_for_warmup, text_for_warmup

CONFIG, VERSION = "config.pbtxt", "1"
#: of a folder, a part of a URL and a line of the configuration alike
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.\ud800-\udfff-][^\x00-\x1f\x7f/\\\ud800-\udfff]{0,99}")
#: how our configurations begin
_OURS = b"# Written by ssd-small "
#: of renameat2: paths as they are, and two that change places (linux/fcntl.h, linux/fs.h)
_HERE, _EXCHANGE = -100, 2


@dataclass(frozen=True)
class WrittenRepository:
    """What was written.

    Attributes:
        models: names, the network's first.
        entry: the model that clients ask.
        lines: that start a server.
        files: all that were written.
        left: an ensemble of ours that goes with another network than it was written for.
    """

    models: tuple[str, ...]
    entry: str
    lines: tuple[str, ...]
    files: tuple[Path, ...] = field(repr=False)
    left: str | None = None


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model, with UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {quoted(name)}: expected at most 100 characters of text in a line, without "
            "slashes, and neither '.' nor '-' at the beginning"
        )


def write_repository(
    network: ServedNetwork,
    repository: Path,
    name: str,
    options: ServingOptions,
    *,
    ensemble: EnsembleOptions | None = None,
    picture: Path = PICTURE,
    inputs: tuple[Path, ...] = (),
) -> WrittenRepository:
    """Write the models of a network into a repository, which may hold others already.

    Models of ours by the same names are replaced; those of others are left alone, and refused.

    Args:
        network: that is served.
        repository: folder, there or not.
        name: of the model.
        options: how it is served.
        ensemble: how the steps beside it run; None for the network alone.
        picture: that models are warmed up on.
        inputs: files that were read, which nothing may be written over.

    Raises:
        UsageError: a wrong name, a model of somebody else, or what cannot be served so.
        BadFile: no picture.
        MissingRequirement: there is no plugin for a plan that needs it.
        OutputError: it cannot be written; what was there is there still.
    """
    check_name(name)
    if ensemble is not None:
        check_network(network)
    entry = name if ensemble is None else f"{name}_{ENSEMBLE}"
    check_name(entry)
    lines = lines_to_start(repository, name, network)
    models = {name: _network_files(network, name, options, picture)}
    # a path may be no text, and what is typed of it are its bytes
    models[name]["README.md"] = os.fsencode(readme(name, network, lines, entry))
    if ensemble is not None:
        models |= _ensemble_files(network, name, options, ensemble, picture)
    files = [repository / model / file for model, own in models.items() for file in own]
    for model in models:
        check_replaceable(repository / model)
    check_outputs(files, inputs)
    _write(repository, models)
    other = f"{name}_{ENSEMBLE}"
    left = other if other not in models and _is_ours(repository / other) else None
    return WrittenRepository(tuple(models), entry, tuple(lines), tuple(files), left)


def _network_files(
    network: ServedNetwork, name: str, options: ServingOptions, picture: Path
) -> dict[str, bytes]:
    """Content by path in the model's folder."""
    images = input_for_warmup(network, picture)
    config = config_of_network(name, network, options, images.shape)
    files = {
        CONFIG: config.encode(),
        f"{VERSION}/{network.file_name}": network.content,
        LABELS_FILE: labels_text(network.description).encode(),
        f"{WARMUP_FOLDER}/{WARMUP_FILE}": images.tobytes(),
    }
    if network.needs_plugin:
        plugin = find_plugin()
        for path in (plugin, registering_file(plugin)):
            try:
                files[f"{PLUGIN_FOLDER}/{path.name}"] = path.read_bytes()
            except OSError as error:
                raise BadFile(
                    f"cannot read {path}: {error.strerror or error}; reinstall ssd-small"
                ) from error
    return files


def _ensemble_files(
    network: ServedNetwork,
    name: str,
    options: ServingOptions,
    ensemble: EnsembleOptions,
    picture: Path,
) -> dict[str, dict[str, bytes]]:
    models: dict[str, dict[str, bytes]] = {}
    for model, config in models_of_ensemble(name, network, options, ensemble).items():
        step = model.removeprefix(f"{name}_")
        own = models[model] = {CONFIG: config.encode()}
        # a version is a folder, which of an ensemble is empty
        own[f"{VERSION}/.keep" if step == ENSEMBLE else f"{VERSION}/model.py"] = (
            b"" if step == ENSEMBLE else code_of_step(step).encode()
        )
        if step == PREPROCESS:
            own[f"{WARMUP_FOLDER}/{WARMUP_FILE}"] = text_for_warmup(picture)
    return models


def check_replaceable(folder: Path) -> None:
    """Refuse a model of that name which ssd-small has not written.

    Raises:
        UsageError: it is somebody else's.
        OutputError: it cannot be looked at.
    """
    if not os.path.lexists(folder):
        return
    try:
        ours = not folder.is_symlink() and _is_ours(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    if not ours:
        raise UsageError(
            f"{folder} is there and not of 'ssd-small triton'; choose another --name, or remove "
            "it to have it replaced"
        )


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a model that ssd-small has written."""
    try:
        return (folder / CONFIG).read_bytes().startswith(_OURS)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _write(repository: Path, models: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write all into a folder elsewhere, then rename: a server sees nothing half written."""
    target = Path(os.path.realpath(repository))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(_folder_for_trial(target)) as folder:
            for model, files in models.items():
                for name, content in files.items():
                    path = folder / model / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            if not target.exists():
                os.rename(folder, target)
                return
            with ExitStack() as undo:
                for model in models:
                    _put(folder / model, target / model, undo)
                undo.pop_all()
    except OSError as error:
        raise output_error(repository, error) from error


def _folder_for_trial(target: Path) -> Path:
    """Beside the repository, where no server looks, if a rename leads from there into it."""
    parent = target.parent
    if not target.exists():
        return parent
    near = target.stat().st_dev == parent.stat().st_dev and os.access(parent, os.W_OK)
    return parent if near else target


def _put(new: Path, target: Path, undo: ExitStack) -> None:
    """Put a folder into its place; what was there goes to ``new``, and ``undo`` puts it back."""
    if not target.exists():
        os.rename(new, target)
        undo.callback(os.rename, target, new)
        return
    _exchange(new, target)
    undo.callback(_exchange, new, target)


def _exchange(first: Path, second: Path) -> None:
    """Let two folders change names, at once where the system can."""
    library = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(first), os.fsencode(second))
    call = getattr(library, "renameat2", None)
    if call is not None and call(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
        return
    aside = first.with_name(f"{first.name}.aside")
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)
