"""What a call of the command line shows to its user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PREFIX = "ssd-small: error: "


@dataclass(frozen=True)
class Outcome:
    """What a user sees of one call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output of a call with ``--json``."""
        return json.loads(self.out)

    def fails(self, code: int, *words: str) -> str:
        """The one error line; it names ``words``, and no traceback is shown."""
        assert self.code == code, (self.code, self.err)
        lines = [line for line in self.err.splitlines() if line.startswith(PREFIX)]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in lines[0], (word, lines[0])
        return lines[0]

    def fits(self) -> Outcome:
        """The same, where the call succeeded."""
        assert self.code == 0, self.err
        assert PREFIX not in self.err
        return self
