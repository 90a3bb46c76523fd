"""Compare what `serve` could run on: minimal Ray Serve, LitServe, and uvicorn with a queue.

    python benchmarks/serving_engines.py --litserve PYTHON --ray PYTHON [--seconds 4] [--turns 2]
        [--output benchmarks/results/serving_engines.json]

PYTHON belongs to an environment that has litserve or ray[serve] with python-multipart, and this
package with its requirements (a .pth file naming this environment's packages is enough). Each
server decodes the picture in a form and detects in batches of up to eight, waiting up to 5 ms, with
one replica. Measured in turns: time from start to the first answer; requests per second and latency
with clients that post continuously; processor time when idle; processes and their memory; and
SIGTERM under 16 clients, once with the engine's default and once with a suitable handler
(``told``): ``lost`` counts requests without an answer, ``left`` processes that still existed
afterwards. Ray's usage statistics are off.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from bench_serve import encoded_pictures, write_engine

from ssd_small.bench.disturbance import Watch
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
CLIENTS, AT_END, PATIENCE = (1, 8, 32), 16, 60
BOUNDARY = "a-boundary"
HEAD = """
import asyncio, os, queue, signal, sys, threading, time
import ssd_small
from ssd_small.pictures.reading import image_from_bytes
PORT, ENGINE, TOLD = int(os.environ["PORT"]), os.environ["ENGINE"], "TOLD" in os.environ
def opened():
    detector = ssd_small.load(ENGINE, threads=1)
    detector.warmup()
    return detector
def found(detector, contents):
    return [one.to_dict() for one in detector([image_from_bytes(c, "x") for c in contents])]
"""
SERVERS = {
    "uvicorn": """
import uvicorn
from python_multipart import parse_form
from concurrent.futures import Future
import json
waiting = queue.Queue(64)
def work():
    detector = opened()
    while True:
        batch, end = [waiting.get()], time.monotonic() + 0.005
        while len(batch) < 8:
            try:
                batch.append(waiting.get(timeout=max(0, end - time.monotonic())))
            except queue.Empty:
                break
        for (_, future), one in zip(batch, found(detector, [content for content, _ in batch])):
            future.set_result(one)
async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    content = body.partition(b"\\r\\n\\r\\n")[2].rpartition(b"\\r\\n--")[0]
    future = Future()
    waiting.put_nowait((content, future))
    answer = json.dumps(await asyncio.wrap_future(future)).encode()
    length = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": answer})
threading.Thread(target=work, daemon=True).start()
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", lifespan="off", http="h11")
""",
    "litserve": """
import litserve
class API(litserve.LitAPI):
    def setup(self, device):
        self.detector = opened()
    def decode_request(self, request):
        return request["file"].file.read()
    def batch(self, inputs):
        return list(inputs)
    def predict(self, batch):
        return found(self.detector, batch)
    def unbatch(self, output):
        return output
    def encode_response(self, output):
        return output
def told(*_):
    raise KeyboardInterrupt
if __name__ == "__main__":
    if TOLD:
        signal.signal(signal.SIGTERM, told)
    api = API(max_batch_size=8, batch_timeout=0.005, api_path="/v1/detect")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    how = {"generate_client_file": False, "log_level": "warning", "num_api_servers": 1}
    server.run(host="127.0.0.1", port=PORT, **how)
""",
    "ray": """
import ray
from ray import serve
from starlette.requests import Request
@serve.deployment(max_ongoing_requests=64, max_queued_requests=64)
class Detect:
    def __init__(self):
        self.detector = opened()
    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.005)
    async def run(self, contents):
        return await asyncio.to_thread(found, self.detector, contents)
    async def __call__(self, request: Request):
        form = await request.form()
        return await self.run(await form["file"].read())
def told(*_):
    serve.shutdown()
    ray.shutdown()
    sys.exit(0)
if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Detect.bind(), route_prefix="/v1/detect", blocking=False)
    if TOLD:  # after Ray's own, which ends the process
        signal.signal(signal.SIGTERM, told)
    while True:
        time.sleep(1)
