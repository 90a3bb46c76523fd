"""Reading the values in a checkpoint file without running code from it.

``torch.load(..., weights_only=True)`` refuses every class it does not know, but many trainers save
such classes beside the weights: their options, or the best score as a NumPy number. The few that
are plain data are read as stand-ins, which do nothing and are never used; no class named in a file
is ever instantiated, and no function named there is called.
"""

from __future__ import annotations

import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import BadFile, quoted, reason_from_exception
from ..files import check_readable, not_a_file, open_file, read_bytes
from ..requirements import require
from .declared_sizes import MOST_BYTES, MOST_HEADER, Oversized, check_checkpoint
from .file_kinds import (
    HEAD,
    LEGACY,
    PICKLE,
    ZIP,
    fault_from_folder,
    fault_from_head,
    fault_from_zip,
    is_safetensors,
)
from .shipped import advice_on_missing

_EXPECTED = "expected a state dict saved with torch.save(net.state_dict(), path)"
_CODE = "which could run code"
#: how torch's message names a class or function that it refuses
_REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+) was|unsupported GLOBAL (\S+) whose")
#: limit on the refused classes of one file that are looked up for a message
_MOST_REFUSED = 40


class StandIn:
    """Placeholder for a value beside the weights; does nothing."""

    name = ""

    def __new__(cls, *values: object) -> StandIn:
        """Accept the value's constructor arguments and discard them."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Discard the value's fields."""


def _new_dict(*values: object) -> dict[Any, Any]:
    return {}


def _new_list(*values: object) -> list[Any]:
    return []


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_BUILTINS = ("bool", "dict", "float", "frozenset", "int", "list", "range", "slice", "str", "tuple")
#: plain data that trainers save beside the weights
_DATA = (
    *("argparse.Namespace", "types.SimpleNamespace", "uuid.UUID", "decimal.Decimal"),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"builtins.{name}" for name in _BUILTINS),
    *("numpy.dtype", "numpy.ndarray", "torch.torch_version.TorchVersion"),
    *(
        f"numpy.{core}.multiarray.{n}"
        for core in ("core", "_core")
        for n in ("_reconstruct", "scalar")
    ),
)
_Global = tuple[Callable[..., Any], str]
_SAFE: tuple[_Global, ...] = (
    *((type("StandIn", (StandIn,), {"name": name}), name) for name in _DATA),
    (_new_dict, "collections.defaultdict"),
    (_new_list, "collections.deque"),
)


