"""A Triton server by HTTP or gRPC: what models it has, how they are configured, and asking them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ...errors import BadFile, MissingRequirement, UsageError, quoted, reason_from_exception
from ...requirements import require

Result = TypeVar("Result")

_EXTRA = "'.[triton]'"
_PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}
#: scheme, host with port, and a model in the form of Triton's own addresses or by its name alone
_URL = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:/(?:(?:v2/models/)?(?P<model>[^/?#]+)(?:/versions/(?P<version>\d+))?(?:/infer)?/?)?)?"
)
_TYPES = {"float32": "FP32", "uint8": "UINT8", "object": "BYTES"}
#: how the two protocols say that a request was wrong
_REFUSED = ("400", "StatusCode.INVALID_ARGUMENT")
_ABSENT = ("404", "StatusCode.NOT_FOUND")


class Refused(BadFile):
    """The server takes no such input: a picture is what it cannot decode, or is too large."""


@dataclass(frozen=True)
class ServerAddress:
    """Where a server, and perhaps a model of it, is.

    Attributes:
        protocol: ``http`` or ``grpc``.
        place: host and port.
        secure: by TLS.
        model: name; None where the address names none.
        version: of the model; empty for the newest.
    """

    protocol: str
    place: str
    secure: bool = False
    model: str | None = None
    version: str = ""


def address_from_url(url: str) -> ServerAddress:
    """Read ``http://127.0.0.1:8000``, ``grpc://host:8001/NAME`` and the like.

    Raises:
        UsageError: it is none.
    """
    found = _URL.fullmatch(url)
    scheme = (found["scheme"] or "http") if found else ""
    if found is None or scheme not in _PORTS or not 0 < int(found["port"] or 1) < 1 << 16:
        raise UsageError(
            f"{quoted(url)}: expected the address of a Triton server, such as "
            "http://127.0.0.1:8000 or grpc://127.0.0.1:8001, perhaps with /MODEL behind it"
        )
    return ServerAddress(
        protocol=scheme[:4],
        place=f"{found['host']}:{found['port'] or _PORTS[scheme]}",
        secure=scheme.endswith("s"),
        model=unquote(found["model"]) if found["model"] else None,
        version=found["version"] or "",
    )


class Connection:
    """Asks one server.

    Attributes:
        address: of the server.
    """

    def __init__(self, address: ServerAddress, timeout: float) -> None:
        """Connect when something is asked.

        Args:
            address: of the server.
            timeout: seconds that one answer may take.

        Raises:
            MissingRequirement: the package of the protocol is not installed.
        """
        self.address, self._timeout = address, timeout
        require("tritonclient", "asking a Triton server")
        self._module = _module(address.protocol)
        # the HTTP client belongs to the thread that it was made in
        self._own = threading.local()
        self._clients: list[Any] = []

    @property
    def _client(self) -> Any:
        client = getattr(self._own, "client", None)
        if client is None:
            given: dict[str, Any] = {"url": self.address.place, "ssl": self.address.secure}
            if self.address.protocol == "http":
                given |= {"connection_timeout": self._timeout, "network_timeout": self._timeout}
            client = self._own.client = self._module.InferenceServerClient(**given)
            self._clients.append(client)
        return client

    def _asked(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call the client; what fails becomes an error of ours."""
        if self.address.protocol == "grpc":
            options["client_timeout"] = self._timeout
        return self._told(lambda: getattr(self._client, name)(*arguments, **options))

    def _told(self, ask: Callable[[], Result]) -> Result:
        place = f"the Triton server {self.address.protocol}://{self.address.place}"
        try:
            return ask()
        except self._module.InferenceServerException as error:
            reason = reason_from_exception(Exception(error.message() or error))
            status = str(error.status())
            if status in _ABSENT or "unknown model" in reason or "is not found" in reason:
                raise BadFile(f"{place} has no such model ({reason}); choose --model") from error
            if status in _REFUSED:
                raise Refused(f"{place} refuses the request: {reason}") from error
            raise MissingRequirement(
                f"{place} does not answer ({reason}); start it, or check address and --timeout"
            ) from error
        except Exception as error:  # of the packages below, whose types are not public
            raise MissingRequirement(
                f"{place} does not answer ({reason_from_exception(error)}); start it, or check "
                "address and --timeout"
            ) from error

    def models(self) -> list[str]:
        """Names of the models that are ready, in order."""
        options = {"as_json": True} if self.address.protocol == "grpc" else {}
        found = self._asked("get_model_repository_index", **options)
        entries = found.get("models", []) if isinstance(found, dict) else found
        return sorted({one["name"] for one in entries if one.get("state", "READY") == "READY"})

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        """The configuration of a model, by the names of ``config.pbtxt``.

        Raises:
            BadFile: there is no such model.
        """
        options = {"as_json": True} if self.address.protocol == "grpc" else {}
        found = self._asked("get_model_config", model, version, **options)
        config: dict[str, Any] = found.get("config", found)
        return config

    def infer(
        self,
        model: str,
        version: str,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Sequence[str],
    ) -> dict[str, npt.NDArray[Any]]:
        """Outputs of a model by name.

        Raises:
            Refused: the server takes no such inputs.
            BadFile: there is no such model.
            MissingRequirement: it does not answer.
        """
        given = []
        for name, value in inputs.items():
            one = self._module.InferInput(name, list(value.shape), _TYPES[value.dtype.name])
            one.set_data_from_numpy(value)
            given.append(one)
        asked = [self._module.InferRequestedOutput(name) for name in outputs]
        result = self._asked("infer", model, given, version, outputs=asked)
        return {name: np.asarray(result.as_numpy(name)) for name in outputs}

    def close(self) -> None:
        """Let the server go; calling twice is harmless."""
        while self._clients:
            # one that belongs to a thread that has ended has nothing left to say
            with suppress(Exception):
                self._clients.pop().close()


def _module(protocol: str) -> ModuleType:
    """``tritonclient.http`` or ``tritonclient.grpc``, whose own packages may be missing."""
    try:
        return require(f"tritonclient.{protocol}", "asking a Triton server")
    except RuntimeError as error:
        raise MissingRequirement(
            f"tritonclient has no {protocol} here; run: pip install {_EXTRA}"
        ) from error
