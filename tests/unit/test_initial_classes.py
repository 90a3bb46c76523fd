"""What is said of heads that learned other classes than a run's."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.artefacts.checkpoint import CheckpointRecord, write_checkpoint  # noqa: E402
from ssd_small.artefacts.description import description_from_spec  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.models.shipped import shipped_checkpoints  # noqa: E402
from ssd_small.training.initialise import classes_line  # noqa: E402

SHIPPED = "digits/mobilenet_v1"
DIGITS = [str(i) for i in range(10)]


def test_heads_of_the_same_classes_in_another_order_are_said() -> None:
    swapped = ["1", "0", *DIGITS[2:]]
    line = classes_line(SHIPPED, swapped)
    assert line is not None
    assert line.startswith(f"class 1 of {SHIPPED} is '0', of this run '1'")
    assert classes_line(SHIPPED, DIGITS) is None
    (file,) = (one.path for one in shipped_checkpoints() if one.name == SHIPPED)
    assert classes_line(file, swapped) is not None


def test_heads_that_are_not_taken_are_not_spoken_of() -> None:
    assert classes_line(SHIPPED, DIGITS[1:]) is None


@pytest.mark.parametrize(("labels", "said"), [(("cat", "dog"), True), (None, False)])
def test_a_checkpoint_that_names_its_classes_is_compared(
    tmp_path: Path, labels: tuple[str, ...] | None, said: bool
) -> None:
    net = create_model("mobilenet_v1", 3, 0.1)
    described = description_from_spec(net.spec, 3, 0.1, labels=labels)
    write_checkpoint(net.state_dict(), CheckpointRecord(described), tmp_path / "a.pth")
    line = classes_line(tmp_path / "a.pth", ("dog", "cat"))
    assert (line is not None) is said


def test_a_checkpoint_without_a_record_has_no_names(tmp_path: Path) -> None:
    torch.save(create_model("mobilenet_v1", 3, 0.1).state_dict(), tmp_path / "a.pth")
    assert classes_line(tmp_path / "a.pth", ("dog", "cat")) is None
