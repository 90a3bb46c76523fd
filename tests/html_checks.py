"""What every page of a report must be: one well-formed document that refers to nothing outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: elements without an end tag
_VOID = {"meta", "img", "br", "hr", "link", "input"}
_HEADINGS = ("h1", "h2", "h3", "h4")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.pointers: list[str] = []
        self.headings: list[int] = []
        self.landmarks: list[str] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element(tag, dict(attrs))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> ends nothing")

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def _element(self, tag: str, attrs: dict[str, str | None]) -> None:
        if attrs.get("id"):
            self.ids.append(str(attrs["id"]))
        for name in ("aria-labelledby", "href", "xlink:href"):
            value = attrs.get(name)
            if value is not None:
                self.pointers.append(value.removeprefix("#"))
                if name != "aria-labelledby" and not value.startswith("#"):
                    self.faults.append(f"{tag} leads to {value}")
        if tag in ("script", "link", "iframe", "object", "embed", "base", "form"):
            self.faults.append(f"there is a <{tag}>")
        self.faults += [f"{tag} has {name}" for name in attrs if name.startswith("on")]
        if tag == "img" and not (attrs.get("alt") and str(attrs["src"]).startswith("data:image/")):
            self.faults.append("an img without a name, or from elsewhere")
        if tag == "svg" and not (attrs.get("role") == "img" and attrs.get("aria-label")):
            self.faults.append("an svg without a name")
        if tag == "section" and not attrs.get("aria-labelledby"):
            self.faults.append("a section without a name")
        if tag == "th" and attrs.get("scope") not in ("row", "col"):
            self.faults.append("a th without scope")
        if tag in _HEADINGS:
            self.headings.append(_HEADINGS.index(tag) + 1)
        if tag in ("header", "nav", "main", "footer"):
            self.landmarks.append(tag)


def read_page(html: str) -> _Reader:
    """The page, parsed; ``faults`` says in words what is wrong with it."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    if reader.open:
        reader.faults.append(f"never closed: {reader.open}")
    twice = {one for one in reader.ids if reader.ids.count(one) > 1}
    lost = set(reader.pointers) - set(reader.ids)
    if twice or lost:
        reader.faults.append(f"ids there twice {sorted(twice)}, pointed to but absent {lost}")
    steps = zip([0, *reader.headings], reader.headings, strict=False)
    if any(after - before > 1 for before, after in steps):
        reader.faults.append(f"headings skip a level: {reader.headings}")
    if reader.landmarks != ["header", "nav", "main", "footer"]:
        reader.faults.append(f"landmarks: {reader.landmarks}")
    plain = re.sub(r'"data:image/jpeg;base64,[^"]*"', "", html)
    if re.search(r"https?:|//[a-z]|@import|url\((?!#)", plain):
        reader.faults.append("refers to something outside")
    first = html.index("<main>") < html.index('id="verdict"') < html.index('id="section-1"')
    if not first or html.index("<section") < html.index("<main>"):
        reader.faults.append("the verdict is not first")
    return reader


def svg_texts(html: str) -> str:
    """All that is written in figures."""
    return " ".join(text for tag, text in read_page(html).texts if tag in ("text", "tspan"))
