"""A Ray cluster: one on this machine that ends with this process, or one that is there."""

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

#: Ray's sockets lie deep in its folder, and a socket's path has 107 letters at most: of what is
#: above that folder
_LONGEST_FOLDER = len("/tmp")
#: bytes for results on their way, of a cluster of our own; the least that Ray takes
_OBJECT_STORE = 80 << 20
#: seconds in which an address must answer
_ANSWER = 5.0
#: what Ray does unless the user says otherwise: it would send statistics to its makers
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
#: what Ray asks for whether it may speak to other machines; with 0 it listens on 127.0.0.1 alone
_BEYOND = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


_HERE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Cluster:
    """Where a job runs and with how much.

    Attributes:
        address: of a cluster that is there; None for all cores of this machine.
        workers: engines at once; None: one per core, or as many as fit the GPUs.
        gpus_per_worker: of each engine; None for none.
        threads: of an engine; 0: the cores that are its share.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    threads: int = 0


@dataclass(frozen=True)
class Share:
    """What a worker gets.

    Attributes:
        workers: how many there are.
        cpus, gpus: of each; may be parts of one.
        threads: of its engine.
    """

    workers: int
    cpus: float
    gpus: float
    threads: int


def prepared(cluster: Cluster) -> Any:
    """The package ray, told what it reads of the environment when it is imported.

    Raises:
        MissingRequirement: it is not installed, or nobody answers at the address.
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
    """The package ray, connected; what was started ends with the block, or with this process.

    Raises:
        MissingRequirement: no ray, or no cluster at the address.
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
        # lines of Ray's own on standard output, as of a worker that was killed: ours say it
        silence = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(redirect_stdout(silence))
        stack.callback(ray.shutdown)
        with _own_signals():
            try:
                ray.init(**how)
            except Exception as error:  # of many kinds
                where = cluster.address or "this machine"
                raise MissingRequirement(
                    f"Ray does not start on {where}: {reason_from_exception(error)}; see that the "
                    "cluster runs the same releases of Ray and Python; RAY_AUTH_MODE=token if it "
                    "asks for one"
                ) from error
        yield ray


def share_of_worker(ray: Any, cluster: Cluster) -> Share:
    """How many workers a cluster has room for, and what each gets.

    Raises:
        MissingRequirement: it has no GPU, and GPUs were asked for.
        UsageError: more workers than its GPUs can take.
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
    """For Ray's sockets and logs, gone at the end; None where the usual place is too deep."""
    with suppress(OSError):
        usual, short = tempfile.gettempdir(), Path("/tmp")
        if len(usual) <= _LONGEST_FOLDER:
            return stack.enter_context(temporary_folder())
        if short.is_dir():
            return stack.enter_context(temporary_folder(short))
    return None


def _check_answers(address: str) -> None:
    """Refuse an address where nobody is: Ray itself would wait for a minute and more."""
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
    """Whether a cluster answers at 127.0.0.1 and not at the machine's address.

    Ray takes the one for the other.
    """
    host, _, port = address.rpartition(":")
    if host not in _HERE:
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect(("192.0.2.1", 9))  # sends nothing; an address of no machine
            own = route.getsockname()[0]
        socket.create_connection((own, int(port)), _ANSWER).close()
    except OSError:
        return True
    return False


def _authenticate(address: str | None) -> None:
    """Have nobody else on this machine speak to our cluster, and speak to one that is here.

    Ray would write a token of its own to the user's home; and of one that is there it makes no use
    where an address is given, which for one of this machine is needless care.
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
    """Keep the handlers of the command line: Ray puts its own there, which end the process."""
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
