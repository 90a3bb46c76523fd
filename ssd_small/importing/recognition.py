"""Which family a state dict belongs to, by its keys and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import BadFile, UsageError, quoted
from . import faces, mobilenets, resnet, ssdlite, vgg
from .family import PROJECTS, Family, Shapes

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES: tuple[Family, ...] = (
    *vgg.FAMILIES,
    *ssdlite.FAMILIES,
    *mobilenets.FAMILIES,
    *resnet.FAMILIES,
    *faces.FAMILIES,
)


def models_of(project: str | None) -> list[str]:
    """Names that ``--model`` takes, for one project or for all."""
    return [one.model for one in FAMILIES if project in (None, one.project)]


def without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose keys start like those of its family, without any wrappers' prefixes.

    Some tensors may have a prefix and others another or none, as long as names stay distinct.
    """
    for family in FAMILIES:
        # recognised by its key prefixes, of which no other project's keys contain the first
        if not any(f".{family.present[0]}" in f".{key}" for key in state):
            continue
        found = {
            key[: key.index(mark)]
            for mark in family.present
            for key in state
            if f".{mark}" in f".{key}"
        }
        prefixes = sorted((p for p in found if p.endswith(".")), key=len, reverse=True)
        for some in (prefixes, *([prefix] for prefix in prefixes)):
            bare = {_without(key, some): value for key, value in state.items()}
            if some and len(bare) == len(state) and _is(family, bare):
                return bare
    return state


def _without(key: str, prefixes: Iterable[str]) -> str:
    """A key without the first of the prefixes that it has."""
    return next((key.removeprefix(one) for one in prefixes if key.startswith(one)), key)


def family_of(
    state: dict[str, Tensor], path: object, project: str | None, model: str | None
) -> Family:
    """The family of a state dict.

    Args:
        state: tensors by key.
        path: what messages call the state dict.
        project, model: what the user says it belongs to; None to find out.

    Raises:
        UsageError: the user names a model that the project does not have.
        BadFile: it belongs to no family, or to another one than the user says.
    """
    named = _named(project, model)
    found = [family for family in FAMILIES if _is(family, state)]
    for family in found:
        if family in named:
            return family
    if found:
        raise BadFile(
            f"{path} is of {found[0].project}'s {found[0].model}, not of "
            f"{_told(project, model)}: pass --from {found[0].project} --model {found[0].model}, or "
            "neither"
        )
    from ..models.fit import CLASSIFIERS, family_from_keys

    looks = family_from_keys(state)
    seen = f"it looks like a checkpoint of {looks}" if looks else f"keys such as {_first(state)}"
    known = ", ".join(f"{one} ({', '.join(models_of(one))})" for one in PROJECTS)
    backbone = "; its backbone is for 'train --init-scope base'" if looks in CLASSIFIERS else ""
    raise BadFile(
        f"{path} has not the keys of {_told(project, model)} ({seen}); expected a whole state dict "
        f"of one of: {known}{backbone}"
    )


def _named(project: str | None, model: str | None) -> list[Family]:
    named = [
        one for one in FAMILIES if project in (None, one.project) and model in (None, one.model)
    ]
    if not named:
        nowhere = f"{project} has none" if project else "no project has one"
        raise UsageError(
            f"--model {model}: {nowhere} of that name; expected one of "
            f"{', '.join(models_of(project))}"
        )
    return named


def _told(project: str | None, model: str | None) -> str:
    if project is None:
        return model or "a network that can be imported"
    return f"{project}'s {model}" if model else f"a network of {project}"


def _is(family: Family, state: dict[str, Tensor]) -> bool:
    shapes = shapes_of(state)
    return (
        all(_any_begins(shapes, mark) for mark in family.present)
        and not any(_any_begins(shapes, mark) for mark in family.absent)
        and family.fits(shapes)
    )


def shapes_of(state: dict[str, Tensor]) -> Shapes:
    """Shape of each tensor."""
    return {key: tuple(value.shape) for key, value in state.items()}


def _any_begins(keys: Iterable[str], mark: str) -> bool:
    return any(key.startswith(mark) for key in keys)


def _first(keys: dict[str, Tensor] | Sequence[str]) -> str:
    return quoted(next(iter(keys), "none"))[1:-1]
