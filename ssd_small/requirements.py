"""Import of optional packages, with a message that says what to install."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import ModuleType

from .errors import MissingRequirement

#: top-level module -> the extra of this package that installs it; a module that is not listed
#: belongs to a package of the same name that only receives results, and is installed by itself
EXTRA_OF_MODULE = {
    "torch": "torch",
    "torchvision": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "hotcoco": "eval",
    "msgspec": "eval",
    "cv2": "images",
    "PIL": "images",
    "tifffile": "tiles",
    "imagecodecs": "tiles",
    "imagehash": "check",
    "scipy": "bench",
    "pyarrow": "batch",
    "fsspec": "batch",
    "ray": "ray",
    "jinja2": "report",
    "matplotlib": "report",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "sklearn": "demo",
    "skimage": "demo",
    "tritonclient": "triton",
    "edgefirst": "track",
    "cuda": "tensorrt",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
}


_REPORTER = "openvino_telemetry"


def require(module: str, purpose: str) -> ModuleType:
    """Import ``module``, or say what to install.

    Raises:
        MissingRequirement: the package is absent or cannot be loaded.
    """
    top = module.partition(".")[0]
    # NumPy prints a page of text when a package was built for another NumPy
    remarks = io.StringIO()
    try:
        with redirect_stderr(remarks), _unreported(top):
            found = importlib.import_module(module)
        if remarks.getvalue():
            sys.stderr.write(remarks.getvalue())
        return found
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None  # Ctrl-C while an extension module was initialised
        extra = EXTRA_OF_MODULE.get(top)
        line = f"run in a checkout: {pip_line(extra)}" if extra else f"run: pip install {top}"
        if isinstance(error, ModuleNotFoundError) and error.name in (top, None):
            state = f"the Python package '{top}' is not installed"
        else:
            state = f"the Python package '{top}' cannot be loaded ({_reason(str(error))})"
        raise MissingRequirement(f"{purpose} needs {top}, but {state}; {line}") from error


def pip_line(extra: str) -> str:
    """The command that installs an extra in a checkout; the package index does not have ours."""
    return f"pip install '.[{extra}]'"


def is_installed(module: str) -> bool:
    """Whether a top-level module is installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # some finders say no by raising
        return False


@contextmanager
def _unreported(package: str) -> Iterator[None]:
    """Keep OpenVINO from reporting its import; its own opt-out is a file in the user's home.

    OpenVINO reports nothing without its telemetry module, which is hidden during the import and can
    be imported again afterwards.
    """
    if package != "openvino" or _REPORTER in sys.modules:
        yield
        return
    sys.modules[_REPORTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(_REPORTER, None)


def _reason(message: str) -> str:
    """The first line of an ImportError's message, with advice on an older NumPy."""
    first = (message.splitlines() or ["no reason given"])[0]
    if "numpy" in first.lower() and "import" in first.lower():
        return f"{first}: it was built for an older NumPy; update it, or install 'numpy<2'"
    return first
