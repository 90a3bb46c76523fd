"""Metrics of a server, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from ...requirements import require

#: Prometheus' text format 0.0.4; newer releases of the package state newer versions
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Metrics of one server, separate from those of other servers in the process.

    Args:
        waiting: returns the number of pictures that are waiting.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        client = require("prometheus_client", "serving")
        client.disable_created_metrics()  # series that format 0.0.4 lacks
        registry = client.CollectorRegistry(auto_describe=False)
        own = {"namespace": "ssd_small", "registry": registry}
        self._registry, self._text = registry, client.generate_latest
        self._requests = client.Counter(
            "requests", "Requests that were answered.", ["path", "status"], **own
        )
        self._seconds = client.Histogram(
            "request_seconds",
            "From a request's head to its answer.",
            ["path"],
            buckets=_SECONDS,
            **own,
        )
        self._batches = client.Histogram(
            "batch_pictures", "Pictures per call of the engine.", buckets=_BATCH, **own
        )
        self._detections = client.Counter("detections", "Detections in answers.", **own)
        self._pictures = client.Counter("pictures", "Pictures that went through the engine.", **own)
        client.Gauge("queue_pictures", "Pictures that wait.", **own).set_function(waiting)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered; ``path`` is one of a few values."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def ran(self, pictures: int) -> None:
        """Count a call of the engine."""
        self._batches.observe(pictures)
        self._pictures.inc(pictures)

    def found(self, detections: int) -> None:
        """Count the detections in an answer."""
        self._detections.inc(detections)

    def text(self) -> bytes:
        """All metrics as text."""
        content: bytes = self._text(self._registry)
        return content
