"""The plugin in NVIDIA's own plugin registries, on a CPU; the first line of each test is a check.

Engines are neither built nor executed here: that needs a GPU.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from plugin_fields import FIELD_NAMES, FIRST_NAMES

from ssd_small.system.gpu import gpus

pytestmark = [pytest.mark.slow, pytest.mark.trt]

OURS = [["DecodeNms", version, "", "IPluginCreatorV3One"] for version in ("1", "2")]
KINDS = ["PLUGIN CREATOR_V3ONE", "PLUGIN", "PLUGIN_V3ONE_CORE", "PLUGIN_V3ONE_BUILD"]
KINDS += ["PLUGIN_V3ONE_RUNTIME"]


def test_load_library(run: Any) -> None:
    """`load_library` registers the creators; a second call says None and harms nothing."""
    assert run("start") == ([], [])
    assert run("load_library") == ([[True, False], OURS, True], [])


def test_ssd_small_loads_it(run: Any, shipped_pair: tuple[Path, Path]) -> None:
    """ssd-small loads it, and refuses other and absent files in one line."""
    (refused, creators), _ = run("by_ssd_small")
    assert creators == OURS
    assert len(refused) == 3
    for path, message in refused:
        assert message.startswith(f"{path} is not the plugin library of ssd-small (")
        assert message.count("\n") == 0


def test_create(run: Any) -> None:
    """Plugins are made from fields in both phases, an unknown field is refused by name."""
    (told, fields, clipping, refused), lines = run("create")
    for phase in ("BUILD", "RUNTIME"):
        assert told[phase]["interfaces"] == [[kind, 1, 0] for kind in KINDS]
        assert told[phase]["languages"] == ["CPP"] * 5
        assert told[phase]["name"] == ["DecodeNms", "1", ""]
        assert (told[phase]["outputs"], told[phase]["format_limit"]) == (5, 100)
        for text in told[phase]["texts"]:
            assert "variances=0x1p-1,0x1p-2 activation=sigmoid" in text
            assert "keep_topk=5" in text
    kinds = ["FLOAT32"] * 3 + ["CHAR"] + ["INT32"] * 4 + ["FLOAT32"]
    assert fields == [list(pair) for pair in zip(FIRST_NAMES, kinds, strict=True)]
    kinds += ["INT32", "FLOAT32"]
    assert clipping["fields"] == [list(pair) for pair in zip(FIELD_NAMES, kinds, strict=True)]
    assert clipping["name"] == ["DecodeNms", "2", ""]
    assert clipping["text"].endswith(" clip_boxes=1 clip_edges=0x1p+0,0x1p+0")
    assert refused is True
    assert lines == [
        'DecodeNms: field "keep_top" is unknown; the fields are those of PostprocessParams'
    ]


def test_interface_calls(run: Any) -> None:
    """Every interface call is answered, on the creator that the registry hands out."""
    told, lines = run("calls")
    assert lines == []
    assert told["creator"] == ["DecodeNms", "1", "", f"{KINDS[0]} 1.0"]
    assert told["plugin"][:3] == ["DecodeNms", "1", ""]
    assert told["plugin"][5:] == [f"{kind} 1.0" for kind in KINDS[1:]]
    assert told["copies"] == [True, told["plugin"][4]]
    assert told["types"] == [3, 0, 0, 3, 3]
    assert told["shapes"] == [[2], [2, 7, 4], [2, 7], [2, 7], [2, 7]]
    assert told["supports"] == [True] * 8
    assert (told["configure"], told["shape_change"], told["workspace"]) == (0, 0, True)


def test_round_trip(run: Any) -> None:
    """What is serialised makes the same plugin again in the runtime phase."""
    (again, text), lines = run("round_trip")
    assert lines == []
    assert again == text
    assert "pre_nms_topk=0 keep_topk_per_class=100 keep_topk=0 pixel_offset=0x1.b4e81cp-9" in text


def test_execution_of_the_host_build(run: Any, host_pair: tuple[Path, Path]) -> None:
    """`enqueue` gives the oracle's bits (host build), or says that there is no driver (shipped)."""
    (equal, counts), lines = run("execute", host_pair)
    assert (equal, lines) == ([True, True], [])
    assert counts == [20, 20]
    if gpus().devices:
        pytest.skip("not executed here: there is a GPU, to which made-up addresses would do harm")
    status, (line,) = run("refuse_to_execute")
    assert status != 0
    assert line.startswith("DecodeNms: launch failed: CUDA driver version")


def test_dlopen(run: Any) -> None:
    """`dlopen` of libssd_small_plugin_dlopen.so registers the same creator, of the plugin none."""
    assert run("load_plain") == ([], [])
    assert run("load_registering") == ([OURS, OURS, True], [])


def test_polygraphy(run: Any) -> None:
    """polygraphy's `load_plugins` of it registers it."""
    assert run("by_polygraphy") == (OURS, [])


def test_preload(run: Any, shipped_pair: tuple[Path, Path]) -> None:
    """Loaded before TensorRT (`LD_PRELOAD`, dlopen) it registers with the one that follows."""
    assert run("load_before_tensorrt", LD_LIBRARY_PATH="{libraries}") == (OURS, [])
    told, (line,) = run("load_before_tensorrt")
    assert told == []
    assert line.endswith("load TensorRT first, or name its folder in LD_LIBRARY_PATH")
    told, lines = run("start", LD_PRELOAD=str(shipped_pair[1]), LD_LIBRARY_PATH="{libraries}")
    assert (told, lines) == (OURS, [])
    told, lines = run("start", LD_PRELOAD=str(shipped_pair[0]), LD_LIBRARY_PATH="{libraries}")
    assert (told, lines) == ([], [])


def test_both(run: Any) -> None:
    """Both files in either order, and the library given back, leave a process that ends well."""
    assert run("both_orders") == ([True, OURS, True], [])
    (told, given_back, again), lines = run("both_orders_reversed")
    assert (told, given_back, lines) == (OURS, [], [])
    # TensorRT 11 keeps the first of two creators in its table of names when their library is given
    # back, and refuses that library from then on; 10 takes it again
    assert again in (OURS, [])


def test_wrong_files(run: Any, shipped_pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Other, absent and lonely libraries are refused without harm."""
    (told, creators), _ = run("wrong_files")
    assert len(told) == 3
    assert creators == []
    alone = tmp_path / shipped_pair[1].name
    shutil.copy2(shipped_pair[1], alone)
    (told, again, same), (line,) = run("load_registering", (shipped_pair[0], alone))
    assert (told, again, same) == ([], [], False)
    assert "DecodeNms is not registered" in line
    assert "expected libssd_small_plugin.so of the same release beside this file" in line
