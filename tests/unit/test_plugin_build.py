"""What the plugin tells the builder: types, formats, shapes, workspace."""

from __future__ import annotations

import itertools

import plugin_driver as driver
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plugin_driver import FLOAT, HALF, INT32, Library, Plugin, extents_of

from ssd_small.postprocess import PostprocessParams

OUTPUT_TYPES = [INT32, FLOAT, FLOAT, INT32, INT32]
ALL_TYPES = range(10)
LINEAR, VECTORISED = 0, 1


@pytest.fixture
def plugin(library: Library) -> Plugin:
    return library.create_for(PostprocessParams())


@pytest.mark.parametrize("heads", [FLOAT, HALF])
def test_output_types_do_not_depend_on_the_heads(plugin: Plugin, heads: int) -> None:
    assert plugin.output_types([heads, heads, FLOAT]) == OUTPUT_TYPES


def test_other_input_types_are_refused(plugin: Plugin, library: Library) -> None:
    fit = {(FLOAT, FLOAT, FLOAT), (HALF, HALF, FLOAT)}
    for types in itertools.product(ALL_TYPES, repeat=3):
        if types in fit:
            continue
        assert plugin.output_types(types) is None
        (message,) = library.take_messages()
        assert "expected" in message
        assert ("loc" in message) or ("priors" in message)


def test_another_number_of_inputs_is_refused(plugin: Plugin, library: Library) -> None:
    assert plugin.output_types([FLOAT] * 3, num_inputs=2) is None
    assert "got 2 inputs and 5 outputs, expected loc, conf, priors" in library.take_messages()[0]


def test_format_combinations(plugin: Plugin) -> None:
    """Position by position, as TensorRT asks: what is to the left has been accepted."""
    for heads in (FLOAT, HALF):
        right = [heads, heads, FLOAT, *OUTPUT_TYPES]
        for position, kind, form in itertools.product(range(8), ALL_TYPES, (LINEAR, VECTORISED)):
            types, formats = right.copy(), [LINEAR] * 8
            types[position], formats[position] = kind, form
            wanted = {FLOAT, HALF} if position == 0 else {right[position]}
            expected = form == LINEAR and kind in wanted
            assert plugin.supports(position, types, formats) == expected, (position, kind, form)
    for position in (-1, 8):
        assert not plugin.supports(position, [FLOAT] * 8, [LINEAR] * 8)


cuts = st.sampled_from([0, 0, 1, 3, 50, 400, 2**31 - 1])


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    params=st.builds(
        PostprocessParams,
        background_label=st.integers(-1, 12),
        pre_nms_topk=cuts,
        keep_topk_per_class=cuts,
        keep_topk=cuts,
    ),
    shape=st.tuples(st.integers(1, 8), st.integers(0, 500), st.integers(1, 12)),
    known=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@example(PostprocessParams.coco(), (2, 500, 11), (False, True, True))
@example(PostprocessParams.coco(), (2, 500, 11), (False, False, False))
def test_output_shapes_follow_max_detections(
    params: PostprocessParams, shape: tuple[int, int, int], known: tuple[bool, bool, bool]
) -> None:
    """For extents known to the builder and for symbolic ones."""
    n_known, p_known, c_known = known
    plugin = driver.open_library().create_for(params)
    batch, num_priors, num_classes = shape
    pattern = [n_known, p_known, True, n_known, p_known, c_known, p_known, True]
    outputs = plugin.output_shapes(extents_of(*shape), pattern)
    rows = params.max_detections(num_priors, num_classes)
    values = [[value for value, _ in output] for output in outputs]
    assert values == [[batch], [batch, rows, 4], *[[batch, rows]] * 3]
    assert all(output[0][1] == n_known for output in outputs)
    if p_known and c_known:  # then K is a number in the engine, not an expression
        assert all(output[1][1] for output in outputs[1:])
    assert outputs[1][2] == (4, True)


BAD_EXTENTS = {
    "loc without 4 coordinates": [1, 40, 5, 1, 40, 6, 40, 4],
    "conf of another batch": [2, 40, 4, 1, 40, 6, 40, 4],
    "conf of other priors": [1, 40, 4, 1, 41, 6, 40, 4],
    "priors of another number": [1, 40, 4, 1, 40, 6, 39, 4],
    "priors without 4 coordinates": [1, 40, 4, 1, 40, 6, 40, 3],
    "no class": extents_of(1, 40, 0),
    "too many classes": extents_of(1, 40, 1025),
    "too many priors": extents_of(1, 2**22 + 1, 6),
    "more priors than 32 bits": extents_of(1, 2**32 + 40, 6),
}


@pytest.mark.parametrize("extents", BAD_EXTENTS.values(), ids=BAD_EXTENTS.keys())
def test_inputs_that_do_not_fit_are_refused(
    plugin: Plugin, library: Library, extents: list[int]
) -> None:
    for function in (plugin.configure, plugin.on_shape_change):
        assert function(extents) != 0
        (message,) = library.take_messages()
        assert "expected" in message
    assert plugin.workspace_bytes(extents) == 0


def test_more_rows_than_can_be_counted_are_refused(library: Library) -> None:
    plugin = library.create_for(
        PostprocessParams(pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0, background_label=-1)
    )
    assert plugin.configure(extents_of(1, 2**22, 1024)) != 0
    assert "give 4294967296 rows per image; set keep_topk" in library.take_messages()[0]


@pytest.mark.parametrize("types", [(FLOAT, FLOAT, FLOAT), (HALF, HALF, FLOAT)])
def test_shapes_that_fit_are_taken(plugin: Plugin, types: tuple[int, int, int]) -> None:
    for extents in (extents_of(1, 40, 6), extents_of(8, 2**22, 1024), extents_of(1, 0, 1)):
        assert plugin.configure(extents, types) == 0
        assert plugin.on_shape_change(extents, types) == 0


@pytest.mark.parametrize("types", [(FLOAT, FLOAT, FLOAT), (HALF, HALF, FLOAT)])
@pytest.mark.parametrize("params", [PostprocessParams(), PostprocessParams.coco()])
def test_the_largest_batch_needs_the_most_workspace(
    library: Library, params: PostprocessParams, types: tuple[int, int, int]
) -> None:
    """TensorRT asks once, for the profile's largest shape, and runs every smaller one in it."""
    plugin = library.create_for(params)
    for num_priors, num_classes in ((1, 2), (2990, 91), (11620, 81), (42754, 81), (100, 1024)):
        sizes = [
            plugin.workspace_bytes(extents_of(batch, num_priors, num_classes), types)
            for batch in range(1, 9)
        ]
        assert sizes[0] > 0
        assert sizes == sorted(sizes)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(1, 2**18), min_size=2, max_size=8), st.integers(1, 200))
def test_the_most_priors_need_the_most_workspace(priors: list[int], num_classes: int) -> None:
    plugin = driver.open_library().create_for(PostprocessParams())
    priors.sort()
    sizes = [plugin.workspace_bytes(extents_of(2, count, num_classes)) for count in priors]
    assert sizes == sorted(sizes)
