"""Versions 1 and 2 of the plugin: what is the first one's stays as it was, to the byte."""

from __future__ import annotations

import pytest
from plugin_driver import Library, library_of_version, refusal
from plugin_fields import FIELD_NAMES, FIRST_NAMES, field_from, fields_from

from ssd_small.postprocess import PostprocessParams

#: what version 2 has and version 1 has not
ADDED = {"clip_boxes": True, "clip_edges": (2.5, 0.75)}


@pytest.fixture
def first() -> Library:
    return library_of_version(1)


@pytest.fixture
def library() -> Library:
    return library_of_version(2)


def test_version_2_adds_two_fields() -> None:
    assert [*FIRST_NAMES, *ADDED] == FIELD_NAMES


@pytest.mark.parametrize("version", [1, 2])
def test_creator_and_plugin_say_who_they_are(version: int) -> None:
    library, name = library_of_version(version), ["DecodeNms", str(version), ""]
    assert library.creator_texts() == [*name, "PLUGIN CREATOR_V3ONE 1.0"]
    plugin = library.create([])
    assert plugin is not None
    for one in (plugin, plugin.clone(), plugin.attach()):
        assert one.texts()[:3] == name
    texts = plugin.texts()
    assert texts[5:] == [
        "PLUGIN 1.0",
        "PLUGIN_V3ONE_CORE 1.0",
        "PLUGIN_V3ONE_BUILD 1.0",
        "PLUGIN_V3ONE_RUNTIME 1.0",
    ]


def test_version_1_has_what_it_always_had(first: Library) -> None:
    params = PostprocessParams()
    assert [name for name, *_ in first.announced_fields()] == FIRST_NAMES
    plugin = first.create([])
    assert plugin is not None
    assert plugin.serialized() == fields_from(params, version=1)
    # engines and timing caches that there are know it by these bytes
    assert plugin.timing_id == (
        "DecodeNms/1 score_threshold=0x1.47ae14p-7 iou_threshold=0x1.333334p-1 "
        "variances=0x1.99999ap-4,0x1.99999ap-3 activation=softmax background_label=0 "
        "pre_nms_topk=400 keep_topk_per_class=100 keep_topk=200 pixel_offset=0x0p+0"
    )


@pytest.mark.parametrize("name", list(ADDED))
def test_version_1_refuses_what_it_does_not_know(first: Library, name: str) -> None:
    message = refusal(first, [*fields_from(PostprocessParams()), field_from(name, ADDED[name])])
    assert f'field "{name}" is unknown' in message


def test_version_2_says_what_it_clips_at(library: Library) -> None:
    text = library.create_for(PostprocessParams(clip_boxes=True), (2.5, 1.0)).timing_id
    assert text.startswith("DecodeNms/2 score_threshold=0x1.47ae14p-7 ")
    assert text.endswith(" clip_boxes=1 clip_edges=0x1.4p+1,0x1p+0")
