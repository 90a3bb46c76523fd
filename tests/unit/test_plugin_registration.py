"""libssd_small_plugin_dlopen.so in processes with stand-ins for TensorRT, and with none.

tests/lean has the same with NVIDIA's own libraries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plugin_libraries
import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("stand_in_tensorrt.cpp")
NAMES = ("libnvinfer.so.10", "libnvinfer_lean.so.10", "libnvinfer_dispatch.so.10")

#: loads its arguments in order, RTLD_LOCAL, and tells what happened in each stand-in
LOADING = """
import ctypes, json, sys
loaded = {path: ctypes.CDLL(path) for path in sys.argv[1:]}
told = {}
for path, library in loaded.items():
    if "plugin" not in path:
        library.given_creator.restype = ctypes.c_void_p
        given = [library.given_creator(number) for number in range(4)]
        told[path.rpartition("/")[2]] = [library.called_slot(), [one for one in given if one]]
plugin = next((path for path in loaded if path.endswith("plugin.so")), None)
if plugin:
    get_creators = loaded[plugin].getCreators
    get_creators.restype = ctypes.POINTER(ctypes.c_void_p)
    count = ctypes.c_int32()
    creators = get_creators(ctypes.byref(count))
    told["creators"] = [creators[number] for number in range(count.value)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the two libraries, and the stand-ins that tests add in folders below it."""
    folder = tmp_path_factory.mktemp("libraries")
    plugin_libraries.copy_pair(folder)
    return folder


@pytest.fixture(scope="module")
def stand_in(folder: Path) -> Callable[..., Path]:
    """Function: file name and macros -> a compiled stand-in, each in a folder of its own."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")

    def make(name: str, version: int, *macros: str) -> Path:
        path = folder / "-".join([str(version), *macros]) / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            flags = [
                "-std=c++17",
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{name}",
                f"-DVERSION={version}",
            ]
            flags += [f"-D{macro}" for macro in macros]
            subprocess.run([compiler, *flags, "-o", path, SOURCE], check=True)
        return path

    return make


