"""Engines of TensorRT-RTX, built through the command line by NVIDIA's own code, without a GPU.

Execution of what is built needs a GPU: tests marked gpu, not executed here.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from engine_builds import Command, Exported, build
from plans import batches_of_plan

from ssd_small.cli.options import counted
from ssd_small.files import sha256_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.trt

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_the_same_input_gives_the_same_sidecar(exported: Exported, tmp_path: Path) -> None:
    """In processes of their own, whose sets and dictionaries are ordered differently."""
    onnx_file = exported("mobilenet_v1")
    sidecars = []
    for seed in ("1", "2"):
        output = tmp_path / seed / "x.engine"
        options = ["--precision", "fp16", "--max-batch", "4", "--opt-batch", "2", "--tf32"]
        command = ["build-engine", onnx_file, "--target", "tensorrt-rtx", "-o", output, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "ssd_small", *command, *options],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        # nothing but JSON where nobody looks at a terminal
        assert (done.returncode, done.stderr) == (0, "")
        values = json.loads(done.stdout)
        assert values.pop("file") == str(output)
        assert values == json.loads(Path(f"{output}.json").read_text())
        assert values.pop("seconds") > 0
        assert values["engine"].pop("sha256") == sha256_of(output)
        sidecars.append(values)
    assert sidecars[0] == sidecars[1]
    assert sidecars[0]["batch"] == {"min": 1, "opt": 2, "max": 4}
    assert sidecars[0]["options"]["tf32"] is True
    # without a GPU and without a capability asked for
    assert "8.6" in sidecars[0]["compute_capabilities"]


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_what_was_built_is_printed_with_its_receipt(
    exported: Exported, call: Command, tmp_path: Path
) -> None:
    output = tmp_path / "x.engine"
    arguments = ("build-engine", exported("mobilenet_v1"), "--target", "tensorrt-rtx")
    batches = ("--min-batch", "2", "--opt-batch", "5", "--max-batch", "7")
    done = call(*arguments, *batches, "--precision", "fp16", "-o", output)
    assert done.code == 0, done.err
    receipt = json.loads(Path(f"{output}.json").read_text())["receipt"]
    first, tensors, plan, check = done.out.splitlines()
    assert re.fullmatch(
        rf"{output}: tensorrt-rtx \S+ for .*, fp16, \d+\.\d MB, built in .* s", first
    )
    share = f"{receipt['half_share']:.0%} of the floating-point tensors are Half"
    assert tensors == f"precision receipt: {share} ({counted(receipt['tensors'])})"
    assert plan == f"read from the plan: {counted(receipt['plan_tensors'])}"
    assert re.fullmatch(
        r"fp16 against fp32 on 3 .*: loc max .*, mean .*; conf max .*, mean .*", check
    )
    told = r"; \d+ detections differ of \d+, 0 of them unexplained by the heads: equal$"
    assert re.search(told, check)
    assert batches_of_plan(output.read_bytes()) == [2, 5, 7]


class Terminal(io.StringIO):
    """What a progress line is shown on."""

    def isatty(self) -> bool:
        return True


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_a_terminal_shows_the_phase_and_the_elapsed_time(
    exported: Exported,
    call: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = build(call, exported("mobilenet_v1"), tmp_path / "x.engine")
    assert done.code == 0
    lines = terminal.getvalue().split("\r\x1b[K")
    # the line is gone at the end
    assert (lines[0], lines[-1]) == ("", "")
    shown = [re.fullmatch(r" *(\d+\.\d) s +(\d+)%  (.+)", line) for line in lines[1:-1]]
    assert all(shown)
    times, shares, phases = zip(*(m.groups() for m in shown if m), strict=True)
    assert sorted(times, key=float) == list(times)
    assert phases[0] == "Preparing the network"
    # NVIDIA's names differ between versions, that it has some does not
    assert len(set(phases)) >= 2
    assert max(map(int, shares)) <= 100
    assert json.loads(done.out)["target"] == "tensorrt-rtx"


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_the_builder_s_whole_log_can_be_shown(
    exported: Exported, call: Command, tmp_path: Path
) -> None:
    done = build(call, exported("mobilenet_v1"), tmp_path / "x.engine", "--verbose")
    assert done.code == 0, done.err[-2000:]
    assert done.json["target"] == "tensorrt-rtx"
    # in it the names of fused layers are joined by a separator of records, shown as such
    assert "\\u001e" in done.err
    assert "\x1e" not in done.err


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_an_engine_that_ends_in_the_heads_needs_no_plugin(
    exported: Exported,
    call: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "absent.so"))
    output = tmp_path / "x.engine"
    done = build(call, exported("mobilenet_v1"), output, "--heads")
    assert done.code == 0, done.err
    assert done.json["plugin"] is None
    assert done.json["description"]["has_decode_nms"] is False
    assert b"DecodeNms" not in output.read_bytes()
    inspected = call("inspect", output)
    assert inspected.code == 0
    assert re.search(r"conf +output +FLOAT +1\.\.8 2990 81", inspected.out)


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_third_party_builds_from_the_plugin_only_file(
    precision: str,
    call: Command,
    plugin_library: Path,
    tmp_path: Path,
) -> None:
    import onnx
    from ssd_small.export.target_tensorrt import child_environment

    onnx_file = tmp_path / "x.onnx"
    arguments = ["--model", "mobilenet_v1", "--random-weights", "--width", "0.25"]
    done = call(*("export", *arguments, "--plugin-only", "--precision", precision, "-o", onnx_file))
    assert done.code == 0, done.err
    model = onnx.load(onnx_file)
    assert not model.functions
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    half = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT
    assert types["loc"] == types["conf"] == half
    environment = child_environment("tensorrt_rtx", tmp_path / "lib")
    plain = subprocess.run(
        [sys.executable, "plain_build.py", plugin_library, onnx_file, tmp_path / "x.plan"],
        cwd=HERE,
        env={key: value for key, value in environment.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert plain.returncode == 0, plain.stdout + plain.stderr
    report = json.loads(plain.stdout.splitlines()[-1])
    assert next(row[0] for row in report["outputs"]) == "num_detections"
    assert report["plan_bytes"] > 1_000_000
    assert batches_of_plan((tmp_path / "x.plan").read_bytes()) == [1, 8, 8]


@pytest.mark.parametrize("script", ["plain_build.py", "plain_create.py"])
def test_a_third_party_s_script_has_nothing_of_ours(script: str) -> None:
    tree = ast.parse((HERE / script).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "tensorrt_rtx" in imported
    assert imported <= {"json", "sys", "numpy", "tensorrt_rtx"}


@pytest.mark.slow
def test_doctor_says_what_is_missing_to_run_an_engine(
    exported: Exported,
    call: Command,
    with_plugin: Path,
    tmp_path: Path,
    needs_rtx: None,
) -> None:
    from ssd_small.system.gpu import gpus

    if gpus().devices:
        pytest.skip("not executed here: there is a GPU")
    output = tmp_path / "x.engine"
    assert build(call, exported("mobilenet_v1"), output).code == 0
    done = call("doctor", output, "--json")
    assert done.code == 3
    assert done.json["runs_here"] is False
    found = {f["subject"]: f for f in done.json["engine"]}
    assert found["plugin"]["fine"]
    assert not found["GPU"]["fine"]
    assert all(f["remedy"] for f in done.json["engine"] if not f["fine"])
    inspected = call("inspect", output, "--json")
    assert inspected.code == 0
    names = [t["name"] for t in inspected.json["tensors"]]
    assert names == ["images", "num_detections", "boxes", "scores", "labels", "prior_indices"]
    assert inspected.json["layers"] is None
    assert "no NVIDIA driver" in inspected.json["unknown"] or inspected.json["unknown"]
    text = call("doctor", output)
    assert f"{output} cannot run here" in text.out
