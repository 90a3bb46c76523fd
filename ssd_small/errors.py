"""Errors a user can act on; each class carries the exit code of the command line."""

from __future__ import annotations


class SsdSmallError(Exception):
    """One line that says what was received, what was expected and what to do."""

    exit_code = 1


class CheckFailed(SsdSmallError):
    """A check the user asked for did not hold (parity, ``--min-map``): exit 1."""

    exit_code = 1


class Diverged(SsdSmallError):
    """A training run has left the numbers (infinite or NaN loss): exit 1."""

    exit_code = 1


class UsageError(SsdSmallError, ValueError):
    """An argument is wrong: exit 2."""

    exit_code = 2


class MissingRequirement(SsdSmallError):
    """A package, library or piece of hardware is missing: exit 3."""

    exit_code = 3


class BadFile(SsdSmallError):
    """A file cannot be read, written or understood: exit 4."""

    exit_code = 4


class OutputError(BadFile):
    """A file cannot be written (permission, full disk): exit 4."""
