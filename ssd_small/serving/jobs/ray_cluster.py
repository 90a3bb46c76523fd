"""A Ray cluster: one on this machine that ends with this process, or an existing one."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import MissingRequirement, UsageError, reason_from_exception
from ...requirements import require
from ...system.temporary import temporary_folder
from .ray_keeper import kept

#: longest path of the parent of Ray's folder: its sockets are deep inside that folder, and a
#: socket's path has at most 107 characters
_LONGEST_FOLDER = len("/tmp")
#: bytes of the object store, for results in transit, in our own cluster; the minimum for Ray
_OBJECT_STORE = 80 << 20
#: seconds within which an address must answer
_ANSWER = 5.0
#: environment unless set by the user; otherwise Ray would send usage statistics to its makers
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
#: variable by which Ray decides whether to use the network; with 0 it listens on 127.0.0.1 only
_BEYOND = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


_HERE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Cluster:
    """Where a job runs and with which resources.

    Attributes:
        address: address of an existing cluster; None for all cores of this machine.
        workers: number of engines; None: one per core, or as many as the GPUs have room for.
        gpus_per_worker: GPUs per engine; None for none.
        threads: threads per engine; 0: as many as its share of the cores.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    threads: int = 0


@dataclass(frozen=True)
class Share:
    """Resources of a worker.

    Attributes:
        workers: number of workers.
        cpus, gpus: CPUs and GPUs per worker; may be fractions of one.
        threads: threads of its engine.
    """

    workers: int
    cpus: float
    gpus: float
    threads: int


def prepared(cluster: Cluster) -> Any:
    """Import the package ray, after setting the environment variables that it reads on import.

    Raises:
        MissingRequirement: it is not installed, or no cluster answers at the address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if cluster.address is not None:
        _check_answers(cluster.address)
    if cluster.address is None or _is_of_loopback_alone(cluster.address):
        os.environ[_BEYOND] = "0"
    _authenticate(cluster.address)
    return require("ray", "--ray")


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Connect to a cluster; one that is started here ends with the block, or with this process.

    Yields:
        The package ray.

    Raises:
        MissingRequirement: ray is not installed, or there is no cluster at the address.
    """
    ray = prepared(cluster)
    with ExitStack() as stack:
        how: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if cluster.address is None:
            how |= {"num_cpus": _cores(), "include_dashboard": False}
            how |= {"object_store_memory": _OBJECT_STORE, "_node_ip_address": "127.0.0.1"}
            if (folder := _folder(stack)) is not None:
                how["_temp_dir"] = str(folder)
                stack.enter_context(kept(folder))
        else:
            how["address"] = cluster.address
        # hide Ray's own lines on standard output, such as on a killed worker: we report these
        silence = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(redirect_stdout(silence))
        stack.callback(ray.shutdown)
        with _own_signals():
            try:
                ray.init(**how)
            except Exception as error:  # of various types
                where = cluster.address or "this machine"
                raise MissingRequirement(
                    f"Ray does not start on {where}: {reason_from_exception(error)}; see that the "
                    "cluster runs the same releases of Ray and Python; RAY_AUTH_MODE=token if it "
                    "asks for one"
                ) from error
        yield ray


def share_of_worker(ray: Any, cluster: Cluster) -> Share:
    """The number of workers that a cluster has room for, and the resources of each.

    Raises:
        MissingRequirement: the cluster lacks the requested GPUs.
        UsageError: more workers are requested than its GPUs have room for.
    """
    total = ray.cluster_resources()
    cpus, gpus = total.get("CPU", 0.0), cluster.gpus_per_worker or 0.0
    if gpus:
        have = total.get("GPU", 0.0)
        room = int(have / gpus + 1e-6)
        if not room:
            raise MissingRequirement(
                f"--gpus-per-worker {gpus:g}: the cluster has {have:g} GPUs; run without it, or on "
                "a cluster with GPUs"
            )
        if (cluster.workers or 0) > room:
            raise UsageError(
                f"--workers {cluster.workers} with {gpus:g} GPUs each: the cluster has {have:g} "
                f"GPUs; ask for {room} or fewer"
            )
        workers = cluster.workers or room
    else:
        workers = cluster.workers or max(1, int(cpus))
    each = cpus / workers if cpus else 0.0
    each = float(int(each)) if each >= 1 else int(each * 1000) / 1000
    return Share(workers, each, gpus, cluster.threads or max(1, int(each)))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folder(stack: ExitStack) -> Path | None:
    """A temporary folder for Ray's sockets and logs; None if no place has a short enough path."""
    with suppress(OSError):
        usual, short = tempfile.gettempdir(), Path("/tmp")
        if len(usual) <= _LONGEST_FOLDER:
            return stack.enter_context(temporary_folder())
        if short.is_dir():
            return stack.enter_context(temporary_folder(short))
    return None


def _check_answers(address: str) -> None:
    """Refuse an address where nothing answers: Ray itself would wait for more than a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise MissingRequirement(
            f"no Ray cluster answers at {address} ({reason_from_exception(error)}); start one with "
            "'ray start --head', or pass plain --ray"
        ) from error


def _is_of_loopback_alone(address: str) -> bool:
    """Whether a cluster answers at 127.0.0.1 but not at the machine's network address.

    Ray would replace the former by the latter.
    """
    host, _, port = address.rpartition(":")
    if host not in _HERE:
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect(("192.0.2.1", 9))  # sends nothing; the address is reserved
            own = route.getsockname()[0]
        socket.create_connection((own, int(port)), _ANSWER).close()
    except OSError:
        return True
    return False


def _authenticate(address: str | None) -> None:
    """Protect our own cluster by a token, and use the user's token for a cluster on this machine.

    Ray itself would write a token to the user's home; and given an address, it would not use a
    token found there, which is needlessly cautious for a cluster on this machine.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif address.rpartition(":")[0] in _HERE and (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_MODE"] = "token"


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the command line's signal handlers: Ray installs its own, which end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
