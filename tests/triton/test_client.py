"""``ssd-small triton-client`` and the lines of the README, with a real Triton server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome
from test_server import KINDS, PROTOCOLS, ask
from triton_server import ONNX, PLAN, TritonServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Call = Callable[..., Outcome]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    "model",
    ["digits", "digits_ensemble", "framed", "framed_ensemble", "heads", "inline", PLAN],
)
def test_it_prints_what_detect_prints(
    model: str, form: tuple[str, ...], protocol: str, call: Call, server: TritonServer,
    pictures: list[Path],
) -> None:  # fmt: skip
    file = ONNX / {**KINDS, PLAN: "plain.onnx"}[model.removesuffix("_ensemble")]
    # one picture a call: rounding is another in other batches
    words = (*form, "--batch", 1, "--score-threshold", 0.3)
    expected = call("detect", "--engine", file, "--threads", 1, *pictures, *words).fits()
    url = f"{getattr(server, protocol)}/{model}"
    found = call("triton-client", url, *pictures, *words).fits()
    assert found.out == expected.out
    assert len(found.out.splitlines()) >= len(pictures)


def test_pictures_of_several_sizes_go_to_a_network_of_pictures(
    call: Call, server: TritonServer, pictures: list[Path]
) -> None:
    words = (*pictures, "--batch", 1, "--json")
    expected = call("detect", "--engine", ONNX / "any.onnx", "--threads", 1, *words).fits()
    assert call("triton-client", server.http, "--model", "any", *words).fits().out == expected.out


@pytest.mark.parametrize("model", ["digits", "digits_ensemble"])
def test_a_picture_that_cannot_be_read_costs_no_other(
    model: str, call: Call, server: TritonServer, pictures: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(pictures[0].read_bytes()[:900])
    absent = tmp_path / "absent.png"
    words = (pictures[0], bad, absent, pictures[1], "--json")
    outcome = call("triton-client", f"{server.http}/{model}", *words)
    assert outcome.code == 4
    entries = [json.loads(line) for line in outcome.out.splitlines()]
    assert [("error" in one, Path(one["image"]).name) for one in entries] == [
        (False, "0.png"), (True, "bad.png"), (True, "absent.png"), (False, "1.png"),
    ]  # fmt: skip
    assert "decode" in entries[1]["error"]
    assert "2 of 4 images could not be read" in outcome.err


def test_a_bad_picture_of_one_request_is_no_error_of_others_in_its_batch(
    server: TritonServer, pictures: list[Path]
) -> None:
    good, bad = pictures[0].read_bytes(), pictures[0].read_bytes()[:900]

    def one(content: bytes) -> int:
        picture = np.array([[content]], np.object_)
        try:
            answer = ask(server, "digits_ensemble", picture, name="picture")
        except Exception as error:
            return -1 if "decode" in str(error) else -2
        return int(answer.as_numpy("num_detections")[0, 0])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, [good, bad] * 8))
    assert set(found[1::2]) == {-1}
    assert len(set(found[::2])) == 1
    assert found[0] > 0


def test_the_ensemble_takes_batches_and_gives_pixels(
    server: TritonServer, pictures: list[Path]
) -> None:
    contents = np.array([[path.read_bytes()] for path in pictures], np.object_)
    answer = ask(server, "digits_ensemble", contents, name="picture")
    sizes, boxes = answer.as_numpy("size"), answer.as_numpy("boxes")
    assert len(np.unique(sizes, axis=0)) > 2
    for own, (height, width) in zip(boxes, sizes, strict=True):
        assert own.min() >= 0
        assert own[:, [0, 2]].max() <= width
        assert own[:, [1, 3]].max() <= height
        assert own.max() > 1, "pixels, not parts of the unit square"


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://127.0.0.1:9", 3, ("does not answer",)),
        ("grpc://127.0.0.1:9", 3, ("does not answer",)),
        ("{http}/absent", 4, ("has no such model", "--model")),
        ("{grpc}/absent", 4, ("has no such model", "--model")),
        ("{http}/digits_preprocess", 4, ("a step of an ensemble",)),
        ("{http}", 4, ("has the models", "--model")),
        ("{grpc}", 4, ("has the models", "--model")),
        ("ftp://127.0.0.1", 2, ("expected the address",)),
        ("http://127.0.0.1:99999", 2, ("expected the address",)),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    url: str, code: int, words: tuple[str, ...], call: Call, server: TritonServer,
    pictures: list[Path],
) -> None:  # fmt: skip
    place = url.format(http=server.http, grpc=server.grpc)
    outcome = call("triton-client", place, pictures[0], "--timeout", 5)
    outcome.fails(code, *words)
    assert len(outcome.err.splitlines()) == 1


def test_of_the_only_network_and_its_ensemble_the_ensemble_is_asked(
    call: Call, start: Callable[..., TritonServer], pictures: list[Path]
) -> None:
    server = start("--model-control-mode=explicit", "--load-model=digits_ensemble")
    expected = call("triton-client", f"{server.http}/digits_ensemble", pictures[0], "--json").fits()
    found = call("triton-client", server.http, pictures[0], "--json").fits()
    assert found.out == expected.out
    assert server.end() == 0


def test_the_lines_of_the_readme_run_as_they_stand(
    server: TritonServer, written: Path, pictures: list[Path], tmp_path: Path
) -> None:
    text = (ROOT / "README.md").read_text().partition("### Triton\n")[2].partition("\n## ")[0]
    (tmp_path / "picture.jpg").write_bytes(pictures[0].read_bytes())
    (tmp_path / "models").symlink_to(written)
    shell, python = (
        re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[-1] for kind in ("shell", "python")
    )
    for own, place in (("http://127.0.0.1:8000", server.http), ("127.0.0.1:8000", server.http[7:])):
        shell, python = shell.replace(own, place), python.replace(own, place)
    done = subprocess.run(
        ["sh", "-ec", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"name":"digits_ensemble"' in done.stdout
    assert b'"num_detections"' in (tmp_path / "answer").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", python],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 2
