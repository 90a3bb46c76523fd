"""The lower bounds of setup.cfg, as ``make test-lowest`` installs them."""

from __future__ import annotations

import pytest
from lower_bounds import constraints, requirements


def test_each_requirement_has_one_lower_bound_that_is_installed_exactly() -> None:
    lines = constraints(requirements())
    assert "numpy==1.24" in lines
    assert len({line.partition("==")[0] for line in lines}) == len(lines)


def test_what_all_brings_is_all_that_is_tested() -> None:
    """But TensorRT's full package, which PyPI does not have."""
    assert {"", "torch", "onnx", "onnxruntime", "eval", "images"} <= requirements().keys()
    assert "tensorrt" not in requirements()


def test_a_requirement_without_a_lower_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[eval\] pillow: expected NAME >=VERSION"):
        constraints({"eval": ["pillow"]})


def test_two_bounds_of_one_package_are_refused() -> None:
    with pytest.raises(ValueError, match=r"another extra says click==8\.1"):
        constraints({"": ["click >=8.1"], "x": ["click >=8.2"]})
