"""A Triton server of PyPI's nvidia-pytriton on loopback, started by the line that we print."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
#: what make test-triton names: the server's environment, and a folder of ONNX files
ENVIRONMENT = Path(os.environ.get("SSD_SMALL_TRITON", os.devnull))
ONNX = Path(os.environ.get("SSD_SMALL_TRITON_ONNX", os.devnull))
#: seconds: three times what a start takes on two busy cores
READY, END = 90, 40
#: names of the models, and of the files that they are made of; and those with an ensemble
KINDS = {
    "digits": "plain.onnx",
    "inline": "inline.onnx",
    "heads": "heads.onnx",
    "any": "any.onnx",
    "framed": "framed.onnx",
}
ENSEMBLES = ("digits", "framed")
PLAN = "plan"


def written_repository(repository: Path) -> Path:
    """What the command writes of each kind of file, by itself."""
    for name, file in KINDS.items():
        more = ["--ensemble", "--python-env", ENVIRONMENT] if name in ENSEMBLES else []
        ssd_small("triton", ONNX / file, "-o", repository, "--name", name, *more)
    # of the plugin it matters here that it is copied and named
    library = repository.parent / "library"
    library.mkdir()
    for name in ("libssd_small_plugin.so", "libssd_small_plugin_dlopen.so"):
        (library / name).touch()
    plan = write_plan(repository.parent)
    plugin = {"SSD_SMALL_PLUGIN": str(library / "libssd_small_plugin.so")}
    ssd_small("triton", plan, "-o", repository, "--name", PLAN, env=plugin)
    return repository


def write_plan(folder: Path) -> Path:
    """A "plan" for the double of TensorRT, an ONNX file, with a sidecar as build-engine writes."""
    from sidecars import sidecar_for

    from ssd_small.artefacts.build_options import BuildOptions
    from ssd_small.artefacts.build_record import BatchRange, EngineFile
    from ssd_small.artefacts.onnx_file import read_onnx
    from ssd_small.artefacts.sidecar import sidecar_path
    from ssd_small.json_files import write_json

    path = folder / "net.engine"
    content = (ONNX / "plain.onnx").read_bytes()
    path.write_bytes(content)
    sidecar = sidecar_for(
        read_onnx(ONNX / "plain.onnx")[1],
        target="tensorrt",
        engine=EngineFile(path.name, sha256(content).hexdigest(), len(content)),
        batch=BatchRange(1, 4, 8),
        options=BuildOptions("tensorrt"),
    )
    write_json(sidecar_path(path), sidecar.to_dict())
    return path


def ssd_small(*arguments: object, env: dict[str, str] | None = None) -> str:
    """Standard output of the command line, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "ssd_small", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def line_to_start(repository: Path) -> str:
    """The first line that the page of the plan gives: with the plugin, which a double ignores."""
    page = (repository / PLAN / "README.md").read_text()
    return re.findall(r"^    (.*tritonserver .*)$", page, re.MULTILINE)[0]


class TritonServer:
    """A server, ready after :meth:`wait_until_ready`.

    Attributes:
        http, grpc: addresses, with scheme.
        metrics: that of the metrics.
    """

    def __init__(self, repository: Path, folder: Path, options: tuple[str, ...] = ()) -> None:
        packages = next(ENVIRONMENT.glob("lib/python3.*/site-packages"))
        package = packages / "pytriton" / "tritonserver"
        ports = _free_ports(3)
        self.http, self.grpc, self.metrics = (
            f"{scheme}://127.0.0.1:{port}"
            for scheme, port in zip(("http", "grpc", "http"), ports, strict=True)
        )
        self._calls, self._log = folder / "calls", folder / "log"
        self._calls.touch()
        names = ("http-port", "grpc-port", "metrics-port")
        own = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
        own += [f"--backend-directory={_backends(folder, package, packages.parent.name)}"]
        variables = {
            "PATH": f"{package / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "SSD_SMALL_TRITON_PACKAGES": str(packages),
            "SSD_SMALL_TRITON_CALLS": str(self._calls),
            "OMP_NUM_THREADS": "1",
        }
        line = " ".join([f"exec env {line_to_start(repository)}", *own, *options])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", line], env={**os.environ, **variables}, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        """Wait for the server and all models that it is to load."""
        until = time.monotonic() + READY
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log()
            try:
                if self.get("/v2/health/ready").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log())

    def get(self, path: str) -> Any:
        """The answer to a request without content."""
        return urllib.request.urlopen(self.http + path, timeout=20)

    def log(self) -> str:
        """What it has printed, without its tables."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith(("|", "+")))

    def calls(self, model: str) -> list[dict[str, Any]]:
        """What the double was called with, in order: pictures of each request, and their hashes."""
        lines = map(json.loads, self._calls.read_text().splitlines())
        return [line for line in lines if line["model"] == model]

    def end(self) -> int:
        """Ask it to end as a supervisor does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end in {END} s\n{self.log()}") from None

    def processes(self, seconds: float = 10) -> list[int]:
        """Processes of it that are still there after so many seconds, itself among them."""
        marker = f"SSD_SMALL_TRITON_CALLS={self._calls}".encode()
        until = time.monotonic() + seconds
        while (found := _processes_with(marker)) and time.monotonic() < until:
            time.sleep(0.1)
        return found


def _processes_with(marker: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _backends(folder: Path, package: Path, python: str) -> Path:
    """The server's Python backend with the stub of this Python, and the double by both names."""
    backends = folder / "backends"
    shutil.copytree(package / "backends" / "python", backends / "python")
    version = python.removeprefix("python")
    stub = package / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    for name in ("onnxruntime", "tensorrt"):
        (backends / name).mkdir()
        shutil.copy(HERE / "doubles" / "network_backend.py", backends / name / "model.py")
    return backends


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def hash_of(picture: np.ndarray) -> str:
    """How the double calls a picture."""
    return sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
