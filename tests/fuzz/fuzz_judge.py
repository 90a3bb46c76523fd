"""What is wrong with how a command ended, whatever its input was."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from fuzz_case import NOTHING
from fuzz_process import MEMORY, Ended

ERROR = "ssd-small: error: "
#: longest line on standard error: two names of 255 bytes, a quoted value and advice take less
LONGEST_LINE = 2000
#: exit codes of --help, and of signals that a command heard
CODES = {0, 1, 2, 3, 4, 129, 130, 143}
#: options that name what is written
OUTPUTS = {"-o", "--output", "--fix", "--save-detections", "--timing-cache", "--report"}
#: commands that write one file (with its sidecar) or none
WHOLE_OR_NOTHING = {"export", "convert", "convert-voc", "build-engine"}
#: commands that say "no" on standard output, with an exit code and no error
VERDICTS = {"check-data": {1}, "doctor": {1, 3}}
#: neither a line break nor a tab: control characters, and marks that turn the direction of text
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: lines of standard error that are ours: errors, notes, details below an error, progress
_OURS = re.compile(
    r"(ssd-small: |note: |  |$|measuring |.*: \d+ images, \d+ boxes$"
    r"|.*: \d+ frames(, [0-9.]+ frames/s)?$)"
)


def faults(ended: Ended, folder: Path) -> list[str]:
    """Kinds of failure, each with what shows it; empty where all is as promised."""
    found = _how_it_ended(ended)
    if not found:
        found = [*_said(ended, _logged(folder)), *_left(ended, folder)]
    if ended.case.change == NOTHING and ended.code != 0:
        found.append(f"a good input refused: {_tail(ended.err)}")
    if ended.arguments == ended.case.then and ended.code not in (0, 1):
        found.append(f"output not readable: {_tail(ended.err)}")
    return found


def _how_it_ended(ended: Ended) -> list[str]:
    found = []
    if ended.timed_out or ended.code in (-signal.SIGXCPU, -signal.SIGKILL):
        found.append("hang: ended for taking too long")
    elif ended.code < 0:
        found.append(f"crash: {signal.Signals(-ended.code).name}")
    elif ended.code not in CODES:
        found.append(f"exit code: {ended.code}")
    if b"Traceback (most recent call last)" in ended.err + ended.out:
        found.append(f"traceback: {_tail(ended.err)}")
    if ended.memory > MEMORY or b"MemoryError" in ended.err or b"bad_alloc" in ended.err:
        found.append(f"memory: {ended.memory / 2**30:.1f} GiB")
    return found


def _said(ended: Ended, logged: set[str]) -> list[str]:
    found = []
    lines = ended.err.decode("utf-8", "surrogateescape").split("\n")
    text = "\n".join(lines)
    errors = [line for line in lines if line.startswith(ERROR)]
    foreign = [line for line in lines if not _OURS.match(line) and line not in logged]
    if ended.code == 0 and errors:
        found.append(f"exit 0 with an error: {errors[0]}")
    may_be_mute = {*VERDICTS.get(ended.case.command, set()), 129, 130, 143}
    if ended.code and not errors and ended.code not in may_be_mute and ended.arguments:
        found.append(f"no error line: exit {ended.code}, {_tail(ended.err)}")
    if len(errors) > 1:
        found.append(f"error lines: {len(errors)}, {errors[1]}")
    if foreign and ended.arguments:
        found.append(f"foreign line: {foreign[0][:200]}")
    long = [line for line in lines if len(line) > LONGEST_LINE]
    if long:
        found.append(f"long line: {len(long[0])} characters")
    if "internal error" in text.lower():
        found.append(f"internal error: {_tail(ended.err)}")
    raw = _RAW.search(text) or _RAW.search(ended.out.decode("utf-8", "replace"))
    if raw:
        found.append(f"raw control character: {raw[0]!r}")
    if ended.code == 0 and "--json" in ended.arguments:
        found += _json_faults("standard output", ended.out)
    return found


def _logged(folder: Path) -> set[str]:
    """Lines that a training wrote into its log, and shows as well."""
    logs = folder.rglob("train.log")
    return {line for log in logs for line in log.read_text("utf-8", "replace").splitlines()}


def _left(ended: Ended, folder: Path) -> list[str]:
    before, after = ended.before, ended.after
    found = []
    asked, read = _named(ended.arguments)
    changed = [
        path
        for path, said in before.items()
        if _in(path, "in") and after.get(path) != said and (_at(path, read) or not _at(path, asked))
    ]
    if changed:
        found.append(f"input changed: {changed[0]}")
    new = [path for path in after if path not in before]
    left = [
        path
        for path in new
        if _is_temporary(path) or not (_in(path, "out", "home") or _at(path, asked | read))
    ]
    if left:
        found.append(f"left behind: {left[0]}")
    out = {path: said for path, said in after.items() if _in(path, "out")}
    was = {path: said for path, said in before.items() if _in(path, "out")}
    if ended.code >= 2 and ended.case.command in WHOLE_OR_NOTHING and out != was:
        found.append(
            f"output in spite of an error: {sorted(set(out.items()) ^ set(was.items()))[0]}"
        )
    for path in out:
        written = path.endswith(".json") and out[path] != was.get(path) and ended.code in (0, 1)
        if written and (folder / path).is_file():
            found += _json_faults(path, (folder / path).read_bytes())
    return found


def _named(arguments: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Paths that a command line names: as outputs, and otherwise."""
    asked, read = set(), set()
    for before, word in zip(("", *arguments), arguments, strict=False):
        option, equals, value = word.partition("=")
        if not equals or not word.startswith("-"):
            option, value = before, word
        (asked if option in OUTPUTS else read).add(os.path.normpath(value))
    return asked, read


def _at(path: str, named: set[str]) -> bool:
    """Whether it is one of them, inside one, or the sidecar of one."""
    return not named.isdisjoint([path, path.removesuffix(".json"), *map(str, Path(path).parents)])


def _in(path: str, *rooms: str) -> bool:
    return path.split(os.sep)[0] in rooms


def _is_temporary(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(".part") or name.startswith((".ssd-small", "ssd-small-", ".set-"))


def _json_faults(where: str, content: bytes) -> list[str]:
    """JSON as others read it: without NaN and infinities; a value, or one on each line."""

    def refuse(name: str) -> None:
        raise ValueError(f"it has {name}")

    try:
        json.loads(content, parse_constant=refuse)
    except ValueError as whole:
        try:
            for line in content.splitlines():
                json.loads(line, parse_constant=refuse)
        except ValueError:
            return [f"not JSON: {where}, {whole}"]
    return []


def _tail(err: bytes) -> str:
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing on standard error"
