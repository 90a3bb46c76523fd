"""The lower bounds of setup.cfg as pip constraints: ``python tests/lowest/lower_bounds.py``.

``make test-lowest`` installs exactly these, and ``--check`` looks whether they are what it got.
Each bound is a release that exists, so that ``name >=1.2`` becomes ``name==1.2``.
"""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: what users do not install, what PyPI does not have whole, what has an environment of its own
#: (make test-triton), what no command imports, and what only names other extras
LEFT_OUT = ("all", "nvcc", "test", "tensorrt", "triton", "tensorflow")
_LINE = re.compile(r"(?P<name>[\w.-]+) *>=(?P<version>[\w.]+)(, *<[\w.]+)? *(?P<marker>;.*)?")


def requirements(setup_cfg: Path = ROOT / "setup.cfg") -> dict[str, list[str]]:
    """Requirement lines by extra; those of the package itself under an empty name."""
    config = ConfigParser()
    config.read(setup_cfg)
    lines = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    kept = {extra: text for extra, text in lines.items() if extra not in LEFT_OUT}
    return {
        extra: [line for line in text.splitlines() if line and not line.startswith("#")]
        for extra, text in kept.items()
    }


def constraints(requirements: dict[str, list[str]]) -> list[str]:
    """``name==version`` for each requirement; ValueError for one without a lower bound."""
    bounds: dict[str, str] = {}
    for extra, lines in requirements.items():
        for line in lines:
            found = _LINE.fullmatch(line)
            if found is None:
                raise ValueError(f"[{extra}] {line}: expected NAME >=VERSION")
            bound = f"{found['name']}=={found['version']} {found['marker'] or ''}".strip()
            if bounds.setdefault(found["name"], bound) != bound:
                raise ValueError(f"[{extra}] {line}: another extra says {bounds[found['name']]}")
    return sorted(bounds.values())


def other_releases(constraints: list[str]) -> list[str]:
    """What is installed here in another release than a constraint asks for."""
    found = []
    for constraint in constraints:
        name, _, wanted = constraint.partition(" ;")[0].strip().partition("==")
        try:
            own = version(name)
        except PackageNotFoundError:
            own = "none"
        # 1.24 is 1.24.0, and what stands behind a + is who built it
        if _shortest(own) != _shortest(wanted):
            found.append(f"{name} {own}, expected {wanted}")
    return found


def _shortest(release: str) -> str:
    return re.sub(r"(\.0)+$", "", release.partition("+")[0])


if __name__ == "__main__":
    bounds = constraints(requirements())
    if sys.argv[1:] == ["--check"]:
        sys.exit("\n".join(other_releases(bounds)) or 0)
    sys.stdout.write("\n".join(bounds) + "\n")