def load(*libraries: Path, **environment: str) -> tuple[dict[str, Any], list[str]]:
    """What each stand-in was told, and the lines on stderr; the process must end well."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING, *libraries],
        env={k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "version", "slot"),
    [
        *((name, 100000, 12) for name in NAMES),
        ("libnvinfer.so.10.16.1", 101601, 12),
        *((name.replace(".10", ".11"), 110400, 8) for name in NAMES),
        ("libnvinfer.so", 110000, 8),
        ("libtensorrt_rtx.so.1", 10701, 8),
    ],
)
def test_the_creators_are_given_to_the_function_of_that_version(
    folder: Path, stand_in: Any, name: str, version: int, slot: int
) -> None:
    plugin, registering = (
        folder / "libssd_small_plugin.so",
        folder / "libssd_small_plugin_dlopen.so",
    )
    told, lines = load(stand_in(name, version), registering, plugin)
    assert lines == []
    assert told[name] == [slot, told["creators"]]
    assert len(told["creators"]) == 2  # one of each version


def test_the_plugin_alone_registers_nothing(folder: Path, stand_in: Any) -> None:
    told, lines = load(stand_in(NAMES[0], 100000), folder / "libssd_small_plugin.so")
    assert lines == []
    assert told[NAMES[0]] == [-1, []]


@pytest.mark.parametrize(
    ("name", "version", "macro", "expected"),
    [
        ("libnvinfer.so.12", 120000, None, "is of version 120000; expected TensorRT 10 or 11"),
        ("libnvinfer.so.8", 8601, None, "is of version 8601; expected"),
        ("libnvinfer.so.9", 9300, None, "is of version 9300; expected"),
        ("libtensorrt_rtx.so.1", 10000, None, "is of version 10000; expected"),
        ("libtensorrt_rtx.so.2", 20000, None, "is of version 20000; expected"),
        ("libnvinfer.so.10", 100001, "WITHOUT_REGISTRY", "has no getPluginRegistry"),
        ("libnvinfer.so.10", 100001, "NULL_REGISTRY", "has no plugin registry"),
    ],
)
def test_what_is_not_known_is_said_and_not_called(
    folder: Path, stand_in: Any, name: str, version: int, macro: str | None, expected: str
) -> None:
    path = stand_in(name, version, *([macro] if macro else []))
    told, (line,) = load(path, folder / "libssd_small_plugin_dlopen.so")
    assert told[name] == [-1, []]
    assert line.startswith("libssd_small_plugin_dlopen.so: DecodeNms is not registered: ")
    assert str(path) in line
    assert expected in line


def test_every_tensorrt_of_the_process_gets_it(folder: Path, stand_in: Any) -> None:
    stand_ins = [stand_in("libnvinfer_lean.so.11", 110400), stand_in(NAMES[2], 100000)]
    told, lines = load(*stand_ins, folder / "libssd_small_plugin_dlopen.so")
    assert lines == []
    assert [told[path.name][0] for path in stand_ins] == [8, 12]


def test_loading_it_again_by_another_path_registers_once_more_and_no_harm(
    folder: Path, stand_in: Any, tmp_path: Path
) -> None:
    """The registry has the creator and says no. The same path again does nothing at all."""
    registering = folder / "libssd_small_plugin_dlopen.so"
    elsewhere = tmp_path / registering.name
    shutil.copy2(registering, elsewhere)
    (tmp_path / "libssd_small_plugin.so").symlink_to(folder / "libssd_small_plugin.so")
    first = stand_in(NAMES[0], 100000)
    told, lines = load(first, registering, registering)
    assert told[first.name][0] == 12
    told, lines = load(first, registering, elsewhere, folder / "libssd_small_plugin.so")
    assert lines == []
    assert told[first.name] == [-2, told["creators"]]  # twice, the same creators


def test_without_the_plugin_beside_it_it_says_what_is_missing(
    folder: Path, stand_in: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "libssd_small_plugin_dlopen.so"
    shutil.copy2(folder / alone.name, alone)
    first = stand_in(NAMES[0], 100000)
    told, (line,) = load(first, alone)
    assert told[first.name] == [-1, []]
    assert str(tmp_path / "libssd_small_plugin.so") in line
    assert "expected libssd_small_plugin.so of the same release beside this file" in line


def test_another_library_under_the_plugin_s_name_is_not_taken_for_it(
    folder: Path, stand_in: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "libssd_small_plugin_dlopen.so"
    shutil.copy2(folder / alone.name, alone)
    first = stand_in(NAMES[0], 100000)
    shutil.copy2(first, tmp_path / "libssd_small_plugin.so")
    told, (line,) = load(first, alone)
    assert told[first.name] == [-1, []]
    assert "getCreators" in line


def test_without_any_tensorrt_it_says_so(folder: Path, tmp_path: Path) -> None:
    _, (line,) = load(folder / "libssd_small_plugin_dlopen.so", LD_LIBRARY_PATH=str(tmp_path))
    if "is of version" in line:
        pytest.skip("not executed here: the system has a TensorRT")
    assert "no TensorRT is loaded and the loader finds none: load TensorRT first" in line


def test_preloaded_it_opens_what_the_program_will_load(folder: Path, stand_in: Any) -> None:
    first = stand_in(NAMES[0], 100000)
    told, lines = load(
        first,
        LD_PRELOAD=str(folder / "libssd_small_plugin_dlopen.so"),
        LD_LIBRARY_PATH=str(first.parent),
    )
    assert lines == []
    assert told[first.name][0] == 12


def test_preloaded_into_a_program_that_links_tensorrt_it_waits_for_its_start(
    folder: Path, stand_in: Any, tmp_path: Path
) -> None:
    """The stand-in has no registry before its own initialiser has run."""
    first = stand_in(NAMES[0], 100000)
    program, source = tmp_path / "program", tmp_path / "program.cpp"
    source.write_text('extern "C" int called_slot(); int main() { return called_slot(); }\n')
    compiler = os.environ.get("CXX", "c++")
    link = ["-o", program, source, first, f"-Wl,-rpath,{first.parent}"]
    subprocess.run([compiler, *link], check=True)
    preload = str(folder / "libssd_small_plugin_dlopen.so")
    done = subprocess.run(
        [program], env={**os.environ, "LD_PRELOAD": preload}, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert done.returncode == 12


def test_it_stays_when_it_is_closed(folder: Path, stand_in: Any) -> None:
    """A registry keeps the creator; neither file may go away under it."""
    code = (
        "import ctypes, _ctypes, sys; ctypes.CDLL(sys.argv[1]); "
        "library = ctypes.CDLL(sys.argv[2]); _ctypes.dlclose(library._handle); "
        "print(open('/proc/self/maps').read())"
    )
    libraries = stand_in(NAMES[0], 100000), folder / "libssd_small_plugin_dlopen.so"
    done = subprocess.run(
        [sys.executable, "-c", code, *libraries], capture_output=True, text=True, check=True
    )
    for name in ("libssd_small_plugin.so", "libssd_small_plugin_dlopen.so"):
        assert str(folder / name) in done.stdout
