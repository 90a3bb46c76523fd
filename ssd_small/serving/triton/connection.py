"""Connection to a Triton server by HTTP or gRPC: its models, their configuration, inference."""

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
#: scheme, host with port, and a model, either as in Triton's own URLs or by its name alone
_URL = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:/(?:(?:v2/models/)?(?P<model>[^/?#]+)(?:/versions/(?P<version>\d+))?(?:/infer)?/?)?)?"
)
_TYPES = {"float32": "FP32", "uint8": "UINT8", "object": "BYTES"}
#: status of an invalid request in the two protocols, and that of a missing model
_REFUSED = ("400", "StatusCode.INVALID_ARGUMENT")
_ABSENT = ("404", "StatusCode.NOT_FOUND")


class Refused(BadFile):
    """The server refuses an input, such as a picture that it cannot decode or that is too large."""


@dataclass(frozen=True)
class ServerAddress:
    """Address of a server, and possibly of one of its models.

    Attributes:
        protocol: ``http`` or ``grpc``.
        place: host and port.
        secure: whether to use TLS.
        model: name of the model; None if the address does not contain one.
        version: version of the model; empty for the newest.
    """

    protocol: str
    place: str
    secure: bool = False
    model: str | None = None
    version: str = ""


def address_from_url(url: str) -> ServerAddress:
    """Parse an address such as ``http://127.0.0.1:8000`` or ``grpc://host:8001/NAME``.

    Raises:
        UsageError: it is not such an address.
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
    """A connection to one server.

    Attributes:
        address: address of the server.
    """

    def __init__(self, address: ServerAddress, timeout: float) -> None:
        """Prepare a connection; it is opened by the first request.

        Args:
            address: address of the server.
            timeout: seconds that one answer may take.

        Raises:
            MissingRequirement: the package of the protocol is not installed.
        """
        self.address, self._timeout = address, timeout
        require("tritonclient", "asking a Triton server")
        self._module = _module(address.protocol)
        # an HTTP client can only be used in the thread that created it
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
        """Call the client, turning its errors into ours."""
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
        except Exception as error:  # errors of underlying packages, whose types are not public
            raise MissingRequirement(
                f"{place} does not answer ({reason_from_exception(error)}); start it, or check "
                "address and --timeout"
            ) from error

    def models(self) -> list[str]:
        """Names of the models that are ready, sorted."""
        options = {"as_json": True} if self.address.protocol == "grpc" else {}
        found = self._asked("get_model_repository_index", **options)
        entries = found.get("models", []) if isinstance(found, dict) else found
        return sorted({one["name"] for one in entries if one.get("state", "READY") == "READY"})

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        """The configuration of a model, with the field names of ``config.pbtxt``.

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
        """Run a model and return its outputs by name.

        Raises:
            Refused: the server refuses the inputs.
            BadFile: there is no such model.
            MissingRequirement: the server does not answer.
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
        """Close the connection; calling this twice is harmless."""
        while self._clients:
            # closing the client of another thread may fail, which does no harm
            with suppress(Exception):
                self._clients.pop().close()


def _module(protocol: str) -> ModuleType:
    """``tritonclient.http`` or ``tritonclient.grpc``, whose dependencies may be missing."""
    try:
        return require(f"tritonclient.{protocol}", "asking a Triton server")
    except RuntimeError as error:
        raise MissingRequirement(
            f"tritonclient has no {protocol} here; run: pip install {_EXTRA}"
        ) from error
