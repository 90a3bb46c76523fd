"""Engines for both flavours of TensorRT; the vendor's code runs in a child process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..artefacts.build_options import BuildOptions, BuildProgress, most_batch
from ..artefacts.build_record import PluginFile, Receipt, name_from_path
from ..artefacts.decode_nms_function import node_attributes
from ..artefacts.description import Description
from ..artefacts.engine_output import engine_output
from ..artefacts.record import Fields
from ..artefacts.sidecar import Sidecar
from ..errors import (
    BadFile,
    CheckFailed,
    MissingRequirement,
    OutputError,
    SsdSmallError,
    UsageError,
)
from ..files import check_writable, sha256_of, write_bytes
from ..json_files import json_text
from ..requirements import EXTRA_OF_MODULE, pip_line
from ..runtimes.plugin_library import PLUGIN_VERSIONS, find_plugin, plugin_version
from ..runtimes.tensorrt_module import MODULES
from ..system.gpu import gpus
from ..system.processes import command_of_child
from ..system.temporary import temporary_folder
from .build_child import RECORD_SEPARATOR
from .build_sidecar import sidecar_from_build
from .int8_target import int8_build
from .precision import check_receipt
from .prepare import Prepared, prepare

_ERRORS: dict[str, type[SsdSmallError]] = {
    kind.__name__: kind
    for kind in (BadFile, CheckFailed, MissingRequirement, OutputError, UsageError)
}

#: number of lines of the vendor's log that an error shows
LOG_LINES = 8


def build(
    onnx_path: Path,
    output: Path,
    options: BuildOptions,
    progress: BuildProgress,
    description: Description | None = None,
) -> Sidecar:
    """See :func:`ssd_small.export.build_engine.build_engine`."""
    module = MODULES[options.target]
    _require_module(module, options.target)
    if options.timing_cache:
        check_writable(options.timing_cache, "--timing-cache")
    # before the long conversion, so that a missing plugin is reported at once
    plugin = None if options.heads else find_plugin()
    progress("Preparing the network", 0.0)
    prepared = prepare(
        onnx_path,
        options.precision,
        heads=options.heads,
        for_plugin=plugin is not None,
        description=description,
        keep_fp=options.keep_fp,
        check_images=options.check_images,
        int8=int8_build(options, progress),
    )
    _check_batch(prepared.description, options)
    with (
        temporary_folder() as folder,
        engine_output(output) as (plan, write_sidecar),
    ):
        job = _write_job(folder, prepared, plan, plugin, options)
        result = run_child(job, folder, module, progress, verbose=options.verbose)
        receipt = _receipt(result, prepared)
        check_receipt(options.precision, receipt)
        sidecar = sidecar_from_build(
            onnx_path,
            output,
            plan,
            options,
            prepared,
            version=result["version"],
            receipt=receipt,
            seconds=result["seconds"],
            plugin=PluginFile(
                name_from_path(plugin),
                sha256_of(plugin),
                plugin_version(prepared.description.postprocess),
            )
            if plugin
            else None,
            compute_capabilities=tuple(result["compute_capabilities"]),
        )
        write_sidecar(sidecar)
    return sidecar


def _receipt(told: Mapping[str, Any], prepared: Prepared) -> Receipt:
    """Make the receipt from the child's result, checking its INT8 convolutions against the ONNX.

    Raises:
        CheckFailed: TensorRT has read a different number of INT8 convolutions.
    """
    convolutions = told["int8_convolutions"]
    receipt = Receipt.from_fields(Fields(told["receipt"]))
    expected = prepared.quantised
    if expected is not None and convolutions != expected.quantised:
        raise CheckFailed(
            f"the network that TensorRT has read has {convolutions} INT8 convolutions, and its "
            f"ONNX file {expected.quantised}; nothing was written"
        )
    return replace(receipt, int8=expected)


def _check_batch(description: Description, options: BuildOptions) -> None:
    _, height, width = _sides(description, options)["max"]
    most = most_batch(height, width)
    if options.max_batch > most:
        raise UsageError(
            f"max-batch {options.max_batch}: expected 1 to {most} with an input of {height}x{width}"
        )


def _sides(description: Description, options: BuildOptions) -> dict[str, tuple[int, int, int]]:
    """Return the smallest, optimal and largest (channels, height, width) of the input.

    Raises:
        UsageError: picture sizes are given, but the network takes one size only.
    """
    size, pictures = description.preprocessing, description.pictures
    asked = [n for n in ("opt_picture", "max_picture") if getattr(options, n) is not None]
    fixed = (size.height, size.width) if pictures is None else pictures.size
    if fixed is None:
        return {which: (3, *sides) for which, sides in options.pictures.items()}
    if asked:
        raise UsageError(
            f"--{asked[0].replace('_', '-')} goes with a network of pictures of any size (export "
            f"--input uint8); this one takes {fixed[1]}x{fixed[0]} only"
        )
    return dict.fromkeys(("min", "opt", "max"), (3, *fixed))


def _shapes(description: Description, options: BuildOptions) -> list[list[int]]:
    """Return the smallest, optimal and largest shape of the input."""
    shapes = []
    for which, (channels, height, width) in _sides(description, options).items():
        of_one = [channels, height, width]
        if description.pictures is not None:
            of_one = [height, width, channels]
        shapes.append([options.batch[which], *of_one])
    return shapes


def _require_module(module: str, target: str) -> None:
    """Check that the package is installed, without loading it into this process."""
    if find_spec(module) is None:
        raise MissingRequirement(
            f"--target {target} needs the Python package {module}, which is not installed; run in "
            f"a checkout: {pip_line(EXTRA_OF_MODULE[module])}"
        )


def _write_job(
    folder: Path,
    prepared: Prepared,
    plan: Path,
    plugin: Path | None,
    options: BuildOptions,
) -> Path:
    """Write the child's job for a whole network."""
    params = prepared.description.postprocess
    return write_job(
        folder,
        prepared.model.SerializeToString(),
        plan,
        _shapes(prepared.description, options),
        options,
        plugin=plugin,
        version=plugin_version(params),
        attributes=list(node_attributes(params)),
    )


