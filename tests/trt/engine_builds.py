"""The command that the tests of engines build with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from command_line import Outcome

Command = Callable[..., Outcome]
Exported = Callable[[str], Path]


def build(command: Command, onnx_file: Path, output: Path, *more: str) -> Outcome:
    return command(
        "build-engine", onnx_file, "--target", "tensorrt-rtx", "-o", output, "--json", *more
    )
