"""Fields of the plugin: defaults, faults that name the field, serialised state, copies."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import plugin_driver as driver
import plugin_fields
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_driver import Library
from plugin_fields import FIELD_NAMES, Field, field_from, fields_from

from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.params import WHOLE

DEFAULTS = asdict(PostprocessParams()) | {"clip_edges": WHOLE}
#: a value unlike the default for every field
OTHERS = asdict(
    PostprocessParams(
        score_threshold=0.3,
        iou_threshold=0.45,
        variances=(0.2, 0.4),
        activation="sigmoid",
        background_label=-1,
        pre_nms_topk=0,
        keep_topk_per_class=7,
        keep_topk=0,
        pixel_offset=1 / 300,
        clip_boxes=True,
    )
) | {"clip_edges": (2.5, 0.75)}
FLOAT_FIELDS = ("score_threshold", "iou_threshold", "pixel_offset")
INT_FIELDS = ("background_label", "pre_nms_topk", "keep_topk_per_class", "keep_topk", "clip_boxes")
PAIRS = ("variances", "clip_edges")
F32, F64, I32, CHAR, I64 = (
    plugin_fields.FIELD_FLOAT32,
    plugin_fields.FIELD_FLOAT64,
    plugin_fields.FIELD_INT32,
    plugin_fields.FIELD_CHAR,
    plugin_fields.FIELD_INT64,
)


@pytest.fixture
def library() -> Library:
    """Version 2, which has every field; what is version 1's own: test_plugin_versions.py."""
    return driver.library_of_version(2)


def fields_of(values: dict[str, Any]) -> list[Field]:
    return [field_from(name, values[name]) for name in FIELD_NAMES]


def test_every_postprocess_parameter_is_announced(library: Library) -> None:
    announced = library.announced_fields()
    assert [name for name, _, _ in announced] == FIELD_NAMES
    for name, kind, length in announced:
        expected = field_from(name, DEFAULTS[name])
        assert kind == expected[1]
        assert length == (1 if kind == CHAR else expected[2])


@pytest.mark.parametrize("fields", [[], None])
def test_defaults_are_those_of_postprocess_params(
    library: Library, fields: list[Field] | None
) -> None:
    plugin = library.create(fields)
    assert plugin is not None
    assert plugin.serialized() == fields_of(DEFAULTS)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_given_field_is_taken_and_the_others_keep_their_defaults(
    library: Library, name: str
) -> None:
    value = OTHERS[name]
    assert value != DEFAULTS[name]
    plugin = library.create([field_from(name, value)])
    assert plugin is not None
    assert plugin.serialized() == fields_of(DEFAULTS | {name: value})


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_field_left_out_takes_its_default(library: Library, name: str) -> None:
    given_fields = [field for field in fields_of(OTHERS) if field[0] != name]
    plugin = library.create(given_fields)
    assert plugin is not None
    assert plugin.serialized() == fields_of(OTHERS | {name: DEFAULTS[name]})


def test_the_order_of_fields_does_not_matter(library: Library) -> None:
    plugin = library.create(fields_of(OTHERS)[::-1])
    assert plugin is not None
    assert plugin.serialized() == fields_of(OTHERS)


def test_nothing_of_one_node_reaches_the_next(library: Library) -> None:
    assert library.create(fields_of(OTHERS)) is not None
    assert library.create([*fields_of(OTHERS), field_from("bogus", 1)]) is None
    plugin = library.create([])
    assert plugin is not None
    assert plugin.serialized() == fields_of(DEFAULTS)


