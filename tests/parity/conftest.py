"""The libraries that run the CUDA kernels."""

from __future__ import annotations

import pytest
from kernel_library import KernelLibrary, load


@pytest.fixture(scope="session")
def executor() -> KernelLibrary:
    """The kernels on the CPU."""
    library = load("executor")
    if library is None:
        pytest.skip("the executor library is not built (cmake -DSSD_SMALL_BUILD_TESTS=ON)")
    return library


@pytest.fixture(params=["executor", pytest.param("device", marks=pytest.mark.gpu)], scope="session")
def kernels(request: pytest.FixtureRequest) -> KernelLibrary:
    """The kernels on the CPU, and on a GPU where there is one."""
    if request.param == "executor":
        found: KernelLibrary = request.getfixturevalue("executor")
        return found
    library = load("device")
    if library is None:
        pytest.skip("not executed here: no GPU, or no library for it (cmake -DSSD_SMALL_CUDA=ON)")
    return library