""",
}


class Asked:
    """Clients that ask again and again.

    Args:
        port: of the server.
        body: of a request.
        anew: each request has a connection of its own. One that is kept may be closed between two
            requests, and of a request that is lost by that nobody can say whether it came.
    """

    def __init__(self, port: int, body: bytes, *, anew: bool = False) -> None:
        self.port, self.body, self.anew = port, body, anew
        self.taken: list[float] = []
        self.lost = 0

    def once(self, connection: http.client.HTTPConnection) -> int:
        """One request; its status."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/v1/detect", self.body, kind)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def _client(self, end: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        while time.perf_counter() < end:
            started = time.perf_counter()
            try:
                if self.anew:
                    connection.close()
                status = self.once(connection)
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException):
                self.lost += 1
                return
            if status != 200:
                return
            self.taken.append(time.perf_counter() - started)

    def run(self, clients: int, seconds: float) -> float:
        """For so long; requests per second."""
        began = time.perf_counter()
        each = [
            threading.Thread(target=self._client, args=(began + seconds,)) for _ in range(clients)
        ]
        for one in each:
            one.start()
        for one in each:
            one.join()
        return len(self.taken) / (time.perf_counter() - began)


def session(leader: int) -> dict[int, list[str]]:
    """Processes of a session, and what the system says of each."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found[int(path.parent.name)] = fields
    return found


def processor_seconds(leader: int) -> float:
    """Of all of them so far."""
    ticks = sum(int(one[11]) + int(one[12]) for one in session(leader).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(leader: int) -> float:
    """Memory, what is shared counted once."""
    total = 0
    for process in session(leader):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1000


def turn(
    script: Path, python: str, engine: Path, picture: bytes, port: int, told: bool, seconds: float
) -> dict[str, Any]:
    """One life of a server."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"'
    body = f"{head}\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    env = {"PORT": str(port), "ENGINE": str(engine), "RAY_USAGE_STATS_ENABLED": "0"}
    env |= {"TOLD": "1"} if told else {}
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, str(script)],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit(f"{script.name} does not answer")
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                if Asked(port, body).once(connection) == 200:
                    break
            time.sleep(0.1)
        row: dict[str, Any] = {"start_seconds": time.perf_counter() - began, "told": told}
        time.sleep(1)
        row |= {"processes": len(session(process.pid)), "megabytes": megabytes(process.pid)}
        before = processor_seconds(process.pid)
        time.sleep(3)
        row["idle_share"] = (processor_seconds(process.pid) - before) / 3
        for clients in CLIENTS:
            asked = Asked(port, body)
            rate = asked.run(clients, seconds)
            p99 = 1e3 * float(np.percentile(asked.taken, 99))
            row[f"clients_{clients}"] = {"per_second": rate, "p99_ms": p99}
        asked = Asked(port, body, anew=True)
        thread = threading.Thread(target=asked.run, args=(AT_END, PATIENCE / 2))
        thread.start()
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        row |= {"exit": process.poll(), "left": len(session(process.pid))}
        for one in session(process.pid):
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        thread.join()
        # of a server that was still there the last requests are those that were cut off here
        return row | {"lost": asked.lost}
    finally:
        for one in session(process.pid):
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        process.wait()


def packages(python: str) -> int:
    """How many an environment of its own has, pip and setuptools left out."""
    words = (
        "import sys; from importlib import metadata as m;"
        "own = [p for p in sys.path if p.startswith(sys.prefix)];"
        "names = {d.metadata['Name'].lower() for d in m.distributions(path=own)};"
        "print(len(names - {'pip', 'setuptools'}))"
    )
    done = subprocess.run(
        [python, "-c", words],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def version(python: str, name: str) -> str:
    """Of a package in an environment."""
    words = f"from importlib import metadata as m; print(m.version({name!r}))"
    done = subprocess.run([python, "-c", words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litserve", required=True, metavar="PYTHON")
    parser.add_argument("--ray", required=True, metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--turns", type=int, default=2)
    default = ROOT / "benchmarks/results/serving_engines.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    pythons = {"uvicorn": sys.executable, "litserve": arguments.litserve, "ray": arguments.ray}
    rows: dict[str, list[Any]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        engine, picture = write_engine(folder), encoded_pictures(folder)[0]
        watch, port = Watch(), 18_900
        for number in range(arguments.turns):
            for name, python in pythons.items():
                script = folder / f"with_{name}.py"
                script.write_text(HEAD + SERVERS[name])
                port += 1
                told = bool(number % 2)
                rows[name].append(
                    turn(script, python, engine, picture, port, told, arguments.seconds)
                )
                print(name, rows[name][-1], flush=True)
        seen = watch.seen()
    names = {"uvicorn": "uvicorn", "litserve": "litserve", "ray": "ray"}
    report = {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "disturbance": seen.to_dict(),
        "versions": {
            name: metadata.version(names[name]) if name == "uvicorn" else version(python, name)
            for name, python in pythons.items()
        },
        "packages": {name: packages(pythons[name]) for name in ("litserve", "ray")},
        "results": rows,
    }
    write_json(arguments.output, report)


if __name__ == "__main__":
    main()
