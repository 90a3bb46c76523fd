"""What ``pip wheel .`` ships: the packages, both libraries, and a plugin that TensorRT loads."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cuda_compiler import find_nvcc

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "ssd_small/_native/libssd_small_plugin.so"
REGISTERS_ON_LOAD = "ssd_small/_native/libssd_small_plugin_dlopen.so"
TRT_TESTS = ROOT / "tests" / "trt"


def test_it_is_for_any_python_on_this_platform(wheel: Path) -> None:
    name, _, rest = wheel.name.partition("-")
    assert name == "ssd_small"
    assert "-py3-none-" in rest
    assert not rest.endswith("-any.whl")


def test_it_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = {name for name in names if ".dist-info/" in name}
    native = {name for name in names if name.startswith("ssd_small/_native/")}
    sources = {p.relative_to(ROOT) for p in (ROOT / "ssd_small").rglob("*.py")}
    expected = {path.as_posix() for path in sources if "_native" not in path.parts}
    expected |= {f"ssd_small/export/{path.name}" for path in (ROOT / "export").glob("*.py")}
    for folder in (ROOT / "ssd_small" / "assets", ROOT / "ssd_small" / "report" / "templates"):
        expected |= {p.relative_to(ROOT).as_posix() for p in folder.rglob("*") if p.is_file()}
    page = (ROOT / "ssd_small" / "serving" / "http" / "page").glob("page.*")
    expected |= {p.relative_to(ROOT).as_posix() for p in page}
    assert names - info - native == expected | {"ssd_small/py.typed"}
    assert {name.rpartition("/")[2] for name in native} <= {
        "libssd_small.so",
        "libssd_small_plugin.so",
        "libssd_small_plugin_dlopen.so",
    }


def test_every_file_is_the_one_its_record_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (n for n in archive.namelist() if n.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert {row[0] for row in rows} == set(archive.namelist())
        for name, digest, _ in rows:
            if name != record:
                value = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest())
                assert digest == "sha256=" + value.rstrip(b"=").decode()


def test_the_command_is_declared(unpacked: Path) -> None:
    (file,) = unpacked.glob("*.dist-info/entry_points.txt")
    scripts = configparser.ConfigParser()
    scripts.read(file)
    assert dict(scripts["console_scripts"]) == {"ssd-small": "ssd_small.cli:main"}


def run_unpacked(unpacked: Path, *arguments: str | Path) -> Any:
    """JSON from a Python that finds ssd_small in the unpacked wheel, and nowhere else."""
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", *arguments],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked), "SSD_SMALL_PLUGIN": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_native_library_in_it_loads(unpacked: Path) -> None:
    code = (
        "import json, ssd_small, ssd_small.export.build_engine; "
        "import ssd_small.postprocess.native as native; "
        "print(json.dumps([ssd_small.__file__, native.is_available()]))"
    )
    file, available = run_unpacked(unpacked, "-c", code)
    assert Path(file).is_relative_to(unpacked)
    assert available is True


@pytest.fixture
def plugin(unpacked: Path) -> Path:
    path = unpacked / PLUGIN
    if not path.exists():
        pytest.skip("the wheel has no plugin: no nvcc where it was made")
    return path


def test_the_plugin_is_shipped_where_there_is_an_nvcc(unpacked: Path) -> None:
    for file in (PLUGIN, REGISTERS_ON_LOAD):
        assert (unpacked / file).is_file() == (find_nvcc() is not None)


def exported_by(library: Path) -> set[str]:
    done = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in done.stdout.splitlines()}


def test_the_plugin_in_it_exports_its_entry_points(plugin: Path) -> None:
    entry_points = {"getCreators", "setLoggerFinder", "ssd_small_plugin_cuda_version"}
    assert exported_by(plugin) == entry_points
    assert exported_by(plugin.with_name(Path(REGISTERS_ON_LOAD).name)) == set()


@pytest.mark.trt
def test_the_registry_of_tensorrt_rtx_loads_the_plugin_in_it(plugin: Path, unpacked: Path) -> None:
    """By a script without anything of ours."""
    pytest.importorskip("tensorrt_rtx")
    report = run_unpacked(unpacked, TRT_TESTS / "plain_create.py", plugin)
    assert report["BUILD"]["name"] == report["RUNTIME"]["name"] == ["DecodeNms", "1", ""]
    assert report["refused"] is True


@pytest.mark.trt
def test_loading_the_other_file_in_it_registers_the_plugin(plugin: Path, unpacked: Path) -> None:
    """Found by where it lies; the plugin alone registers nothing."""
    pytest.importorskip("tensorrt_rtx")
    code = (
        "import ctypes, json, sys, tensorrt_rtx as trt; ctypes.CDLL(sys.argv[1]); "
        "found = trt.get_plugin_registry().all_creators; "
        "print(json.dumps(sorted(c.plugin_version for c in found if c.name == 'DecodeNms')))"
    )
    assert run_unpacked(unpacked, "-c", code, plugin) == []
    assert run_unpacked(unpacked, "-c", code, unpacked / REGISTERS_ON_LOAD) == ["1", "2"]


@pytest.mark.trt
def test_doctor_in_it_finds_the_plugin_in_it(plugin: Path, unpacked: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    report = run_unpacked(unpacked, "-m", "ssd_small", "doctor", "--json")
    found = next(f for f in report["machine"] if f["subject"] == "TensorRT plugin")
    assert found["fine"], found["state"]
    assert "loads DecodeNms versions 1 and 2" in found["state"]
