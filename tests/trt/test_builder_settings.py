"""Build options in NVIDIA's own configuration object, and why RTX does without two of them."""

from __future__ import annotations

import types
from typing import Any

import pytest
import ssd_small.export.build_child as build_child

from ssd_small.artefacts.build_options import MOST_WORKSPACE, BuildOptions
from ssd_small.errors import UsageError
from ssd_small.runtimes import tensorrt_module

pytestmark = pytest.mark.trt


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def builder(trt: Any) -> Any:
    return trt.Builder(tensorrt_module.logger(trt))


def configured(trt: Any, builder: Any, gpu: str | None = None, **options: Any) -> tuple[Any, Any]:
    """The configuration that these options give, and the capabilities it is for."""
    config = builder.create_builder_config()
    job = types.SimpleNamespace(options=BuildOptions(**options).to_dict(), gpu=gpu)
    return config, build_child._configure(trt, config, job)


def test_what_is_not_asked_for_is_not_set(trt: Any, builder: Any) -> None:
    config, _ = configured(trt, builder)
    untouched = builder.create_builder_config()
    # NVIDIA's default allows TF32; fp32 means fp32
    assert untouched.get_flag(trt.BuilderFlag.TF32)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert not config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.builder_optimization_level == untouched.builder_optimization_level
    workspace = trt.MemoryPoolType.WORKSPACE
    assert config.get_memory_pool_limit(workspace) == untouched.get_memory_pool_limit(workspace)


def test_every_option_arrives(trt: Any, builder: Any) -> None:
    config, _ = configured(
        trt, builder, tf32=True, optimization_level=1, workspace=77, version_compatible=True
    )
    assert config.get_flag(trt.BuilderFlag.TF32)
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.builder_optimization_level == 1
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 77 << 20
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED


def test_the_largest_workspace_arrives(trt: Any, builder: Any) -> None:
    config, _ = configured(trt, builder, workspace=MOST_WORKSPACE)
    # the builder cuts it at the memory of its GPU, where there is one
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) > 0


def test_an_engine_may_not_allocate_while_a_graph_is_captured(trt: Any, builder: Any) -> None:
    config, _ = configured(trt, builder)
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


@pytest.mark.parametrize(
    ("asked", "gpu", "expected"),
    [
        (("8.6", "8.9"), None, ["8.6", "8.9"]),
        (("12.0",), "8.6", ["12.0"]),
        (("8.9", "8.6", "8.9"), None, ["8.9", "8.6"]),
        ((), "8.6", ["8.6"]),
        ((), None, ["8.0", "8.6", "8.9", "12.0", "12.1"]),
    ],
    ids=str,
)
def test_capabilities_are_those_asked_for_or_this_gpu_s_or_all_from_ampere_on(
    trt: Any, builder: Any, asked: tuple[str, ...], gpu: str | None, expected: list[str]
) -> None:
    config, told = configured(trt, builder, gpu, compute_capabilities=asked)
    assert told == expected
    assert config.num_compute_capabilities == len(expected)
    found = [config.get_compute_capability(i).name for i in range(len(expected))]
    assert found == ["SM" + capability.replace(".", "") for capability in expected]


def test_a_gpu_that_rtx_does_not_know_needs_the_full_tensorrt(trt: Any, builder: Any) -> None:
    with pytest.raises(UsageError, match=r"capability 9\.0: .*; use target tensorrt on a GPU"):
        configured(trt, builder, "9.0")


def built(trt: Any, builder: Any, config: Any) -> Any:
    """The plan of a network of one layer, or None."""
    network = builder.create_network(build_child.network_flags(trt))
    images = network.add_input("images", trt.DataType.FLOAT, (2, 3))
    network.mark_output(network.add_activation(images, trt.ActivationType.RELU).get_output(0))
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    return builder.build_serialized_network(network, config)


def test_the_one_layer_network_of_these_tests_builds(trt: Any, builder: Any) -> None:
    assert built(trt, builder, builder.create_builder_config()) is not None


def test_rtx_has_no_lean_runtime_for_version_compatible_engines(trt: Any, builder: Any) -> None:
    """Why --version-compatible is refused: NVIDIA's builder fails for want of a library."""
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert built(trt, builder, config) is None
    assert "Unable to load library: libnvinfer_lean.so" in tensorrt_module.logger(trt).last()


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_rtx_writes_nothing_to_a_timing_cache(trt: Any, builder: Any) -> None:
    """Why --timing-cache is refused: NVIDIA calls it a no-op, and it stays as it was."""
    config = builder.create_builder_config()
    cache = config.create_timing_cache(b"")
    with pytest.warns(DeprecationWarning, match="Timing cache operations are no-ops"):
        assert config.set_timing_cache(cache, False)
    before = bytes(cache.serialize())
    assert built(trt, builder, config) is not None
    assert bytes(cache.serialize()) == before
    assert cache.queryKeys() == []


@pytest.mark.parametrize(("members", "flags"), [({"STRONGLY_TYPED": 1}, 2), ({}, 0)], ids=str)
def test_the_network_is_strongly_typed_by_name(members: dict[str, int], flags: int) -> None:
    """The flag's number changed between releases, and one that lost it knows no other typing."""
    module = types.SimpleNamespace(NetworkDefinitionCreationFlag=types.SimpleNamespace(**members))
    assert build_child.network_flags(module) == flags
