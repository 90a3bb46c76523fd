"""Report line coverage of the tests by package: ``coverage_by_room.py FILE.json [FOLDER...]``.

``make coverage`` ends with it; FOLDERs are those whose tests were run, if not all were.

Prints a table and writes the numbers with commit and date; CONTRIBUTING.md shows them if they are
kept as benchmarks/results/coverage.json.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from coverage import Coverage
from readme_tables import ROOT, table

from ssd_small.machine import commit_of


def rooms() -> dict[str, dict[str, int]]:
    """Statements and those that were run, by room."""
    coverage = Coverage(config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    statements: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for path in sorted(
        path for top in ("ssd_small", "export") for path in (ROOT / top).rglob("*.py")
    ):
        _, lines, _, missing, _ = coverage.analysis2(str(path))
        parts = path.relative_to(ROOT).parts
        room = "/".join(parts[: 2 if parts[0] == "ssd_small" and len(parts) > 2 else 1]) + "/"
        statements[room] += len(lines)
        run[room] += len(lines) - len(missing)
    return {room: {"lines": statements[room], "run": run[room]} for room in sorted(statements)}


def main() -> None:
    """Print the table and write the file."""
    found = rooms()
    today = datetime.now(timezone.utc).date().isoformat()
    tests = sys.argv[2:] or ["tests"]
    report = {"commit": commit_of(ROOT), "date": today, "tests": tests, "rooms": found}
    rows = [[room, one["lines"], f"{one['run'] / one['lines']:.1%}"] for room, one in found.items()]
    print(table(rows, "room|lines|run"))
    Path(sys.argv[1]).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
