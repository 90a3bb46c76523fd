"""The command that the tests of engines build with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]
Exported = Callable[[str], Path]


def build(command: Command, onnx_file: Path, output: Path, *more: str) -> Any:
    return command(
        "build-engine", onnx_file, "--target", "tensorrt-rtx", "-o", output, "--json", *more
    )
