"""Training leaves the arithmetic of its process as it was."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.training.cpu import training_cpu  # noqa: E402


def subnormals_are_kept() -> bool:
    # of this thread, as numpy sees it
    return bool((np.full(3, 1e-40, np.float32) * np.float32(1.0) != 0).all())


def fail_in_training(threads: int) -> None:
    with training_cpu(threads):
        assert torch.get_num_threads() == threads
        if torch.set_flush_denormal(True):  # the processor can
            assert not subnormals_are_kept()
        raise RuntimeError("in the middle")


def test_subnormal_numbers_and_threads_are_back_after_training() -> None:
    assert subnormals_are_kept()
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_training(before + 1)
    assert subnormals_are_kept()
    assert torch.get_num_threads() == before
