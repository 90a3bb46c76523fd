"""What is said where the installed releases of other packages do not serve."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ssd_small.errors import MissingRequirement
from ssd_small.requirements import require

NOISE = "import sys\nsys.stderr.write('a page about NumPy\\n')\n"


def _module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_package_built_for_an_older_numpy_is_named_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = NOISE + "raise ImportError('numpy.core.multiarray failed to import')\n"
    _module(tmp_path, "cv2_of_old", text, monkeypatch)
    with pytest.raises(MissingRequirement, match=r"built for an older NumPy; .*'numpy<2'"):
        require("cv2_of_old", "reading images")
    assert capsys.readouterr().err == ""


def test_what_a_package_says_while_it_loads_is_shown_if_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _module(tmp_path, "talkative", NOISE, monkeypatch)
    require("talkative", "reading images")
    assert capsys.readouterr().err == "a page about NumPy\n"


def test_a_fault_of_the_exporter_is_a_line_that_names_the_releases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    to_onnx = pytest.importorskip("ssd_small.export.to_onnx")

    from ssd_small.artefacts.description import description_from_spec
    from ssd_small.models.network import create_model

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("many\nlines")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    net = create_model("mobilenet_v1", 3, 0.1)
    description = description_from_spec(net.spec, 3, 0.1)
    with pytest.raises(MissingRequirement) as caught:
        to_onnx.onnx_from_network(net, description)
    line = caught.value.command_line
    assert "\n" not in line
    for word in (
        f"torch {torch.__version__.partition('+')[0]}",
        "onnxscript ",
        "(RuntimeError)",
        ".[onnx]",
    ):
        assert word in line


SIGNATURE = (
    "onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const "
    "onnxruntime::logging::Logger&)"
)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from x.onnx failed:/src/graph/model.cc:"
            f"180 {SIGNATURE} Unsupported model IR version: 11, max supported IR version: 10\n",
            "Load model from x.onnx failed: Unsupported model IR version: 11, max supported IR "
            "version: 10",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:1730 Validate Initializer 'w': "
            "raw_data size (3 bytes) does not match",
            "Initializer 'w': raw_data size (3 bytes) does not match",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Failed to load model with error: "
            "/src/model_load_utils.h:46 void onnxruntime::model_load_utils::ValidateOpsetForDomain("
            "const std::string&, int) ONNX Runtime only *guarantees* support for models stamped "
            "with official released onnx opset versions. Opset 23 is under development and support "
            "for this is limited. Current official support for domain ai.onnx is till opset 21.\n",
            "Failed to load model with error: it reads operator sets up to opset 21, and this is "
            "in opset 23",
        ),
        ("", "RuntimeError"),
    ],
)
def test_messages_of_onnx_runtime_come_without_its_source_files(message: str, line: str) -> None:
    pytest.importorskip("numpy")
    from ssd_small.runtimes.onnxruntime import advice_from_reason, reason_from_error

    assert reason_from_error(RuntimeError(message)) == line
    advice = advice_from_reason(line, "export it again")
    assert ("--opset 19" in advice) == ("opset" in line or "IR version" in line)
