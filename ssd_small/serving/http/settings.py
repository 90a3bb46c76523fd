"""How a server is set up, and the limits that nobody sets."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError

#: where the token is looked for that the command line would show to everybody (``ps``)
TOKEN_ENVIRONMENT = "SSD_SMALL_TOKEN"
#: bytes of a picture as it is sent
MOST_BYTES = 64_000_000
#: bytes of the multipart form around it
MOST_FORM = 64 * 1024
#: bytes that are held of all requests together
MOST_HELD = 8 * MOST_BYTES
#: bytes of a request's line and headers
MOST_HEAD = 16 * 1024
#: connections at once; a system lets a process open a thousand files
MOST_CONNECTIONS = 512
#: seconds for a request's line and headers, for its body, and that an unused connection is kept
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 10.0, 60.0, 10.0
#: seconds and bytes that are read, and thrown away, of a request that has been refused: who sends
#: without reading would lose the answer if the connection were closed at once
LINGER_SECONDS, LINGER_BYTES = 5.0, 4 * MOST_BYTES
#: seconds after a signal: connections that are open hear that the server ends; at the latest then
#: what is not done is given up
GOODBYE_SECONDS, MOST_GOODBYE = 0.5, 15.0


@dataclass(frozen=True)
class ServeSettings:
    """Of one server.

    Attributes:
        host: name or address to listen on.
        port: to listen on; 0 for one that is free.
        max_batch: pictures per call of the engine.
        max_wait: seconds that a picture waits for others to fill its batch.
        queue: pictures that may wait; a request beyond them is refused with 503.
        token: that a request must have; None for none.
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
