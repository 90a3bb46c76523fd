"""Writing a model repository, completely or not at all, alongside models of others."""

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
#: valid model names: as a folder, as part of a URL and in a line of the configuration
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.\ud800-\udfff-][^\x00-\x1f\x7f/\\\ud800-\udfff]{0,99}")
#: beginning of our configurations
_OURS = b"# Written by ssd-small "
#: AT_FDCWD and RENAME_EXCHANGE of renameat2 (linux/fcntl.h, linux/fs.h)
_HERE, _EXCHANGE = -100, 2


@dataclass(frozen=True)
class WrittenRepository:
    """Summary of what was written.

    Attributes:
        models: names of the models, the network's first.
        entry: the model that clients should use.
        lines: commands that start a server.
        files: all files that were written.
        left: name of an existing ensemble of ours that was not rewritten although its network was.
    """

    models: tuple[str, ...]
    entry: str
    lines: tuple[str, ...]
    files: tuple[Path, ...] = field(repr=False)
    left: str | None = None


def check_name(name: str) -> None:
    """Raise UsageError for a name that a model cannot have."""
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
    """Write the models of a network into a repository, which may already hold other models.

    Existing models of the same names are replaced if ssd-small has written them, otherwise refused.

    Args:
        network: the network to serve.
        repository: folder of the repository, which need not exist.
        name: name of the model.
        options: how it is served.
        ensemble: how the Python steps around it run; None for the network alone.
        picture: picture with which models are warmed up.
        inputs: files that were read, which must not be overwritten.

    Raises:
        UsageError: a name is invalid, a model was not written by ssd-small, or the network cannot
            be served with these options.
        BadFile: the file ``picture`` is not a picture, or the plugin cannot be read.
        MissingRequirement: there is no plugin for a plan that needs it.
        OutputError: the repository cannot be written; its previous content is kept.
    """
    check_name(name)
    if ensemble is not None:
        check_network(network)
    entry = name if ensemble is None else f"{name}_{ENSEMBLE}"
    check_name(entry)
    lines = lines_to_start(repository, name, network)
    models = {name: _network_files(network, name, options, picture)}
    # a path may not be valid text; the README then contains its bytes
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
    """Content of the model's files, by path in its folder."""
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
        # each version is a folder, which is empty for an ensemble
        own[f"{VERSION}/.keep" if step == ENSEMBLE else f"{VERSION}/model.py"] = (
            b"" if step == ENSEMBLE else code_of_step(step).encode()
        )
        if step == PREPROCESS:
            own[f"{WARMUP_FOLDER}/{WARMUP_FILE}"] = text_for_warmup(picture)
    return models


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a model that ssd-small has not written.

    Raises:
        UsageError: ssd-small has not written it.
        OutputError: the folder cannot be read.
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
    """Write to a temporary folder, then rename, so that servers see only complete models."""
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
    """Where to write first: beside the repository, or in it if renaming requires that."""
    parent = target.parent
    if not target.exists():
        return parent
    near = target.stat().st_dev == parent.stat().st_dev and os.access(parent, os.W_OK)
    return parent if near else target


def _put(new: Path, target: Path, undo: ExitStack) -> None:
    """Move a folder to its target, an existing one to ``new``; ``undo`` reverses this."""
    if not target.exists():
        os.rename(new, target)
        undo.callback(os.rename, target, new)
        return
    _exchange(new, target)
    undo.callback(_exchange, new, target)


def _exchange(first: Path, second: Path) -> None:
    """Exchange the names of two folders, atomically if the system supports it."""
    library = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(first), os.fsencode(second))
    call = getattr(library, "renameat2", None)
    if call is not None and call(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
        return
    aside = first.with_name(f"{first.name}.aside")
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)
