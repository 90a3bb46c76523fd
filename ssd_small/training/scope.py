"""Selection of the parts of a network that learn."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from ..errors import UsageError


def freeze_outside(net: nn.Module, scope: Collection[str] | None) -> None:
    """Freeze all parameters whose top-level module is not in ``scope``; None: all learn.

    As in the published implementation, batch norms in frozen modules still update their running
    statistics, and names that the network lacks are ignored.

    Raises:
        UsageError: no parameter is left to learn.
    """
    for name, module in net.named_children():
        module.requires_grad_(scope is None or name in scope)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UsageError(
            f"--trainable-scope {','.join(scope or ())}: nothing of the network would learn; "
            f"expected some of {', '.join(_parts(net))}"
        )


def names_without_part(net: nn.Module, scope: Collection[str] | None) -> list[str]:
    """Names in ``scope`` that the network lacks."""
    parts = _parts(net)
    return [name for name in scope or () if name not in parts]


def _parts(net: nn.Module) -> list[str]:
    """Names of the top-level modules that have parameters."""
    return [name for name, module in net.named_children() if any(True for _ in module.parameters())]
