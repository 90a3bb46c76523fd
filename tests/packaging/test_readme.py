"""What the README shows is what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cuda_compiler import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_figures_are_those_of_the_result_files() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "render_readme.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_architectures_are_those_compiled_for() -> None:
    assert f"sm_{ARCHITECTURES[0]} to sm_{ARCHITECTURES[-1]}" in README


@pytest.mark.slow
def test_the_commands_for_own_data_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    (tmp_path / "ssd_small").symlink_to(ROOT / "ssd_small")
    for line in "".join(blocks).strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "ssd-small"
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert list((tmp_path / "pictures").iterdir())


@pytest.mark.slow
def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    """What ``make demo`` does after installing; it fails if an engine's mAP is not PyTorch's."""
    command = [str(Path(sys.executable).with_name("ssd-small")), "demo", "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mobilenet_v1_s1l0" in done.stdout
    assert len(list((tmp_path / "out" / "pictures").iterdir())) >= 4


@pytest.mark.slow
def test_the_lines_for_network_and_post_processing_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    import ssd_small

    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    (block,) = (block for block in blocks if "create_model(" in block)
    name = "mobilenet_v1"  # the smallest network in the place of the one shown
    code = block.replace("vgg16_s1l2_dual", name)
    assert name in code
    monkeypatch.chdir(tmp_path)
    torch.save(ssd_small.create_model(name).state_dict(), f"{name}.pth")
    values = {"images": torch.zeros(1, 3, 300, 300)}
    exec(code, values)
    (found,) = values["found"]
    assert found.boxes.shape == (len(found), 4)


def test_the_python_lines_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    first, *own = (block for block in blocks if "ssd_small.load(" in block or "found.png" in block)
    for name in ("benchmarks", "ssd_small"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {}
    exec(first, values)
    assert values["one"].name in "0123456789"
    assert len(own) == 2
    for block in own:
        exec(block, values)
    assert set(values["found"][0].names) >= {"RBC", "WBC"}
    assert (tmp_path / "found.png").is_file()


@pytest.mark.parametrize("name", re.findall(r"^\| `ssd-small ([a-z][a-z-]*)`", README, re.M))
def test_every_listed_command_exists(name: str) -> None:
    from ssd_small.cli import cli

    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help


def test_every_command_is_listed() -> None:
    from ssd_small.cli import cli

    listed = set(re.findall(r"^\| `ssd-small ([a-z][a-z-]*)`", README, re.M))
    assert listed == set(cli.list_commands(None))  # type: ignore[arg-type]


def test_the_table_of_runtimes_follows_the_result_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme_support

    def state(platform: str, *verdicts: str, target: str = "onnxruntime") -> str:
        rows = [{"network": "x", "precision": "fp32", "verdict": verdict} for verdict in verdicts]
        return readme_support.state(target, "fp32", platform, {(target, "fp32", platform): rows})

    assert state("x86_64", "equal", "equal") == "validated: 2 of 2 runs equal"
    assert state("x86_64", "equal", "different") == "DIFFERENT: 1 of 2 runs equal"
    assert state("aarch64") == "available: not executed here"
    assert state("aarch64", target="tensorrt-rtx") == "blocked: no package for it"
    assert "engines built, none executed" in state("x86_64", target="tensorrt-rtx")
    assert state("x86_64", target="tensorrt").startswith(
        "blocked: built and executed only on a GPU"
    )
    assert readme_support.results_seen()["onnxruntime", "fp32", "x86_64"]
    changes = {("openvino", "int8", "x86_64"): [{"change": 0.002}, {"change": -0.001}]}
    told = readme_support.state("openvino", "int8", "x86_64", changes)
    assert told == "measured: AP changes by -0.0010 to +0.0020 in 2 networks"
