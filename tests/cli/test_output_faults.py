"""Outputs that cannot be written, interruption, and readers that go away."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from full_disk import file_size_limit

from ssd_small import files, json_files


@pytest.fixture
def commands(checkpoint, onnx_file, engine, pictures, truth, saved, monkeypatch):
    """Name -> the command with every option but --output."""
    import onnx
    from ssd_small.export import to_onnx

    # tracing takes seconds; what is tested here is the writing
    model = onnx.load(onnx_file)
    monkeypatch.setattr(to_onnx, "onnx_from_network", lambda *arguments: model)
    gt = saved(truth)
    run = ("--engine", engine)
    return {
        "export": ("export", "--model", "mobilenet_v1", "--weights", checkpoint, "--output"),
        "build-engine": ("build-engine", onnx_file, "--output"),
        "detect": ("detect", *run, pictures / "a.jpg", "--output"),
        "eval": ("eval", *run, "--annotations", gt, "--images", pictures, "--save-detections"),
    }


NAMES = ("export", "build-engine", "detect", "eval")


@pytest.mark.parametrize("name", NAMES)
def test_output_below_a_file(name, call, commands, tmp_path):
    (tmp_path / "file").write_text("kept")
    call(*commands[name], tmp_path / "file" / "x" / "y").fails(4, "cannot write", "is a file")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", NAMES)
def test_output_in_a_read_only_folder(name, call, commands, tmp_path, monkeypatch):
    # root may write anywhere, so the answer of the system is given here
    opened = os.open

    def refuse(path, flags, *more, **options):
        if flags & os.O_CREAT and Path(path).parent == tmp_path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    said = call(*commands[name], tmp_path / "new" / "x").fails(4, "cannot write", "Read-only")
    assert f"{tmp_path} takes no file" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("name", NAMES)
def test_output_in_a_folder_that_only_seems_to_take_files(name, call, commands, monkeypatch):
    """The permissions of /proc allow root to write; the attempt fails, and before the work."""
    from ssd_small.export import target_onnxruntime, to_onnx

    from ssd_small.detection.detector import Detector

    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("the output was not tried before the work")

    monkeypatch.setattr(to_onnx, "onnx_from_network", work)
    monkeypatch.setattr(target_onnxruntime, "prepare", work)
    monkeypatch.setattr(Detector, "__call__", work)
    call(*commands[name], "/proc/x").fails(4, "cannot write /proc/x", "choose another --")


@pytest.mark.parametrize("folder", [".", "new"])
def test_trying_an_output_leaves_nothing_behind(folder, tmp_path):
    files.check_writable(tmp_path / folder / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["export", "build-engine", "eval"])
def test_output_that_is_a_folder_or_device(name, call, commands, tmp_path):
    call(*commands[name], tmp_path).fails(4, "it is a folder")
    call(*commands[name], "/dev/null").fails(4, "it is a device")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", NAMES)
def test_missing_output_folder_is_made(name, call, commands, tmp_path):
    output = tmp_path / "new" / "deep" / "x"
    call(*commands[name], output).fits()
    assert output.exists()


@pytest.mark.parametrize("name", NAMES)
def test_full_disk_leaves_nothing_behind(name, call, commands, tmp_path):
    output = tmp_path / "out" / "x"
    with file_size_limit(2000):
        outcome = call(*commands[name], output)
    outcome.fails(4, "cannot write", str(output), "free space")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["value.json"]


@pytest.mark.parametrize("name", ["export", "build-engine"])
def test_full_disk_keeps_the_older_file(name, call, commands, tmp_path):
    (tmp_path / "x").write_text("older")
    with file_size_limit(2000):
        call(*commands[name], tmp_path / "x").fails(4, "cannot write")
    assert (tmp_path / "x").read_text() == "older"
    assert not list(tmp_path.glob(".*"))


def test_engine_does_not_stay_without_its_sidecar(call, commands, tmp_path, monkeypatch):
    from ssd_small.artefacts.sidecar import Sidecar

    (tmp_path / "a.json").mkdir()
    call(*commands["build-engine"], tmp_path / "a").fails(4, "a.json", "it is a folder")

    def full(self: Sidecar) -> dict[str, object]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Sidecar, "to_dict", full)
    call(*commands["build-engine"], tmp_path / "b").fails(4, "b.json", "No space left")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "value.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_standard_output(spawn):
    with open("/dev/full", "w") as full:
        outcome = spawn("models", stdout=full)
    outcome.fails(4, "No space left")


def test_reader_that_goes_away_is_no_error(spawn):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        outcome = spawn("models", stdout=closed)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_interruption_leaves_nothing_behind(name, call, commands, tmp_path, monkeypatch):
    # raised where it hurts most: everything is written, nothing is in place yet
    written = []

    def interrupt(source, target):
        written.append(Path(source).stat().st_size)
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    outcome = call(*commands[name], tmp_path / "out" / "x")
    assert (outcome.code, written[0] > 0) == (130, True)
    assert outcome.err.split("\n")[-2] == "ssd-small: interrupted; nothing half-written was left"
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_ctrl_c_ends_a_running_command(engine):
    process = subprocess.Popen(
        [sys.executable, "-m", "ssd_small", "bench", "--engine", str(engine), "--seconds", "90"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        try:
            assert "measuring" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        except BaseException:
            process.kill()
            raise
    assert (process.returncode, out) == (130, "")
    lines = [line for line in err.splitlines() if line and "Warning" not in line]
    assert lines[-1] == "ssd-small: interrupted; nothing half-written was left"
    assert "Traceback" not in err


def test_ctrl_c_ends_with_its_exit_code_wherever_it_came_from(tmp_path):
    """An interrupt that passes through exec("...") makes ``python -m`` end by the signal."""
    (tmp_path / "interrupted.py").write_text(
        "from ssd_small import cli\n"
        "def load(*_): exec('raise KeyboardInterrupt')\n"
        "cli.import_module = load\n"
        "cli.main(['models'])"
    )
    run = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "ssd-small: interrupted; nothing half-written was left"


@pytest.mark.slow
def test_ctrl_c_in_the_demo_lets_its_command_clean_up(tmp_path):
    from ssd_small import demo

    witness = tmp_path / "cleaned"
    code = (
        "import pathlib, sys, time\n"
        "try: time.sleep(60)\n"
        f"except KeyboardInterrupt: time.sleep(.5); pathlib.Path({str(witness)!r}).touch()\n"
        "sys.exit(130)"
    )
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(SystemExit) as end:
        demo._run([sys.executable, "-c", code])
    assert end.value.code == 130
    assert witness.exists()


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "x.json"
    values = [[number] * 5000 for number in range(8)]
    threads = [threading.Thread(target=json_files.write_json, args=(path, v)) for v in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(path.read_text()) in values
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
