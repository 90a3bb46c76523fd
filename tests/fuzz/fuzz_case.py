"""One input of the fuzzer: its files, the command line that meets them, and what became of both."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

#: files of every kind as this version reads them; see tests/artefacts
GOOD = Path(__file__).resolve().parents[1] / "artefacts" / "data" / "format-1"

#: the change of an input that must be accepted
NOTHING = "undamaged"


@dataclass(frozen=True)
class Case:
    """A command line and the place where it is run.

    Attributes:
        change: what is wrong with the input, in words.
        arguments: of ``ssd-small``; paths are relative to the folder of the case. Inputs lie in
            ``in`` and must stay as they are; outputs go to ``out``.
        environment: variables that are set, or taken away where the value is None.
        then: run where the first ended with 0; must end with 0 or 1, for it reads what was written.
        encoding: of the standard streams.
    """

    change: str
    arguments: tuple[str, ...]
    environment: dict[str, str | None] = field(default_factory=dict)
    then: tuple[str, ...] = ()
    encoding: str = "utf-8"

    @property
    def command(self) -> str:
        """The subcommand; empty where none is called."""
        return self.arguments[0] if self.arguments else ""

    def as_json(self) -> str:
        """The case, for the report of a failure."""
        return json.dumps(vars(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Case:
        """The case that ``as_json`` wrote."""
        fields = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


@dataclass(frozen=True)
class Place:
    """The folder of a case while it is made; it is the working folder."""

    folder: Path

    def write(self, name: str, content: bytes | str) -> str:
        """A file of ``in``; its path from the working folder."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        path.write_bytes(data)
        return f"in/{name}"

    def copy(self, source: Path, name: str | None = None, into: str = "in") -> str:
        """A copy of a good file or folder; its path from the working folder."""
        target = self.folder / into / (name or source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return f"{into}/{name or source.name}"


#: makes a case out of a random state, writing its files
Generator = Callable[[random.Random, Place], Case]


def snapshot(folder: Path) -> dict[str, str]:
    """Path -> what is there: kind, permissions and hash of the content; nothing is followed."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            mode = os.lstat(path).st_mode
            said = f"{stat.S_IFMT(mode):o}:{stat.S_IMODE(mode):o}"
            if stat.S_ISREG(mode):
                said += f":{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
            elif stat.S_ISLNK(mode):
                said += f":{os.readlink(path)}"
            found[os.path.relpath(path, folder)] = said
    return found
