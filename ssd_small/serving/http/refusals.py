"""Reasons why a request is not answered with detections."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request is refused.

    Attributes:
        status: HTTP status code.
        message: one line for the client.
        headers: additional headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


class Gone(Exception):
    """The client has closed the connection."""


def busy(message: str, seconds: int = 1) -> Refusal:
    """Refusal with status 503, and the time after which to try again."""
    return Refusal(503, message, {"Retry-After": str(seconds)})
