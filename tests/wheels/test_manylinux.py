"""The libraries in the wheels: what they need, and that they give the oracle's bits."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from build_manylinux import GLIBC
from golden_networks import NETWORKS, golden_heads, golden_outputs
from same_detections import assert_same

from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.detections import Detections
from ssd_small.postprocess.native import heads_from, params_from

pytestmark = pytest.mark.slow

PLUGIN_MAP = Path(__file__).resolve().parents[2] / "kernels" / "plugin" / "plugin_exports.map"
Case = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32], PostprocessParams]


def lines_of(*command: str | Path) -> list[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_libraries_are_for_the_processor_and_the_c_library_of_the_tag(
    processor: str, wheel: Path, native: Path
) -> None:
    assert f"-py3-none-manylinux_{GLIBC[0]}_{GLIBC[1]}_{processor}.whl" in wheel.name
    machine = {"x86_64": "X86-64", "aarch64": "AArch64"}[processor]
    libraries = sorted(native.glob("*.so"))
    assert "libssd_small.so" in {path.name for path in libraries}
    for path in libraries:
        assert any(f"{machine}" in line for line in lines_of("readelf", "-h", path)), path.name
        versions = re.findall(r"GLIBC_(\d+)\.(\d+)", "\n".join(lines_of("readelf", "-VW", path)))
        assert versions, path.name
        assert max((int(major), int(minor)) for major, minor in versions) <= GLIBC, path.name
        needed = re.findall(r"NEEDED.*\[(.*)\]", "\n".join(lines_of("readelf", "-dW", path)))
        assert not [name for name in needed if "stdc++" in name or "gcc" in name], path.name


def test_the_wheel_has_nothing_of_the_machine_it_was_made_on(wheel: Path) -> None:
    """Libraries of a checkout are of its own machine and must not come along."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "ssd_small/_native/libssd_small.so" in names
    assert "ssd_small/cli/__init__.py" in names
    assert not [name for name in names if name.endswith((".partial", ".pyc"))]


def test_the_plugin_exports_its_entry_points(native: Path) -> None:
    plugin = native / "libssd_small_plugin.so"
    if not plugin.exists():
        pytest.skip("not executed here: no cross compiler for a plugin, as make wheels said")
    symbols = "\n".join(lines_of("readelf", "--dyn-syms", "-W", plugin))
    wanted = PLUGIN_MAP.read_text().partition("global:")[2].partition("local:")[0]
    found = re.findall(r"GLOBAL DEFAULT +\d+ (\w+)$", symbols, re.M)
    assert sorted(found) == sorted(re.findall(r"\w+", wanted))


def golden_cases() -> Iterator[Case]:
    """The made-up heads of the golden outputs, as published."""
    for name in NETWORKS:
        priors = golden_outputs(name)["priors"]
        loc, scores = golden_heads(name)
        params = replace(PostprocessParams.coco(), activation="none")
        yield loc[None], scores[None], priors, params


def random_cases() -> Iterator[Case]:
    """Every activation and type of head, cuts, and values at which arithmetic goes wrong."""
    special = np.float32([0, -0.0, np.nan, np.inf, -np.inf, 88.8, -87.5, 1e-40, 3e38, -3e38])
    kinds = product(("softmax", "sigmoid", "none"), (np.float32, np.float16), (0.0, 1 / 300))
    for seed, (activation, kind, offset) in enumerate(kinds):
        rng = np.random.default_rng(seed)
        shape = 2, 1200 + seed, (2, 6, 21, 81)[seed % 4]
        sizes = rng.uniform(0.02, 0.4, (shape[1], 2))
        priors = np.concatenate([rng.uniform(0, 1, (shape[1], 2)), sizes], 1).astype(np.float32)
        loc = rng.normal(0, 1, (*shape[:2], 4)).astype(np.float32)
        conf = rng.normal(0, 3, shape).astype(np.float32)
        for array in (loc, conf):
            where = rng.random(array.shape) < 0.002
            array[where] = rng.choice(special, int(where.sum()))
        with np.errstate(over="ignore"):  # infinite halves are values as others
            loc, conf = loc.astype(kind), conf.astype(kind)
        cuts = {"pre_nms_topk": 0, "keep_topk": 0} if seed % 3 == 0 else {}
        yield (
            loc,
            conf,
            priors,
            PostprocessParams(
                activation=activation,  # type: ignore[arg-type]
                background_label=seed % 2 - 1,
                pixel_offset=offset,
                score_threshold=0.02,
                clip_boxes=seed % 4 > 1,
                **cuts,  # type: ignore[arg-type]
            ),
        )


def replayed(command: list[str | Path], cases: list[Case], threads: int) -> list[list[Detections]]:
    """Detections of each case, by the program that runs the library of the wheel."""
    text = b"".join(
        bytes(heads_from(loc, conf, priors, threads))
        + bytes(params_from(params))
        + loc.tobytes()
        + conf.tobytes()
        + priors.tobytes()
        for loc, conf, priors, params in cases
    )
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    results, at = [], 0

    def take(kind: type[np.generic], *shape: int) -> npt.NDArray[Any]:
        nonlocal at
        array = np.frombuffer(done.stdout, kind, int(np.prod(shape)), at).reshape(shape)
        at += array.nbytes
        return array

    for loc, *_ in cases:
        counts = take(np.int64, len(loc))
        total = int(counts.sum())
        arrays = (
            take(np.float32, total, 4),
            take(np.float32, total),
            take(np.int32, total),
            take(np.int32, total),
        )
        ends = np.cumsum(counts)[:-1].tolist()
        parts = zip(*(np.split(array, ends) for array in arrays), strict=True)
        results.append([Detections(*part) for part in parts])
    assert at == len(done.stdout)
    return results


@pytest.mark.parametrize("kind", ["golden", "random"])
def test_the_host_library_gives_the_bits_of_the_oracle(
    processor: str, native: Path, replay: Path, emulator: Callable[..., list[str]], kind: str
) -> None:
    """On this processor, or for another one under qemu-user. No tolerance."""
    cases = list(golden_cases() if kind == "golden" else random_cases())
    command = [*emulator(processor), replay, native / "libssd_small.so"]
    expected = [decode_nms(*case, backend="numpy") for case in cases]
    assert sum(len(image) for case in expected for image in case) > 1000
    for threads in (1, 3):
        for found, wanted in zip(replayed(command, cases, threads), expected, strict=True):
            assert_same(found, wanted)


#: one of each level of x86-64 for which loops are compiled again (kernels/src/host_clones.h); with
#: x86-64-v4 no emulator does AVX-512, but the machine itself may have it. aarch64 has one version:
#: its vector instructions (NEON) belong to every such processor
LEVELS = {"baseline": "Nehalem", "v3": "Haswell"}


@pytest.mark.parametrize("level", LEVELS)
def test_so_does_each_of_its_versions_for_older_processors(
    processor: str, native: Path, replay: Path, emulator: Callable[..., list[str]], level: str
) -> None:
    if processor != "x86_64":
        return  # one version
    cases = list(random_cases())[::3]
    qemu = emulator(processor, "-cpu", LEVELS[level])
    for found, case in zip(
        replayed([*qemu, replay, native / "libssd_small.so"], cases, 1), cases, strict=True
    ):
        assert_same(found, decode_nms(*case, backend="numpy"))
