"""Prior boxes as data: kept to the bit, checked, and given to whoever asks a description."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.artefacts.record import Fields
from ssd_small.artefacts.stored_priors import StoredPriors
from ssd_small.errors import BadFile, UsageError
from ssd_small.models.registry import get_spec

#: numbers whose shortest decimal form is long, and those beyond the unit square that others write
BOXES = np.array([[1 / 3, 0.1, 2**-20, 1e-7], [-0.36, 5.12, 1.4142135, 0.3333]], np.float32)


def _description(**changes: Any) -> Description:
    described = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0)
    stored = StoredPriors.from_array(described.priors)
    return replace(described, levels=(), clip="none", stored_priors=stored, **changes)


def _read(values: dict[str, Any]) -> StoredPriors:
    return StoredPriors.from_fields(Fields(values, "priors"))


def test_every_bit_survives_json() -> None:
    again = _read(json.loads(json.dumps(StoredPriors.from_array(BOXES).to_dict())))
    np.testing.assert_array_equal(again.array.view(np.uint32), BOXES.view(np.uint32))
    assert again == StoredPriors.from_array(BOXES)


def test_a_description_gives_them_whatever_asks() -> None:
    described = _description()
    by_levels = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0)
    np.testing.assert_array_equal(described.priors, by_levels.priors)
    assert described.level_sizes == (len(by_levels.priors),)
    assert sum(by_levels.level_sizes) == len(by_levels.priors)
    written = json.loads(json.dumps(described.to_dict()))
    assert written["format"] == 5
    again = Description.from_dict(written, "x")
    assert again == described
    assert by_levels.to_dict()["format"] == 1


@pytest.mark.parametrize(
    ("priors", "reason"),
    [
        (np.zeros((3, 5), np.float32), r"got shape \[3, 5\], expected \[P, 4\]"),
        (np.zeros(4, np.float32), r"got shape \[4\]"),
        (np.zeros((0, 4), np.float32), "got 0, expected 1 to"),
        (np.zeros((2, 4), np.int64), "got int64"),
        (np.full((2, 4), np.nan), "box 0 is .*nan.*, expected finite"),
        (np.array([[0, 0, 1, 1], [0, 0, np.inf, 1]]), "box 1 is .*inf"),
        (np.array([[0.5, 0.5, 0.1, 0.1], [0.1, 0.1, -0.1, 0.1]]), "box 1 .* side below 0"),
    ],
)
def test_what_are_no_boxes_is_refused(priors: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StoredPriors.from_array(priors)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 3}, "got 32 bytes"),
        ({"float32": "AAAA"}, "got 3 bytes"),
        ({"float32": "A"}, "expected base64"),
        ({"sha256": "0" * 64}, "another digest"),
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _read(StoredPriors.from_array(BOXES).to_dict() | change)


def test_levels_beside_them_are_a_contradiction() -> None:
    levels = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0).to_dict()["levels"]
    with pytest.raises(BadFile, match="levels or clip beside prior boxes as data"):
        Description.from_dict(_description().to_dict() | {"levels": levels}, "x")


def test_without_a_name_that_is_known_there_is_no_pytorch_network() -> None:
    from ssd_small.artefacts.described_spec import spec_from_description

    with pytest.raises(UsageError, match="adopted from an ONNX file, so there is no PyTorch"):
        spec_from_description(_description(model="theirs"))
