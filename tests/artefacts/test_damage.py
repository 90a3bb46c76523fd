"""A file whose description of itself is damaged: one line and exit 4, or what the value means.

Every field of every record is removed, made another type, huge, negative, no number, and so on
(``record_damage.py``); then ``inspect`` tells of the file and, for some, ``detect`` uses it. Of
each field a few changes are drawn; ``SSD_SMALL_DAMAGE=all`` takes them all (minutes).
"""

from __future__ import annotations

import math
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import PREFIX, Outcome

pytest.importorskip("torch")
pytest.importorskip("onnx")

from described_files import (
    CLIPPED_FORMS,
    FORMAT_1,
    FORMS,
    LETTERBOX_FORMS,
    PICTURE_FORMS,
    REDUCED_FORMS,
    STORED_PRIORS_FORMS,
    UNNAMED_FORMS,
    Form,
)
from record_damage import REMOVED, Damage, Place, damages

from ssd_small.artefacts.strict_json import record_from_json

pytestmark = pytest.mark.slow

ALL_FORMS = FORMS | UNNAMED_FORMS | PICTURE_FORMS | STORED_PRIORS_FORMS
ALL_FORMS |= LETTERBOX_FORMS | CLIPPED_FORMS | REDUCED_FORMS
#: changes of a field that are tried with inspect, and of those the share tried with detect
DRAWN, DETECTED = 3, 0.15
#: those that take more than 3 s of processor time
SLOW = (
    "record.pth",
    "heads.onnx",
    "detections.tensorrt-rtx.engine.json",
    "unnamed/record.pth",
    "unnamed/heads.onnx",
)
#: of one call, in seconds of processor time: far above what it takes, far below a hang
MOST_SECONDS = 8.0
#: of the whole walk: room for PyTorch's own ups and downs, not for one array of a huge size
MOST_GROWTH = 1 << 30

#: fields that may be absent or null, and then mean what stands beside them
OPTIONAL: dict[str, str] = {
    "format_minor": "0",
    "network": "what is executed is told all the same, but for its name",
    "plugin": "no plugin is needed",
    "description.preprocessing.resize": "uint8",
    "description.preprocessing.pad": "a black frame",
    "checks.fp16_against_fp32.images": "made up",
    "receipt.plan_tensors": "not listed",
    "receipt.plan_bytes_per_weight": "not listed",
    "options.opt_batch": "the largest",
    "options.optimization_level": "the builder's default",
    "options.timing_cache": "none",
    "options.workspace": "the builder's default",
    "checks.fp16_against_fp32": "not measured",
    "checks.fp16_against_fp32.detections.unexplained": "not counted",
}
#: of those, what is told where they are absent
TOLD_WHEN_ABSENT = {"checks.fp16_against_fp32.images": "synthetic"}
#: objects whose fields are anything, or names of types with counts
FREE = ("recipe", "training")
#: lists of numbers, of which whole ones are written as such
NUMBERS = ("network.STEPS", "network.SIZES", "network.ASPECT_RATIOS")
COUNTS = ("receipt.tensors", "receipt.weight_elements", "receipt.plan_tensors")

#: what a change of a field means for what is found, where it may be changed at all; a field that
#: is not here leaves every box as it was
MEANINGS: dict[str, str] = {
    "labels": "other class names",
    "preprocessing.mean": "other pixels",
    "preprocessing.std": "other pixels",
    "preprocessing.color_order": "other pixels",
}
#: the same, where decode + NMS are done with what the file says
OUTSIDE: dict[str, str] = {
    "postprocess": "other scores, boxes and cuts",
}
#: the same, where the file alone says which prior boxes there are
PRIORS: dict[str, str] = {
    "levels": "other prior boxes",
    "clip": "other prior boxes",
}
MEANT: dict[str, dict[str, str]] = {
    # levels and clip are compared with the network's own
    "record.pth": MEANINGS | OUTSIDE,
    # the attributes of the DecodeNms node must be those described
    "detections.onnx": MEANINGS,
    "heads.onnx": MEANINGS | OUTSIDE | PRIORS,
    # the engine's own metadata must agree with the sidecar but for what may be changed by hand
    "detections.fp32.engine": MEANINGS,
    "heads.fp16.engine": MEANINGS | OUTSIDE,
    # levels and clip are compared with those of the network that is described
    "unnamed/record.pth": MEANINGS | OUTSIDE | {"network": "another one with the same priors"},
    "unnamed/heads.onnx": MEANINGS | OUTSIDE,
    # what is done to pictures is inside, and compared
    "pictures/heads.onnx": OUTSIDE | PRIORS,
    "pictures/heads.fp16.engine": OUTSIDE,
    # so are the tiles
    "tiles/heads.onnx": MEANINGS | OUTSIDE | PRIORS,
    # rows of the picture are those of the input, so that resizing changes none
    "fit/heads.fp16.engine": MEANINGS
    | OUTSIDE
    | {"preprocessing.pad": "another frame", "preprocessing.fit": "no frame"},
    # prior boxes as data have a digest
    "priors/record.pth": MEANINGS | OUTSIDE,
    "priors/detections.onnx": MEANINGS,
    "priors/heads.fp16.engine": MEANINGS | OUTSIDE,
    "clipped/detections.onnx": MEANINGS,
    # the picture is none that would be decoded at a fraction
    "reduced/heads.fp16.engine": MEANINGS | OUTSIDE,
}