def content_from_file(path: Path) -> object:
    """Read the object passed to ``torch.save``, or the tensors of a safetensors file.

    Tensors are on the CPU and keep the types they have in the file.

    Raises:
        BadFile: the file cannot be read, is of another kind, or holds more than tensors and plain
            data; the message says which.
        MissingRequirement: it is a safetensors file and the safetensors package is not installed.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refusal(path, *fault_from_folder(path))
        if (kind := not_a_file(mode)) is not None:
            raise refusal(path, f"it is {kind}", "expected a file")
        with open_file(path) as stream:
            head = stream.read(HEAD)
        if not is_safetensors(head):
            if head.startswith((ZIP, LEGACY)):
                _check_declared(path)
            fault = fault_from_zip(path) if head.startswith(ZIP) else fault_from_head(head)
            if fault is not None:
                check_readable(path)
                raise refusal(path, *fault)
            return _from_torch(path, head)
    except FileNotFoundError as error:
        raise BadFile(f"checkpoint {path} does not exist; {advice_on_missing(path)}") from error
    except OSError as error:
        raise refusal(path, error.strerror or str(error), "expected a readable file") from error
    except ValueError as error:  # a NUL in the name
        raise refusal(path, str(error)) from error
    return _from_safetensors(path)


def refusal(path: Path, reason: str, advice: str = _EXPECTED) -> BadFile:
    """Return the error for a checkpoint that cannot be loaded."""
    return BadFile(f"cannot load checkpoint {path}: {reason}; {advice}")


def _check_declared(path: Path) -> None:
    """Refuse, before loading, a file that declares more than it holds.

    A bad zip archive passes: :func:`.file_kinds.fault_from_zip` reports it.
    """
    try:
        with open_file(path) as stream:
            check_checkpoint(stream, path.stat().st_size)
    except Oversized as error:
        raise refusal(path, str(error), "take the file that torch.save wrote") from error
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        if isinstance(error, (zipfile.BadZipFile, NotImplementedError)):
            return
        check_readable(path)
        raise refusal(path, "it is truncated or damaged", "fetch or write it again") from error


def _from_safetensors(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with open_file(path) as stream:
        header = int.from_bytes(stream.read(8), "little")
    if size > MOST_BYTES or header > MOST_HEADER:
        what = f"it has {size} bytes, and at most {MOST_BYTES}"
        if header > MOST_HEADER:
            what = f"its header declares {header} bytes, and at most {MOST_HEADER}"
        raise refusal(path, f"{what} are read", "fetch or write it again")
    library = require("safetensors.torch", f"reading {path}")
    # read into memory: memory-mapped tensors would change with the file
    content = read_bytes(path, "a safetensors file", MOST_BYTES)
    try:
        tensors: dict[str, Any] = library.load(content)
    except Exception as error:  # the library's own types vary by version
        reason = f"it is a damaged safetensors file ({reason_from_exception(error)})"
        raise refusal(path, reason, "fetch or write it again") from error
    return tensors


def _from_torch(path: Path, head: bytes) -> object:
    if not head.startswith((ZIP, PICKLE)):
        raise refusal(path, "it is no checkpoint, or is damaged")
    if head.startswith(PICKLE) and not head.startswith(LEGACY):
        if head[1:2] > b"\x02":
            raise refusal(
                path,
                f"it is a pickle of protocol {head[1]}, {_CODE}; only torch.save's own form "
                "(protocol 2) is read",
            )
        raise refusal(path, f"it is a pickle that torch.save has not written, {_CODE}")
    try:
        return _unpickled(path, _SAFE)
    except pickle.UnpicklingError as error:
        raise _refusal_from(path, error) from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        check_readable(path)
        raise refusal(path, "it is truncated or damaged", "fetch or write it again") from error


def _unpickled(path: Path, safe: Iterable[_Global]) -> object:
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(safe)):
        # torch's warnings about foreign pickles add nothing to the errors raised here
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _refusal_from(path: Path, error: pickle.UnpicklingError) -> BadFile:
    """Explain, as far as possible, what in a file makes weights-only loading refuse it."""
    said = str(error)
    if "DTensor" in said:
        return refusal(
            path,
            "it holds tensors in pieces (DTensor)",
            "save the whole ones: torch.distributed.checkpoint.state_dict.get_model_state_dict "
            "with full_state_dict=True",
        )
    if "Unsupported operand" in said:
        return refusal(
            path,
            f"it is in another pickle protocol than torch.save's own (2), {_CODE}, or damaged",
            "save it with torch.save without pickle_protocol",
        )
    if _refused_name(error) is None:
        return refusal(path, f"it is damaged or holds more than tensors, {_CODE}")
    content, names = _with_stand_ins(path, error)
    return refusal(path, *_foreign_fault(content, names))


def _refused_name(error: BaseException) -> str | None:
    found = _REFUSED.search(str(error))
    if found is None:
        return None
    name = found[1] or found[2]
    return name if "." in name else f"builtins.{name}"


def _with_stand_ins(path: Path, error: BaseException) -> tuple[object, list[str]]:
    """Load with a stand-in for every refused class, for a message; also return their names."""
    names: list[str] = []
    fault: BaseException | None = error
    content: object = None
    while fault is not None and len(names) < _MOST_REFUSED:
        name = _refused_name(fault)
        if name is None or name in names:
            break
        names.append(name)
        foreign = ((type("Foreign", (StandIn,), {"name": n}), n) for n in names)
        try:
            content, fault = _unpickled(path, (*_SAFE, *foreign)), None
        except Exception as another:  # the next refused class, or damage
            fault = another
    return content, names


def _foreign_fault(content: object, names: list[str]) -> tuple[str, str]:
    """Say where the first foreign value is in a file, and what to do about it."""
    kind = quoted(names[0])[1:-1]
    if isinstance(content, StandIn):
        return (
            f"it is a whole {quoted(content.name)[1:-1]} as an object, no state dict, {_CODE}",
            "where it was made: torch.save(net.state_dict(), path)",
        )
    if isinstance(content, Mapping):
        # a pickle can reference one dictionary any number of times
        told = {id(value): value for value in content.values()}
        holders = {name for name, value in told.items() if _has_tensors(value)}
        weights = [key for key, value in content.items() if id(value) in holders]
        for key, value in content.items():
            if isinstance(value, StandIn) and value.name in names and not weights:
                return (
                    f"its {quoted(key)} is a whole {quoted(value.name)[1:-1]} as an object, no "
                    f"state dict, {_CODE}",
                    f"where it was made: torch.save(checkpoint[{quoted(key)}].state_dict(), path)",
                )
        for key in weights:
            for inner, value in content[key].items():
                if isinstance(value, StandIn) and value.name in names and "." in str(inner):
                    name = quoted(value.name)[1:-1]
                    return f"its tensor {quoted(inner)} is a {name}, {_CODE}", _EXPECTED
        if weights:
            return (
                f"it holds {kind} beside the weights, {_CODE}",
                "where it was made, save the weights alone: "
                f"torch.save(checkpoint[{quoted(weights[0])}], path)",
            )
    return f"it holds more than tensors ({kind}), {_CODE}", _EXPECTED


def _has_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(one, torch.Tensor) and "." in str(key) for key, one in value.items()
    )
