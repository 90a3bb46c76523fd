"""Small engines that tell what they are, and programs that build them, for races and kills."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from sidecars import sidecar_for

from ssd_small.artefacts.build_record import EngineFile
from ssd_small.artefacts.description import description_from_spec
from ssd_small.artefacts.engine_output import engine_output
from ssd_small.artefacts.sidecar import read_engine
from ssd_small.models.registry import get_spec


def write_engine(path: Path, text: str) -> None:
    """An engine that is a line of text, which its sidecar has as the version of the target."""
    description = description_from_spec(get_spec("mobilenet_v1"), 3, 0.1)
    content = text.encode()
    with engine_output(path) as (temporary, take):
        temporary.write_bytes(content)
        file = EngineFile(path.name, sha256(content).hexdigest(), len(content))
        take(sidecar_for(description, target_version=text, engine=file))


def text_of_engine(path: Path) -> str:
    """What :func:`write_engine` was told, which the two files must agree on.

    Raises:
        BadFile: the two are no pair.
    """
    sidecar, content = read_engine(path)
    assert content.decode() == sidecar.target_version
    return sidecar.target_version


#: kills a build before its k-th change of the file system, for every k, and prints what was found
#: after each kill; then builds again. Arguments: an empty folder, the state before
KILLS = """
import os, signal, sys
from pathlib import Path
from engine_pairs import text_of_engine, write_engine
from ssd_small.artefacts.sidecar import read_sidecar_file, sidecar_path
from ssd_small.system import temporary

# leftovers are looked for every time: removing them is a change too, and no matter of the clock
temporary._LOOKS_APART = 0

CHANGES = ("os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod",
           "os.truncate", "fcntl.lockf")

def killed_at(step, build):
    "Whether it was; else the build was over before."
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            flags = arguments[2] if event == "open" else 0
            if event in CHANGES or (isinstance(flags, int) and flags & os.O_ACCMODE):
                seen += 1
                if seen > step:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        try:
            build()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WIFSIGNALED(status), status
    return status != 0

folder, state = Path(sys.argv[1]), sys.argv[2]
step, again = 0, True
while again:
    path = folder / str(step) / "x.engine"
    if state != "nothing":
        write_engine(path, "old")
    if state == "killed":  # a build ended when its engine was in place, or just before that
        for first in range(100):
            killed_at(first, lambda: write_engine(path, "older"))
            if b'"replaces"' in sidecar_path(path).read_bytes():
                break
        else:
            raise AssertionError("no build was killed between the renames")
    again = killed_at(step, lambda: write_engine(path, "new"))
    there = text_of_engine(path) if path.exists() else "nothing"
    if there != "nothing":
        assert read_sidecar_file(sidecar_path(path)).target_version == there
    write_engine(path, "next")
    assert text_of_engine(path) == "next"
    assert b'"replaces"' not in sidecar_path(path).read_bytes()
    left = [one.name for one in path.parent.iterdir() if not one.name.endswith(".part")]
    assert sorted(left) == ["x.engine", "x.engine.json"], left
    print(there)
    step += 1
"""

#: builds and builds until a time. Arguments: engine, number of the builder, seconds
WRITER = """
import sys, time
from pathlib import Path
from engine_pairs import text_of_engine, write_engine
from ssd_small.system.locks import LockHeld
path, own, until, done, refused = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), 0, 0
until += time.monotonic()
while time.monotonic() < until:
    try:
        write_engine(path, f"{own}.{done}")
        done += 1
    except LockHeld:
        refused += 1
print(done, refused)
"""
