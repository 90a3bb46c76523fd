"""What a process does beyond its folder and its machine, as strace saw it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

#: what changes files; "?" since not every architecture has each
_CHANGES = (
    *("?open", "openat", "?openat2", "?creat", "?mkdir", "mkdirat", "?rename", "?renameat"),
    *("renameat2", "?link", "linkat", "?symlink", "symlinkat", "?unlink", "unlinkat", "truncate"),
)
_SYSTEM_CALL = re.compile(r"^(\w+)\((.*)", re.DOTALL)
_ADDRESS = re.compile(r'inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)"')
#: a path with the folder that it is relative to, which strace -y shows
_PATH = re.compile(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_CUT = " <unfinished ...>"


@cache
def can_trace() -> bool:
    """Whether strace is there and the system lets it trace."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    return done.returncode == 0


@cache
def can_leave_the_network() -> bool:
    """Whether a process may have a network of its own, which leads nowhere."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


#: before a command: a network without a way out
ALONE = ("unshare", "--map-root-user", "--net")


def trace(
    command: Sequence[object], file: Path, *, cwd: Path, env: Mapping[str, str], alone: bool = False
) -> str:
    """Standard output of a command; the calls of all its processes go to ``file``."""
    calls = ",".join(("%network", *_CHANGES))
    # Python reads hundreds of files: a kernel that can passes over what is not asked for
    strace = ("strace", "-f", "-y", "-s", "4096", "--seccomp-bpf", "-o", file, "-e", calls)
    words = [str(word) for word in (*(ALONE if alone else ()), *strace, *command)]
    done = subprocess.run(
        words, cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def words_sent(file: Path) -> list[str]:
    """Calls that name an address beyond this machine."""
    spoken = (call for call in _calls(file) if call.startswith(("connect(", "send")))
    return [call for call in spoken if any(map(_is_elsewhere, _ADDRESS.findall(call)))]


def _is_elsewhere(address: tuple[str, str]) -> bool:
    """Whether an address of IPv4 or of IPv6, the other being empty, is not this machine's."""
    return not address[0].startswith("127.") and address[1] != "::1"


def changes_outside(file: Path, cwd: Path, allowed: Sequence[Path]) -> list[str]:
    """Files and folders that were written, made, moved or removed outside of ``allowed``."""
    inside = (*allowed, Path("/dev"), Path("/proc"))
    found = []
    for call in _calls(file):
        if " = -1 " in call or (
            call.startswith(("open", "openat")) and not re.search("O_WRONLY|O_RDWR|O_CREAT", call)
        ):
            continue
        for folder, name in _PATH.findall(call):
            path = Path(os.path.normpath(Path(folder or cwd) / name))
            if not any(path.is_relative_to(one) for one in inside):
                found.append(str(path))
    return found


def _calls(file: Path) -> Iterator[str]:
    """Each system call on one line, also where another process spoke in the middle of it."""
    begun: dict[str, str] = {}
    for line in file.read_text(errors="replace").splitlines():
        process, _, text = line.partition(" ")
        text = text.lstrip()
        if text.endswith(_CUT):
            begun[process] = text.removesuffix(_CUT)
            continue
        if text.startswith("<... "):
            text = begun.pop(process, "") + text.partition(" resumed>")[2]
        if _SYSTEM_CALL.match(text):
            yield text
    yield from begun.values()
