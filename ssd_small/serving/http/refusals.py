"""Why a request is not answered with detections."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request is refused.

    Attributes:
        status: of HTTP.
        message: one line for who has sent it.
        headers: that go with it.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


class Gone(Exception):
    """Whoever has sent the request has closed the connection."""


def busy(message: str, seconds: int = 1) -> Refusal:
    """503, with when to try again."""
    return Refusal(503, message, {"Retry-After": str(seconds)})
