"""The page at ``/``, which shows the boxes in a picture that is dropped on it."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ....detection.detector import Detector
from ....terminal import cut, shown
from ..batching import Threshold

_LONGEST_NAME = 100


@dataclass(frozen=True)
class Page:
    """A self-contained HTML document.

    Attributes:
        headers: HTTP headers, including a policy that allows only its own script and style.
        content: the HTML.
    """

    headers: Mapping[str, str]
    content: bytes


def page_of_detector(detector: Detector, threshold: Threshold | None, *, asks_token: bool) -> Page:
    """Create the page of a server.

    Args:
        detector: gives the network's name and classes, and the lowest score that can be shown.
        threshold: thresholds for requests that set none.
        asks_token: whether to show a field for the token.
    """
    folder = Path(__file__).parent
    script, style = ((folder / name).read_text() for name in ("page.js", "page.css"))
    usual = detector.filter_from_threshold(threshold).lowest
    classes = ", ".join(detector.labels[:20]) + (", ..." if len(detector.labels) > 20 else "")
    values = {
        "network": detector.description.model,
        "runtime": detector.runtime.name,
        "classes": cut(classes, 10 * _LONGEST_NAME),
        "lowest": f"{min(detector.params.score_threshold, usual):g}",
        "usual": f"{usual:g}",
        "token": "true" if asks_token else "false",
    }
    content = Template((folder / "page.html").read_text()).substitute(
        {name: html.escape(shown(value)) for name, value in values.items()},
        script=script,
        style=style,
    )
    policy = (
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "img-src blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(policy),
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    }
    return Page(headers, content.encode())


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
