"""What a Triton server says of its models, over HTTP on loopback; it runs none.

The real one is in ``tests/triton``, in an environment of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from google.protobuf import json_format, text_format


def json_from_config(path: Path) -> dict[str, object]:
    """A ``config.pbtxt`` as the server gives it over HTTP."""
    from tritonclient.grpc import model_config_pb2

    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    values: dict[str, object] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return values


@contextmanager
def answering(repository: Path) -> Iterator[str]:
    """The address of a server that has the models of a repository, and refuses to run them."""
    models = {
        path.parent.name: json_from_config(path) for path in repository.glob("*/config.pbtxt")
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, code: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            name = self.path.split("/")[3]
            absent = {"error": f"Request for unknown model: '{name}' is not found"}
            self.answer(200 if name in models else 400, models.get(name, absent))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            index = [{"name": name, "version": "1", "state": "READY"} for name in sorted(models)]
            if self.path.endswith("index"):
                self.answer(200, index)
            else:
                self.answer(500, {"error": "this server runs no model"})

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(20)
