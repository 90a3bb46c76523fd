"""A configuration file as values: sections of a published experiment, our own options, or both.

Upper-case keys are those of the published repository (``train.py --cfg FILE``), with its types and
defaults. Lower-case keys are the options of ``ssd-small train``; they take precedence over the
upper-case ones, and the command line takes precedence over both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BadFile, quoted
from .kinds import Kind, kinds_of
from .network import NETWORK_KEYS, NetworkConfig, network_config_from_dict
from .options import OPTIONS
from .sections import (
    DatasetSection,
    EvaluationSection,
    MatcherSection,
    ModelSection,
    Places,
    PostProcessSection,
    TrainSection,
)
from .yaml_file import mapping_from_yaml

Section = TypeVar("Section")

#: what a file should have been, for messages
EXPECTED = "a configuration (YAML)"
SECTIONS: Mapping[str, type[Any]] = {
    "MODEL": ModelSection,
    "TRAIN": TrainSection,
    "TEST": EvaluationSection,
    "MATCHER": MatcherSection,
    "POST_PROCESS": PostProcessSection,
    "DATASET": DatasetSection,
}


@dataclass(frozen=True)
class Experiment:
    """The content of a configuration file; absent keys have the published defaults.

    Attributes:
        path: the file.
        network: the network described in the MODEL section.
        model, train, test, matcher, post_process, dataset: the sections.
        places: folders and files named outside the sections.
        options: our own keys that are set, by name.
        given: published keys that the file contains (``TRAIN.OPTIMIZER.EPS``).
        notes: remarks on what may be unexpected, one per line.
    """

    path: Path
    network: NetworkConfig = field(default_factory=NetworkConfig)
    model: ModelSection = field(default_factory=ModelSection)
    train: TrainSection = field(default_factory=TrainSection)
    test: EvaluationSection = field(default_factory=EvaluationSection)
    matcher: MatcherSection = field(default_factory=MatcherSection)
    post_process: PostProcessSection = field(default_factory=PostProcessSection)
    dataset: DatasetSection = field(default_factory=DatasetSection)
    places: Places = field(default_factory=Places)
    options: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """MODEL.NUM_CLASSES, background included."""
        return self.model.num_classes

    def has(self, key: str) -> bool:
        """Whether the file contains a published key, or any key of a section."""
        return any(one == key or one.startswith(f"{key}.") for one in self.given)

    @property
    def described_classes(self) -> int | None:
        """Classes of the network that the file describes; None if it does not specify them."""
        described = self.names_network or self.has("MODEL.NUM_CLASSES")
        return self.num_classes if described else None

    @property
    def names_network(self) -> bool:
        """Whether the file describes its network and no lower-case ``model`` replaces it."""
        keys = (f"MODEL.{key}" for key in NETWORK_KEYS)
        return "model" not in self.options and any(self.has(key) for key in keys)


def read_experiment(path: str | Path) -> Experiment:
    """Read a configuration file.

    Raises:
        BadFile: the file cannot be read or is not a YAML mapping, or a value has the wrong type,
            is out of range or unknown (an optimizer, say); one line with file, key and value.
    """
    path = Path(path)
    values = mapping_from_yaml(path, EXPECTED)
    reader = _Reader(path)
    sections = {name: reader.mapping(values[name], name) for name in SECTIONS if name in values}
    model = sections.get("MODEL", {})
    network_keys = {key: model.pop(key) for key in NETWORK_KEYS if key in model}
    reader.given |= {f"MODEL.{key}" for key in network_keys}
    network = network_config_from_dict(network_keys, path)
    read = {
        name.lower(): reader.section(kind, sections.get(name, {}), name)
        for name, kind in SECTIONS.items()
    }
    outside = {key: value for key, value in values.items() if key not in SECTIONS}
    places = {key: outside.pop(key) for key in kinds_of(Places) if key in outside}
    options = {
        key: OPTIONS[key].read(value, key, path)
        # a key without a value means that the option is not given
        for key, value in outside.items()
        if key in OPTIONS and value is not None
    }
    reader.note_unknown(outside, "", [*SECTIONS, *kinds_of(Places), *OPTIONS])
    options = {key: value for key, value in options.items() if value is not None}
    if "model" in options:
        network_notes = _replaced_note(path, options["model"], network_keys)
    else:
        network_notes = _size_note(path, network)
    return Experiment(
        path,
        network,
        places=reader.section(Places, places, ""),
        options=options,
        given=frozenset(reader.given),
        notes=(*reader.all_notes(), *network_notes),
        **read,
    )


def _replaced_note(path: Path, model: str, keys: Iterable[str]) -> Iterable[str]:
    listed = ", ".join(f"MODEL.{key}" for key in keys)
    if listed:
        yield f"{path}: model {model} takes the place of {listed}"


def _size_note(path: Path, network: NetworkConfig) -> Iterable[str]:
    height, width = network.image_size
    if height != width:
        yield (
            f"{path}: MODEL.IMAGE_SIZE [{height}, {width}] is height and width, as its priors read "
            "it; the published resize took it as width and height"
        )


@dataclass
class _Reader:
    """Reads sections, and keeps track of the keys found."""

    path: Path
    given: set[str] = field(default_factory=set)
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def mapping(self, value: object, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadFile(f"{self.path}: {name}: got {quoted(value)}, expected keys with values")
        self.given.add(name)
        return dict(value)

    def section(self, kind: type[Section], values: Mapping[str, Any], name: str) -> Section:
        """Read a section from its values; ``name`` is its path in the file."""
        known = kinds_of(kind)
        prefix = f"{name}." if name else ""
        read = {}
        for key, value in values.items():
            if key not in known:
                continue
            self.given.add(prefix + key)
            place, value_kind, unused = known[key]
            if unused:
                self.unused.append(prefix + key)
            read[place] = self._value(kind, place, value_kind, value, prefix + key)
        candidates = [*known, *(NETWORK_KEYS if name == "MODEL" else ())]
        self.note_unknown(values, prefix, candidates)
        return kind(**read)

    def _value(
        self, section: type[Any], place: str, kind: Kind | None, value: object, key: str
    ) -> Any:
        if kind is not None:
            return kind.read(value, key, self.path)
        nested = getattr(section(), place)
        assert is_dataclass(nested)
        return self.section(type(nested), self.mapping(value, key), key)

    def note_unknown(self, values: Mapping[str, Any], prefix: str, known: Iterable[str]) -> None:
        """Note the unknown keys, each with the known key that may have been meant."""
        by_capitals = {one.upper(): one for one in known}
        for key in values:
            if key in by_capitals.values():
                continue
            near = get_close_matches(key.upper()[:60], by_capitals, 1)
            hint = f"; {prefix}{by_capitals[near[0]]} is one" if near else ""
            name = f"{prefix}{key}"
            # characters that would control the terminal or break the line are escaped
            name = name[:80] if name.isprintable() else quoted(name)
            self.notes.append(f"{self.path}: {name} is no known key, left out{hint}")

    def all_notes(self) -> list[str]:
        """Return the notes, one per unknown key, and one for all keys without effect here."""
        if not self.unused:
            return self.notes
        return [*self.notes, f"{self.path}: without effect here: {', '.join(self.unused)}"]
