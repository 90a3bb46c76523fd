"""pycuda's functions have the names and parameters that ours are called with: read, not executed.

Its sources are those of the archive on PyPI; building it needs a CUDA toolkit, running it a GPU.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import published
import pytest

from ssd_small.runtimes import cuda_device, device_events

pytestmark = pytest.mark.slow

#: function of the module -> its parameters, at least
FUNCTIONS = {
    "init": [],
    "pagelocked_empty": ["shape", "dtype"],
    "memcpy_htod_async": ["dest", "src", "stream"],
    "memcpy_dtoh_async": ["dest", "src", "stream"],
    "mem_alloc": [],  # by position: one number
    "get_version": [],
}
#: class -> what we use of its objects
MEMBERS = {
    "Device": {"retain_primary_context"},
    "Context": {"push", "pop"},
    "Stream": {"handle", "synchronize"},
    "Event": {"record", "time_till"},
    "DeviceAllocation": {"__int__", "free"},
    "PagelockedHostAllocation": {"free"},
}
EXCEPTIONS = {"Error": "NULL", "MemoryError": "CudaError.get()"}


@pytest.fixture(scope="module")
def archive() -> Path:
    (folder,) = published.unpacked("pycuda==2026.1", source=True).iterdir()
    return folder


@pytest.fixture(scope="module")
def wrapper(archive: Path) -> str:
    return (archive / "src" / "wrapper" / "wrap_cudadrv.cpp").read_text()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_parameters_we_pass_in_their_order(wrapper: str, name: str) -> None:
    (definition,) = re.findall(rf'py::def\("{name}",(.*?)\);', wrapper, re.S)
    parameters = re.findall(r'py::args?\("(\w+)"\)', definition)
    expected = FUNCTIONS[name]
    assert parameters[: len(expected)] == expected


def test_device_memory_is_allocated_by_one_number(wrapper: str) -> None:
    assert re.search(r"mem_alloc_wrap\(size_t \w+\)", wrapper)


def test_copies_take_an_address_and_an_array(wrapper: str) -> None:
    assert re.search(r"py_memcpy_htod_async\(CUdeviceptr \w+, py::object \w+,", wrapper)
    assert re.search(r"py_memcpy_dtoh_async\(py::object \w+, CUdeviceptr \w+,", wrapper)


def test_a_stream_is_made_of_flags_and_a_device_of_a_number(archive: Path, wrapper: str) -> None:
    assert '("Stream", py::init<unsigned int>(py::arg("flags")=0))' in wrapper
    header = (archive / "src" / "cpp" / "cuda.hpp").read_text()
    assert re.search(r"make_device\(int \w+\)", header)
    (device,) = re.findall(r'"Device", py::no_init(.*?)\n  }', wrapper, re.S)
    assert '.def("__init__", py::make_constructor(make_device))' in device


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_has_the_members_we_use(wrapper: str, name: str) -> None:
    (body,) = re.findall(rf'"{name}", ?py::(?:no_init|init)(.*?)\n  }}', wrapper, re.S)
    found = set(re.findall(r'\.(?:def|add_property)\("(\w+)"', body))
    found |= set(re.findall(r"\.DEF_SIMPLE_METHOD\((\w+)\)", body))
    assert found >= MEMBERS[name]


def test_the_base_of_a_page_locked_array_is_its_memory(wrapper: str) -> None:
    """So that it can be given back before Python's collector comes by."""
    (body,) = re.findall(r"numpy_empty\(py::object shape(.*?)\n  }", wrapper, re.S)
    assert "PyArray_SetBaseObject((PyArrayObject*)result.get(), alloc_py.get())" in body


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_its_errors_have_the_names_and_order_we_catch_them_by(wrapper: str, name: str) -> None:
    assert f"DECLARE_EXC({name}, {EXCEPTIONS[name]});" in wrapper


def test_every_use_of_ours_is_checked_here() -> None:
    sources = (cuda_device._PyCuda, device_events.PyCudaEvents)
    used = {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(inspect.getsource(source)))
        if isinstance(node, ast.Attribute)
        and (
            getattr(node.value, "attr", "") == "_cuda" or getattr(node.value, "id", "") == "driver"
        )
    }
    assert used <= FUNCTIONS.keys() | MEMBERS.keys() | EXCEPTIONS.keys()
    assert {"init", "Device", "Stream", "mem_alloc", "memcpy_htod_async", "Error"} <= used
