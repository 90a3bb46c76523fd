"""``batch --ray``: the same bytes as in one process, whatever is killed, and nothing left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

from ssd_small.errors import MissingRequirement, UsageError
from ssd_small.serving.jobs.ray_cluster import Cluster, Share, share_of_worker
from ssd_small.serving.jobs.ray_keeper import processes_at

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

#: a busy machine takes its time to start Ray
SECONDS = 100
WORDS = ("--shard-size", "2", "--max-errors", "8")
#: of clusters that listen on this machine alone
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
LOOPBACK |= {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, traces: Callable[[], Any]) -> Path:
    """An ONNX file of a small network."""
    torch = pytest.importorskip("torch")
    from ssd_small.export.onnx_file import write_onnx
    from ssd_small.export.to_onnx import onnx_from_network

    from ssd_small.artefacts.description import description_from_spec
    from ssd_small.models.network import create_model

    torch.manual_seed(0)
    net = create_model("mobilenet_v1", num_classes=3, width=0.1)
    description = description_from_spec(net.spec, 3, net.width, labels=("cat", "dog"))
    path = tmp_path_factory.mktemp("engine") / "m.onnx"
    with traces():
        write_onnx(onnx_from_network(net, description.with_decode_nms(True)), path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty pictures, every tenth of them damaged."""
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(1)
    for number in range(80):
        pixels = random.integers(0, 255, (60, 80, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{number:03}.png"), pixels)
        if number % 10 == 3:
            (folder / f"{number:03}.png").write_bytes(b"none")
    return folder


@pytest.fixture(scope="module")
def expected(engine: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The files of the job in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    _run(engine, pictures, out, "--threads", "1").fits()
    return _files(out)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that is there, on this machine alone."""
    # sockets have short names
    folder = Path(f"/tmp/ray-tests-{os.getpid()}")
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    words = ["start", "--head", "--port", "0", "--num-cpus", "2", "--include-dashboard", "false"]
    words += ["--node-ip-address", "127.0.0.1", "--temp-dir", str(folder), "--disable-usage-stats"]
    words += ["--object-store-memory", str(80 << 20)]
    environment = {**os.environ, **LOOPBACK}
    done = subprocess.run(
        [*ray, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield (folder / "ray_current_cluster").read_text().strip()
    finally:
        _end(folder)


def _end(folder: Path) -> None:
    """End the cluster of a folder, by its processes; ``ray stop`` would end all there are."""
    for _ in range(200):
        left = processes_at(folder) - {os.getpid()}
        if not left:
            break
        for process in left:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    assert not left
    subprocess.run(["rm", "-r", str(folder)], check=False)


def _command(engine: Path, pictures: Path, out: Path, *words: str) -> list[str]:
    command = [sys.executable, "-m", "ssd_small", "batch", engine, pictures, "-o", out]
    return [*map(str, command), *WORDS, *words]


def _run(engine: Path, pictures: Path, out: Path, *words: str, **options: Any) -> Outcome:
    done = subprocess.run(
        _command(engine, pictures, out, *words),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def _started(command: list[str], **environment: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env={**os.environ, **environment})


def _files(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary = json.loads(found["summary.json"])
    assert summary.pop("seconds") > 0
    return found | {"summary.json": json.dumps(summary).encode()}


def _workers(title: bytes = b"ray::RayWorker") -> dict[int, int]:
    """Processes of workers, with the processes that started them; Ray's title says at what."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if title in (entry / "cmdline").read_bytes():
                    status = (entry / "status").read_text()
                    found[int(entry.name)] = int(status.split("PPid:")[1].split()[0])
            except OSError:
                continue
    return found


def _ancestors(process: int) -> Iterator[int]:
    while process > 1:
        yield process
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            return
        process = int(status.split("PPid:")[1].split()[0])


def _own_workers(driver: int) -> list[int]:
    """Those of a driver with a cluster of its own."""
    return [one for one, parent in _workers().items() if driver in _ancestors(parent)]


def _session_folders(driver: int) -> set[Path]:
    """Ray's folder of a driver, by the files that the driver has open."""
    found = set()
    for one in Path(f"/proc/{driver}/fd").iterdir():
        target = Path(os.readlink(one))
        if "session_" in str(target):
            found.add(next(p for p in target.parents if "ssd-small-" in p.name))
    return found


def _wait_until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def test_a_cluster_that_is_there_gives_the_same_bytes(
    engine: Path, pictures: Path, expected: Any, cluster: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = _run(engine, pictures, out, "--json", "--ray", cluster).fits()
    assert _files(out) == expected
    assert outcome.json["errors"] == 8
    assert outcome.err == ""
    again = _run(engine, pictures, out, "--ray", cluster, "--resume").fits()
    assert again.out.startswith("80 pictures")


def test_an_engine_that_workers_cannot_open_is_one_line(
    engine: Path, pictures: Path, cluster: str, tmp_path: Path
) -> None:
    words = ("--score-threshold", "cow=0.5", "--ray", cluster)
    _run(engine, pictures, tmp_path / "out", *words).fails(2, "class 'cow'")
    assert not (tmp_path / "out").exists()


class _Resources:
    """What a cluster says that it has."""

    def __init__(self, **resources: float) -> None:
        self._resources = resources

    def cluster_resources(self) -> dict[str, float]:
        return self._resources


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Cluster(), Share(8, 1, 0, 1)),
        (Cluster(workers=3), Share(3, 2, 0, 2)),
        (Cluster(workers=3, threads=1), Share(3, 2, 0, 1)),
        (Cluster(workers=32), Share(32, 0.25, 0, 1)),
        (Cluster(gpus_per_worker=0.5), Share(4, 2, 0.5, 2)),
    ],
)
def test_cores_and_gpus_are_shared_out(asked: Cluster, expected: Share) -> None:
    assert share_of_worker(_Resources(CPU=8, GPU=2), asked) == expected


def test_gpus_that_are_not_there_are_asked_for_in_vain() -> None:
    with pytest.raises(MissingRequirement, match="the cluster has 0 GPUs"):
        share_of_worker(_Resources(CPU=8), Cluster(gpus_per_worker=0.5))
    with pytest.raises(UsageError, match="ask for 4 or fewer"):
        share_of_worker(_Resources(CPU=8, GPU=2), Cluster(workers=5, gpus_per_worker=0.5))


def test_a_worker_that_is_killed_is_replaced_with_a_line(
    engine: Path, pictures: Path, expected: Any, cluster: str, tmp_path: Path
) -> None:
    out, at_work = tmp_path / "out", b"ray::RayWorker.run"
    before = set(_workers())
    command = _command(engine, pictures, out, "--ray", cluster, "--workers", "2")
    with _started(command, RAY_AUTH_MODE="disabled") as process:
        _wait_until(lambda: (out / "shards" / "00001.parquet").exists() or process.poll())
        # the other one may still be opening its engine
        _wait_until(lambda: set(_workers(at_work)) - before or process.poll() is not None)
        own = set(_workers(at_work)) - before or set(_workers()) - before
        os.kill(min(own), signal.SIGKILL)
        said, line = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, line
    assert said.startswith("80 pictures, "), said
    assert said.count("\n") == 1
    notes = line.splitlines()
    assert len(notes) == 1, line
    assert f"process {min(own)} of" in notes[0]
    assert "(2 of 4)" in notes[0]
    assert _files(out) == expected


def test_a_driver_that_is_killed_takes_all_with_it_and_is_resumed(
    engine: Path, pictures: Path, expected: Any, cluster: str, tmp_path: Path
) -> None:
    """Plain --ray, then the rest on a cluster: whoever computes a shard, it is the same."""
    out = tmp_path / "out"
    command = _command(engine, pictures, out, "--ray", "--workers", "2")
    with _started(command) as process:
        _wait_until(lambda: (out / "shards" / "00001.parquet").exists() or process.poll())
        assert process.poll() is None, process.communicate()
        folders, workers = _session_folders(process.pid), _own_workers(process.pid)
        assert folders
        assert workers
        assert not _listening_beyond(folders)
        assert _usage_statistics(process.pid) == "0"
        process.kill()
        process.communicate(timeout=SECONDS)
    assert not (out / "summary.json").exists()
    _wait_until(lambda: not any(map(processes_at, folders)), 20)
    _wait_until(lambda: not any(folder.exists() for folder in folders), 20)
    assert not set(workers) & set(_workers())
    _run(engine, pictures, out, "--ray", cluster, "--resume").fits()
    assert _files(out) == expected


def test_sigterm_ends_workers_too(engine: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = _command(engine, pictures, out, "--ray")
    with _started(command) as process:
        _wait_until(lambda: (out / "shards" / "00001.parquet").exists() or process.poll())
        folders = _session_folders(process.pid)
        process.terminate()
        said, line = process.communicate(timeout=20)
    assert (process.returncode, said) == (143, ""), line
    assert "ended by SIGTERM" in line
    _wait_until(lambda: not any(map(processes_at, folders)), 20)
    _wait_until(lambda: not any(folder.exists() for folder in folders), 20)


def test_an_address_where_nobody_is_is_refused_at_once(
    engine: Path, pictures: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    outcome = _run(engine, pictures, tmp_path / "out", "--ray", "127.0.0.1:1")
    outcome.fails(3, "no Ray cluster answers at 127.0.0.1:1")
    assert time.monotonic() - started < 30
    assert not (tmp_path / "out").exists()


def test_statistics_are_off_unless_the_user_turns_them_on(monkeypatch: Any) -> None:
    from ssd_small.serving.jobs import ray_cluster

    for said, expected in ((None, "0"), ("1", "1")):
        for name in ("RAY_USAGE_STATS_ENABLED", "ORT_DISABLE_TELEMETRY"):
            monkeypatch.delenv(name, raising=False)
        if said is not None:
            monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", said)

        def nothing(*arguments: object) -> Any:
            raise LookupError

        monkeypatch.setattr(ray_cluster, "require", nothing)
        monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        with pytest.raises(LookupError):
            ray_cluster.prepared(Cluster())
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == expected
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def _usage_statistics(driver: int) -> str:
    """What Ray's processes were told of them, where the first of them still shows it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and driver in list(_ancestors(int(entry.name)))[1:]:
            for word in (entry / "environ").read_bytes().split(b"\0"):
                if word.startswith(b"RAY_USAGE_STATS_ENABLED="):
                    return word.partition(b"=")[2].decode()
    return "unknown"


def _listening_beyond(folders: set[Path]) -> list[str]:
    """Addresses other than 127.0.0.1 on which processes of these folders listen."""
    own = {one for folder in folders for one in processes_at(folder)}
    sockets = set()
    for process in own:
        for name in Path(f"/proc/{process}/fd").iterdir():
            try:
                sockets.add(os.readlink(name).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            local = parts[1].partition(":")[0]
            loopback = local in ("0100007F", "0000000000000000FFFF00000100007F") or (
                local == "00000000000000000000000001000000"
            )
            if parts[3] == "0A" and parts[9] in sockets and not loopback:
                found.append(parts[1])
    return found