def wrong_forms() -> list[Field]:
    one, two = np.float32(0.5).tobytes(), np.full(2, 0.5, np.float32).tobytes()
    number, text = np.int32(1).tobytes(), b"softmax\0"
    wrong: list[Field] = []
    for name in FLOAT_FIELDS:
        wrong += [
            (name, I32, 1, number),
            (name, F64, 1, np.float64(0.5).tobytes()),
            (name, CHAR, 8, text),
            (name, F32, 2, two),
            (name, F32, 0, b""),
            (name, F32, 1, None),
        ]
    for name in INT_FIELDS:
        wrong += [
            (name, F32, 1, one),
            (name, CHAR, 8, text),
            (name, I32, 2, number * 2),
            (name, I32, 0, b""),
            (name, I32, 1, None),
            (name, I64, 1, None),
        ]
    for name in PAIRS:
        wrong += [(name, F32, length, two * 2) for length in (0, 1, 3)]
        wrong += [(name, F32, 2, None), (name, I32, 2, number * 2)]
    wrong += [("activation", I32, 1, number), ("activation", CHAR, 8, None)]
    return wrong


@pytest.mark.parametrize("field", wrong_forms(), ids=lambda field: f"{field[0]}-{field[1:3]}")
def test_a_wrong_type_or_length_is_refused_by_name(library: Library, field: Field) -> None:
    message = driver.refusal(library, [field])
    assert f"field {field[0]}: got " in message
    assert ", expected " in message


OUT_OF_RANGE: list[tuple[str, Any]] = [
    *((name, value) for name in FLOAT_FIELDS for value in (np.nan, np.inf, -np.inf)),
    ("iou_threshold", -0.001),
    ("iou_threshold", 1.001),
    ("pixel_offset", -1e-6),
    *(("variances", pair) for pair in ((0.0, 0.2), (0.1, -0.2), (np.nan, 0.2), (0.1, np.inf))),
    *(("clip_edges", pair) for pair in ((0.0, 1.0), (1.0, -1.0), (np.nan, 1.0), (1.0, np.inf))),
    ("clip_boxes", -1),
    ("clip_boxes", 2),
    ("background_label", -2),
    ("background_label", 1024),
    *((name, -1) for name in INT_FIELDS if name.endswith(("topk", "class"))),
    *(("activation", text) for text in ("", "Softmax", "softmax2", "relu", "x" * 1000)),
]


def test_no_field_is_without_its_faults() -> None:
    """A field that is added must get a wrong type and a value out of range above."""
    every = set(FIELD_NAMES)
    assert {name for name, *_ in wrong_forms()} == every
    assert {name for name, _ in OUT_OF_RANGE} == every
    assert all(OTHERS[name] != DEFAULTS[name] for name in every)


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=str)
def test_a_value_out_of_range_is_refused_by_name(library: Library, name: str, value: Any) -> None:
    message = driver.refusal(library, [field_from(name, value)])
    assert f"field {name}: got " in message
    assert ", expected " in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", -1.0),
        ("iou_threshold", 0.0),
        ("iou_threshold", 1.0),
        ("background_label", 1023),
        ("pre_nms_topk", 2**31 - 1),
        ("keep_topk", 1),
    ],
)
def test_values_at_the_ends_of_the_range_are_taken(library: Library, name: str, value: Any) -> None:
    plugin = library.create([field_from(name, value)])
    assert plugin is not None
    assert plugin.serialized() == fields_of(DEFAULTS | {name: value})


@pytest.mark.parametrize("name", ["keep_topK", "max_output_boxes", "", "plugin_version"])
def test_an_unknown_field_is_refused_by_name(library: Library, name: str) -> None:
    assert f'field "{name}" is unknown' in driver.refusal(library, [field_from(name, 1)])


def test_a_field_given_twice_is_refused(library: Library) -> None:
    field = field_from("keep_topk", 5)
    assert "keep_topk is given twice" in driver.refusal(library, [field, field])


def test_64_bit_integers_are_taken_where_they_fit(library: Library) -> None:
    plugin = library.create([("keep_topk", I64, 1, np.int64(33).tobytes())])
    assert plugin is not None
    assert plugin.serialized() == fields_of(DEFAULTS | {"keep_topk": 33})
    for value in (2**31, 2**32 + 5, -(2**63)):
        message = driver.refusal(library, [("keep_topk", I64, 1, np.int64(value).tobytes())])
        assert f"field keep_topk: got {value}, expected a 32-bit integer" in message


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("terminators", [0, 1, 3])
def test_a_string_may_or_may_not_count_its_terminator(
    library: Library, activation: str, terminators: int
) -> None:
    data = activation.encode() + b"\0" * terminators
    plugin = library.create([("activation", CHAR, len(data), data)])
    assert plugin is not None
    assert plugin.serialized()[3] == field_from("activation", activation)