def write_job(
    folder: Path,
    model: bytes,
    plan: Path,
    input_shapes: list[list[int]],
    options: BuildOptions,
    *,
    plugin: Path | None = None,
    version: str = PLUGIN_VERSIONS[0],
    attributes: Sequence[str] = (),
) -> Path:
    """Write the child's job file and ONNX file; see ``build_child.Job``."""
    onnx_file = folder / "network.onnx"
    write_bytes(onnx_file, model)
    devices = gpus().devices
    job = {
        "module": MODULES[options.target],
        "onnx": str(onnx_file),
        "plan": str(plan.absolute()),
        "plugin": str(plugin) if plugin else None,
        "plugin_version": version,
        "attributes": list(attributes),
        "input_shapes": input_shapes,
        "options": options.to_dict()
        | {
            "timing_cache_path": str(options.timing_cache.absolute())
            if options.timing_cache
            else None
        },
        "gpu": devices[0].capability if devices else None,
    }
    path = folder / "job.json"
    write_bytes(path, json_text(job).encode())
    return path


def run_child(
    job: Path, folder: Path, module: str, progress: BuildProgress, *, verbose: bool = False
) -> dict[str, Any]:
    """Run a job in a process of its own and return its result.

    Raises:
        SsdSmallError: the error that the child reports.
        MissingRequirement: the child died; the message ends with the last lines of its log.
    """
    log: deque[str] = deque(maxlen=LOG_LINES)
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    with subprocess.Popen(
        command_of_child("ssd_small.export.build_child", str(job)),
        cwd=folder,  # nothing in the caller's folder can shadow a module
        env=child_environment(module, folder / "lib"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        try:
            assert child.stdout is not None
            for line in child.stdout:
                text, separator, record = line.partition(RECORD_SEPARATOR)
                if text.strip():
                    log.append(text.rstrip())
                    if verbose:
                        print(text.rstrip(), file=sys.stderr)
                event = json.loads(record) if separator else {}
                if event.get("event") == "progress":
                    progress(event["phase"], event["share"])
                elif event.get("event") == "result":
                    result = event
                elif event.get("event") == "failed":
                    failure = event
        except BaseException:
            child.kill()
            raise
    if failure is not None:
        raise _reported(failure, log)
    if result is None or child.returncode != 0:
        raise MissingRequirement(*_died(child.returncode, module, log))
    return result


def child_environment(module: str, folder: Path) -> dict[str, str]:
    """Make the child's environment: our modules, and the vendor's libraries by unversioned names.

    The parser of TensorRT-RTX opens ``libtensorrt_rtx.so`` by that name and ends the process if it
    is not found, but the wheel ships only ``libtensorrt_rtx.so.1``.
    """
    folder.mkdir(exist_ok=True)
    for library in _vendor_libraries(module):
        link = folder / (library.name.partition(".so")[0] + ".so")
        if not link.exists():
            link.symlink_to(library)
    environment = dict(os.environ)
    search = [str(folder), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, search))
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _vendor_libraries(module: str) -> list[Path]:
    """List the shared libraries in the wheel ``<module>_libs``; none if that is not installed."""
    try:
        spec = find_spec(f"{module}_libs")
    except (ImportError, ValueError):
        return []
    folders = spec.submodule_search_locations if spec else None
    return sorted(p.resolve() for f in folders or [] for p in Path(f).glob("lib*.so.*"))


def _reported(failure: Mapping[str, Any], log: deque[str]) -> SsdSmallError:
    kind: type[SsdSmallError] = _ERRORS[failure["kind"]]
    lines = [line for line in log if "[E]" in line or "[F]" in line]
    return kind(failure["message"], *(f"  {line}" for line in lines))


def _died(code: int, module: str, log: deque[str]) -> list[str]:
    """Return the message and details for a child that died."""
    if code < 0:
        try:
            how = f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            how = f"was ended by signal {-code}"
        if -code == signal.SIGKILL:
            how += " (often: out of memory)"
    else:
        how = f"ended with exit code {code}"
    text = f"the process that builds with {module} {how} before it was done; nothing was written"
    if not log:
        return [f"{text}; it said nothing"]
    return [f"{text}. Its last lines:", *(f"  {line}" for line in log)]
