"""``ssd-small detect`` of videos, cameras and network streams."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from ..errors import BadFile, UsageError
from ..json_files import json_text
from ..terminal import drawing_stream, one_line
from .options import note
from .streams import has_lost_reader

if TYPE_CHECKING:
    from ..detection.detector import Detector
    from ..detection.picture_detections import PictureDetections
    from ..pictures.reading import Image
    from ..pictures.tiles import Tiling
    from ..video.opening import Frames
    from ..video.sources import Source
    from ..video.writing import VideoWriter

#: seconds between two looks at the pace
_GLANCE = 0.5


class Shown(TypedDict):
    """Which detections are shown: of scores above, and of classes."""

    threshold: Mapping[str | None, float] | None
    only: Sequence[str] | None


@dataclass(frozen=True)
class Video:
    """A source of frames, and what is to be done with it.

    Attributes:
        source: what gives frames.
        target: the video with boxes; None for none.
        fps: frames to take of each second; None for all.
        track: number the objects.
    """

    source: Source
    target: Path | None
    fps: float | None
    track: bool


def sources_from(given: Sequence[str]) -> list[Source]:
    """The sources of frames that a user names; none where they are pictures.

    Raises:
        UsageError: both in one call, or a live one among others.
    """
    from ..video.sources import name_of, source_from

    found = [source_from(one) for one in given]
    sources = [one for one in found if one is not None]
    if sources and len(sources) < len(given):
        raise UsageError(
            f"{name_of(sources[0])} is a video and {given[found.index(None)]} is none; pass "
            "pictures and videos apart"
        )
    live = [one for one in sources if not isinstance(one, Path)]
    if live and len(sources) > 1:
        raise UsageError(f"{name_of(live[0])} has no end; pass it alone, other sources apart")
    return sources


def refuse_for_pictures(fps: float | None, track: bool) -> None:
    """Refuse options that pictures have no use for, with UsageError."""
    for option, is_given in (("--fps", fps is not None), ("--track", track)):
        if is_given:
            raise UsageError(f"{option} is for videos, cameras and streams; these are pictures")


def videos_from(
    sources: Sequence[Source],
    output: Path | None,
    read: Sequence[Path | None],
    fps: float | None,
    track: bool,
) -> list[Video]:
    """What is to be done; all that can be refused is refused here, before any work.

    Raises:
        UsageError: an output that is an input, or an ending that no video has.
        OutputError: it cannot be written.
        MissingRequirement: a package for what was asked is not installed.
    """
    from ..artefacts.outputs import check_outputs, folder_with_inputs
    from ..requirements import require
    from ..video.sources import stem_of
    from ..video.writing import check_ending, written_ending

    if track:
        require("edgefirst.tracker", "following objects (--track)")
    if output is None:
        return [Video(one, None, fps, track) for one in sources]
    require("PIL", "drawing detections")
    files = [one for one in sources if isinstance(one, Path)]
    targets: list[Path] = []
    if len(sources) == 1 and output.suffix and not output.is_dir():
        check_ending(output)
        targets.append(output)
    else:
        for one in sources:
            ending = written_ending(one.suffix if isinstance(one, Path) else "")
            target, number = output / f"{stem_of(one)}{ending}", 1
            while target in targets:
                number += 1
                target = output / f"{stem_of(one)}-{number}{ending}"
            targets.append(target)
    check_outputs(targets, [*files, *read, folder_with_inputs(output, files)])
    return [Video(one, target, fps, track) for one, target in zip(sources, targets, strict=True)]


def print_videos(
    detector: Detector,
    videos: Sequence[Video],
    as_json: bool,
    tiling: Tiling | None,
    *,
    threshold: Mapping[str | None, float] | None,
    only: Sequence[str] | None,
) -> None:
    """Detect, draw and print frame by frame.

    Raises:
        BadFile: of one video, or of several: after all of them.
    """
    road = {"score_threshold": threshold, "only": only, "tiling": tiling}
    # an unknown class is refused before a source is opened
    detector.filter_from_threshold(threshold, None, only)
    faults: list[BadFile] = []
    for video in videos:
        try:
            _print_video(detector, video, as_json, road)
        except BadFile as error:
            if len(videos) == 1:
                raise
            note(f"  {error.command_line}")
            faults.append(error)
    if faults:
        raise BadFile(f"{len(faults)} of {len(videos)} videos could not be read whole, see above")


def _print_video(detector: Detector, video: Video, as_json: bool, road: Mapping[str, Any]) -> None:
    from ..detection.entry import entry_from_outcome
    from ..detection.video import video_outcomes
    from ..pictures.limits import most_pixels
    from ..video.opening import open_frames
    from .detect import print_entry

    limit = most_pixels(detector.max_pixels)
    frames = open_frames(video.source, rate=video.fps, max_pixels=limit, say=_say)
    classes = None
    if road["only"] is not None:
        classes = detector.filter_from_threshold(road["score_threshold"], None, road["only"])
    keep = {"keep_pixels": video.target is not None, "track": video.track}
    fault: BadFile | None = None
    with _drawing(video, frames) as writer, _Pace(frames) as pace:
        outcomes = video_outcomes(detector, frames, **road, **keep)
        try:
            for outcome, found in outcomes:
                entry = {"source": frames.name, **entry_from_outcome(outcome, found, classes)}
                if writer is not None and outcome.pixels is not None:
                    writer.write(_drawn(outcome.pixels, found))
                click.echo(json_text(entry)) if as_json else print_entry(entry)
                del outcome
                pace.frame()
                # a live source has no end of its own
                if frames.is_live and writer is None and has_lost_reader():
                    break
        except BadFile as error:
            # what came before is there all the same
            if not pace.count:
                raise
            fault = error
        finally:
            outcomes.close()  # type: ignore[attr-defined]
    if fault is not None:
        raise fault


@contextmanager
def _drawing(video: Video, frames: Frames) -> Iterator[VideoWriter | None]:
    from ..video.writing import written_video

    if video.target is None:
        yield None
        return
    with written_video(video.target, frames.rate, keep=frames.is_live) as writer:
        yield writer
    note(f"note: {writer.count} frames with boxes in {video.target}")


def _drawn(pixels: Image, found: PictureDetections) -> Image:
    from ..detection.draw import drawn

    return drawn(pixels, found)


def _say(line: str) -> None:
    """A line on standard error, from whichever thread."""
    # what stands on a terminal's line is the pace
    if sys.stderr.isatty():
        drawing_stream().write("\r\x1b[K")
    note(line)


class _Pace:
    """Shows frames per second while they come, on a terminal, and once they have."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self.count = frames, 0
        self._begin = self._shown = 0.0

    def __enter__(self) -> _Pace:
        # frames come in batches, so that the time since the first would be too short
        self._begin = self._shown = time.perf_counter()
        return self

    def frame(self) -> None:
        """One more is done."""
        now = time.perf_counter()
        self.count += 1
        if now - self._shown > _GLANCE and sys.stderr.isatty():
            self._shown = now
            stream = drawing_stream()
            stream.write(f"\r\x1b[K{one_line(self._line())}")
            stream.flush()

    def _line(self) -> str:
        seconds = time.perf_counter() - self._begin
        pace = f", {self.count / seconds:.1f} frames/s" if self.count and seconds else ""
        dropped = getattr(self._frames, "dropped", None)
        lost = "" if dropped is None else f", {dropped} dropped of {self._frames.received}"  # type: ignore[union-attr]
        return f"{self._frames.name}: {self.count} frames{pace}{lost}"

    def __exit__(self, *error: object) -> None:
        if self.count:
            _say(self._line())