def _name(place: Place) -> str:
    return ".".join(map(str, place))


def _within(place: Place, names: Any) -> bool:
    name = _name(place)
    return any(name == one or name.startswith(f"{one}.") for one in names)


def _described(place: Place) -> Place:
    """The place of a field within the description, where it is in one."""
    return place[1:] if place[:1] == ("description",) else place


# --- what must be refused


def _is_beyond_json(value: Any, depth: int = 0) -> bool:
    """Whether a value is none that every reader of JSON would read alike."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if type(value) is int:
        return abs(value) > 10**300
    if isinstance(value, dict):
        return any(_is_beyond_json(v, depth + 1) for v in value.values())
    if isinstance(value, list):
        return depth > 100 or any(_is_beyond_json(v, depth + 1) for v in value)
    return False


def _is_of_another_type(damage: Damage) -> bool:
    was, value = damage.was, damage.value
    if was is REMOVED or was is None or _within(damage.path, FREE):
        return False
    if _within(damage.path, COUNTS[1:2]) and isinstance(value, (int, dict)):
        return isinstance(value, bool)
    is_number = type(was) is int and _within(_described(damage.path), NUMBERS)
    if isinstance(was, float) or is_number:
        return type(value) not in (int, float)
    return type(value) is not type(was)


def must_be_refused(damage: Damage) -> bool:
    """Whether no reading of the value is right."""
    if damage.value is REMOVED:
        place = damage.path
        is_element = isinstance(place[-1], int) or _within(place[:-1], (*FREE, *COUNTS))
        return not is_element and not _within(place, OPTIONAL)
    if damage.value is None and _within(damage.path, OPTIONAL):
        return False
    if isinstance(damage.value, str) and not _within(damage.path, FREE):
        # a list of texts may hold line ends, but what no encoding can write is no text
        is_in_list = isinstance(damage.path[-1], int)
        broken = "\ud800" in damage.value or ("\n" in damage.value and not is_in_list)
        return broken or _is_of_another_type(damage)
    return _is_beyond_json(damage.value) or _is_of_another_type(damage)


# --- what a call showed


def faults_of_refusal(outcome: Outcome, file: Path) -> list[str]:
    """What is wrong with the way in which a file was refused."""
    lines = outcome.err.splitlines()
    if outcome.code != 4:
        return [f"exit {outcome.code}: {outcome.err[:300]}"]
    # keys of tensors that do not fit are listed below the line
    if not lines[0].startswith(PREFIX) or not all(line.startswith("  ") for line in lines[1:]):
        return [f"not one error line: {outcome.err[:300]}"]
    faults = [] if file.name in lines[0] else [f"the file is not named: {lines[0][:300]}"]
    return faults + ([f"a line of {len(lines[0])}"] if len(lines[0]) > 600 else [])


#: told of the whole file rather than of the description in it, or computed
_NOT_SHOWN = ("description.format", "description.format_minor", "description.tool_version")


def faults_of_telling(told: dict[str, Any], damage: Damage, form: Form) -> list[str]:
    """What is told other than it was put in."""
    faults = [f"kind {told['kind']}"] if told["kind"] != form.kind else []
    faults += [f"file {told['file']}"] if not str(told["file"]).endswith(form.file) else []
    hidden = (*_NOT_SHOWN, "description.weights") if form.kind == "checkpoint" else _NOT_SHOWN
    # what inspect finds out itself goes before what a file may say under the same name
    own = ("kind", "file", "tensors", "layers", "unknown", "state_dict")
    place = _described(damage.path)
    if _within(damage.path, hidden) or (len(place) == 1 and place[0] in own):
        return faults
    shown: Any = told
    for key in place:
        try:
            shown = shown[key]
        except (KeyError, IndexError, TypeError):
            shown = REMOVED
            break
    if damage.value is REMOVED:
        usual = TOLD_WHEN_ABSENT.get(_name(damage.path), 0)
        expected = (None, REMOVED, usual) if not isinstance(place[-1], int) else (shown,)
        return faults if shown in expected else [*faults, f"told as {shown!r:.100}"]
    put = damage.value
    if _name(place) == "options.compute_capabilities" and isinstance(put, list):
        put = list(dict.fromkeys(put))  # each is built for once
    return faults if shown == put else [*faults, f"told as {shown!r:.100}"]


# --- the walk


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Form, Any], Any]:
    """What detect finds with the file as it was written."""
    known: dict[str, Any] = {}

    def found(form: Form, detect: Callable[[Path], Outcome]) -> Any:
        if form.name not in known:
            folder = tmp_path_factory.mktemp("untouched")
            known[form.name] = _boxes(detect(form.write(form.said(), folder)).fits())
        return known[form.name]

    return found


def _boxes(outcome: Outcome) -> Any:
    return record_from_json(outcome.out)["detections"]


def _drawn(form: Form) -> list[tuple[Damage, bool]]:
    """The changes to try, and whether with detect too."""
    draw = random.Random(form.name)
    everything = os.environ.get("SSD_SMALL_DAMAGE") == "all"
    chosen = []
    for changes in damages(form.said()).values():
        few = changes if everything else draw.sample(changes, min(DRAWN, len(changes)))
        chosen += [(one, everything or draw.random() < DETECTED) for one in few]
    return chosen


class Walk:
    """Tries changes of one kind of file and collects what goes wrong."""

    def __init__(self, form: Form, call: Callable[..., Outcome], folder: Path, found: Any) -> None:
        self.form, self.call, self.folder, self.untouched = form, call, folder, found
        self.faults: list[str] = []
        self.counts = {"refused": 0, "told": 0, "detected": 0}

    def _called(self, *arguments: object) -> Outcome | str:
        started = time.process_time()
        try:
            outcome = self.call(*arguments)
        except BaseException as error:
            return f"traceback: {error!r:.300}"
        seconds = time.process_time() - started
        return outcome if seconds < MOST_SECONDS else f"{seconds:.1f} s"

    def detect(self, file: Path) -> Any:
        option, picture = self.form.option, FORMAT_1 / "picture.png"
        return self._called("detect", option, file, picture, "--json", "--threads", 1)

    def step(self, damage: Damage, with_detect: bool) -> None:
        file = self.form.write(damage.applied(self.form.said()), self.folder)
        outcome = self._called("inspect", file, "--json")
        faults = [outcome] if isinstance(outcome, str) else self._judge(outcome, damage, file)
        if not faults and with_detect:
            assert isinstance(outcome, Outcome)
            faults = self._judge_text(self._called("inspect", file), outcome)
            if not faults and self.form.option is not None:
                faults = self._judge_detection(self.detect(file), damage, file, outcome.code)
        self.faults += [f"{self.form.name} {damage}: {fault}" for fault in faults]

    def _judge(self, outcome: Outcome, damage: Damage, file: Path) -> list[str]:
        if outcome.code:
            self.counts["refused"] += 1
            return faults_of_refusal(outcome, file)
        self.counts["told"] += 1
        if must_be_refused(damage):
            return ["told, though it must be refused"]
        return faults_of_telling(record_from_json(outcome.out), damage, self.form)

    @staticmethod
    def _judge_text(shown: Outcome | str, as_json: Outcome) -> list[str]:
        """What is wrong with the same told to people."""
        if isinstance(shown, str):
            return [f"as text: {shown}"]
        if (shown.code, shown.err) != (as_json.code, as_json.err):
            return [f"as text: exit {shown.code}: {shown.err[:300]}"]
        return ["as text: a dictionary of Python"] if "{" in shown.out else []

    def _judge_detection(
        self, outcome: Outcome | str, damage: Damage, file: Path, inspected: int
    ) -> list[str]:
        if isinstance(outcome, str):
            return [f"detect: {outcome}"]
        self.counts["detected"] += 1
        if outcome.code:
            # contradictions show when the network is opened
            return [f"detect: {fault}" for fault in faults_of_refusal(outcome, file)]
        if inspected:
            return ["detect uses what inspect refuses"]
        try:
            found = _boxes(outcome)
        except ValueError as error:
            return [f"detect: {error}"]
        if _within(_described(damage.path), MEANT[self.form.name]):
            return []
        same = found == self.untouched(self.form, self.detect)
        return [] if same else ["detect finds something else"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in ALL_FORMS]
)
def test_a_damaged_field_is_refused_or_means_what_it_says(
    name: str, call: Callable[..., Outcome], tmp_path: Path, untouched: Any
) -> None:
    walk = Walk(ALL_FORMS[name], call, tmp_path, untouched)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chosen = _drawn(ALL_FORMS[name])
    for damage, with_detect in chosen:
        walk.step(damage, with_detect)
    shown = "\n".join(walk.faults[:200])
    assert not walk.faults, f"{len(walk.faults)} of {len(chosen)}:\n{shown}"
    # KiB, on Linux
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH >> 10
    assert all(walk.counts[what] for what in ("refused", "told")), walk.counts
