"""Settings of a server, and its fixed limits."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError

#: environment variable for the token, which is visible to all users on the command line (``ps``)
TOKEN_ENVIRONMENT = "SSD_SMALL_TOKEN"
#: most bytes of a picture as sent
MOST_BYTES = 64_000_000
#: most bytes of the multipart form around it
MOST_FORM = 64 * 1024
#: most bytes that are held for all requests together
MOST_HELD = 8 * MOST_BYTES
#: most bytes of a request's line and headers
MOST_HEAD = 16 * 1024
#: most simultaneous connections; systems let a process open about a thousand files
MOST_CONNECTIONS = 512
#: time limits in seconds: a request's line and headers, its body, an unused connection
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10.0, 60.0, 10.0
#: limits, in seconds and bytes, of reading and discarding the rest of a refused request: a client
#: that is still sending would lose the answer if the connection were closed at once
LINGER_SECONDS, LINGER_BYTES = 5.0, 4 * MOST_BYTES
#: seconds after a signal: least time in which new requests are told that the server is ending, and
#: time after which unfinished requests are given up
GOODBYE_SECONDS, MOST_GOODBYE = 0.5, 15.0


@dataclass(frozen=True)
class ServeSettings:
    """Settings of one server.

    Attributes:
        host: name or address to listen on.
        port: port to listen on; 0 for a free one.
        max_batch: most pictures per call of the engine.
        max_wait: seconds that a picture waits for others to fill its batch.
        queue: most waiting pictures; further requests are refused with 503.
        token: token that requests must send; None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_batch: int = 1
    max_wait: float = 0.0
    queue: int = 64
    token: str | None = None

    def __post_init__(self) -> None:
        token = self.token
        if token is not None and not (token and all("!" <= letter <= "~" for letter in token)):
            raise UsageError(
                "--token: expected letters, digits and signs of ASCII without spaces, as a header "
                "can hold them (it is not shown here)"
            )