def params_strategy() -> st.SearchStrategy[PostprocessParams]:
    cuts = st.integers(0, 2**31 - 1)
    positive = st.floats(2**-100, 2**100, width=32)
    return st.builds(
        PostprocessParams,
        score_threshold=st.floats(-(2**100), 2**100, width=32),
        iou_threshold=st.floats(0, 1, width=32),
        variances=st.tuples(positive, positive),
        activation=st.sampled_from(["softmax", "sigmoid", "none"]),
        background_label=st.integers(-1, 1023),
        pre_nms_topk=cuts,
        keep_topk_per_class=cuts,
        keep_topk=cuts,
        pixel_offset=st.floats(0, 2**100, width=32),
        clip_boxes=st.booleans(),
    )


@settings(deadline=None, max_examples=60)
@given(params_strategy())
def test_serialised_state_rebuilds_the_plugin(params: PostprocessParams) -> None:
    library = driver.open_library()
    built = library.create_for(params)
    state = built.serialized()
    assert state == fields_from(params)
    rebuilt = built.library.create(state, driver.RUNTIME)
    assert rebuilt is not None
    assert rebuilt.serialized() == state
    assert rebuilt.timing_id == built.timing_id


@settings(deadline=None, max_examples=60)
@given(params_strategy(), params_strategy())
def test_the_timing_id_is_equal_only_for_equal_parameters(
    one: PostprocessParams, other: PostprocessParams
) -> None:
    library = driver.open_library()
    plugins = [library.create_for(params) for params in (one, other)]
    same_state = plugins[0].serialized() == plugins[1].serialized()
    assert (plugins[0].timing_id == plugins[1].timing_id) == same_state


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_each_field_is_part_of_the_timing_id(library: Library, name: str) -> None:
    plugins = [library.create(fields_of(DEFAULTS | more)) for more in ({}, {name: OTHERS[name]})]
    assert len({plugin.timing_id for plugin in plugins if plugin is not None}) == 2


def test_the_longest_description_is_complete(library: Library) -> None:
    small = np.float32(2**-126 * 1.1).item()
    params = PostprocessParams(
        -small, small, (small, small), "softmax", 1023, *[2**31 - 1] * 3, small, True
    )
    text = library.create_for(params, (small, small)).timing_id
    assert text.count("=") == len(FIELD_NAMES)
    assert float.fromhex(text.rpartition(",")[2]) == small


def test_copies_live_without_their_original(library: Library) -> None:
    original = library.create(fields_of(OTHERS))
    assert original is not None
    copies = [original.clone(), original.attach()]
    original.destroy()
    for copy in copies:
        assert copy.serialized() == fields_of(OTHERS)
        assert copy.clone().timing_id == copy.timing_id


@pytest.mark.parametrize("kind", [driver.PLAIN, driver.MIXED, driver.VERSIONED])
def test_messages_reach_the_logger_of_every_tensorrt(library: Library, kind: int) -> None:
    library.set_logger(kind)
    assert 'field "bogus" is unknown' in driver.refusal(library, [field_from("bogus", 1)])


@pytest.mark.parametrize("kind", [driver.NO_LOGGER, driver.FOREIGN])
def test_without_a_logger_messages_go_to_standard_error(
    library: Library, kind: int, capfd: pytest.CaptureFixture[str]
) -> None:
    library.set_logger(kind)
    assert library.create([field_from("bogus", 1)]) is None
    assert library.take_messages() == []
    assert 'DecodeNms: field "bogus" is unknown' in capfd.readouterr().err
