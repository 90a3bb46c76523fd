"""What documents point at: links, anchors, make targets; a check gives its faults, a line each."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


def documents(root: Path) -> list[Path]:
    """The Markdown files of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / name for name in listed.splitlines()]


def link_faults(path: Path, root: Path) -> list[str]:
    """Relative links of a document to files or headings that are not there."""
    faults = []
    for found in _LINK.finditer(_FENCED.sub("", path.read_text())):
        target = next(filter(None, found.groups()))
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or root not in (file, *file.parents):
            faults.append(f"{path.name}: {target} does not exist")
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text())):
            faults.append(f"{path.name}: {target} is no heading")
    return faults


def anchors(text: str) -> set[str]:
    """What headings are called in links: lower case, blanks as dashes, no other marks."""
    headings = re.findall(r"^#{1,6} (.+)$", _FENCED.sub("", text), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}


def target_faults(commands: list[str], root: Path) -> list[str]:
    """``make`` commands whose target the Makefile does not have."""
    makefile = (root / "Makefile").read_text()
    targets = {name for one in commands for name in re.findall(r"^make ([\w-]+)", one, re.M)}
    return [
        f"the Makefile has no target {target}"
        for target in sorted(targets)
        if not re.search(rf"^{re.escape(target)}:", makefile, re.M)
    ]


def workflow_commands(root: Path) -> list[str]:
    """What the steps of the hosted workflows run."""
    found = []
    for path in sorted((root / ".github" / "workflows").glob("*.yml")):
        jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
        found += [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    return found


def hook_commands(root: Path) -> list[str]:
    """What the hooks run, in a commit."""
    content = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    return [hook["entry"] for repo in content["repos"] for hook in repo["hooks"]]


def recipe(target: str, root: Path) -> list[str]:
    """The lines of a make target, with the folder of programs written out."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.M)
    assert found is not None, target
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]
