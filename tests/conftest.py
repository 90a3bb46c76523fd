"""Where shared data lies, and what the tests of several folders need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Commands under test hear Ctrl-C also where a shell started the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the outputs of the published implementation."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip("the golden outputs of the published implementation are not here")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real pictures and annotations."""
    folder = Path(os.environ.get("SSD_SMALL_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder.name}/ (set SSD_SMALL_DATA)")
    return folder


#: the generator of the golden inputs sorts with ties, and numpy's AVX-512 sort orders ties in
#: another way than the one the golden files were made with; the switch must precede the import
_GOLDEN_HEADS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from generate_inputs import heads
loc, scores = heads(np.load(sys.argv[2])["priors"])
np.savez(sys.argv[3], loc=loc, scores=scores)
"""


@pytest.fixture(scope="session")
def golden_heads(golden: Path, tmp_path_factory: pytest.TempPathFactory):
    """Function: name of a golden network -> (loc [P, 4], scores [P, 81]) of its generator."""
    folder = tmp_path_factory.mktemp("golden")

    def load(name: str) -> tuple[np.ndarray, np.ndarray]:
        target = folder / f"{name}.npz"
        if not target.exists():
            arguments = [str(golden), str(golden / f"{name}.npz"), str(target)]
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _GOLDEN_HEADS, *arguments],
                env={**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512_SKX"},
                check=True,
            )
        arrays = np.load(target)
        return arrays["loc"], arrays["scores"]

    return load
