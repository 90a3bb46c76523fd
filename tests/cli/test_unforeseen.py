"""Exceptions that nobody has foreseen are a line and an exit code of their own."""

from __future__ import annotations

import pytest

from ssd_small.doctor import environment


@pytest.fixture
def failing(call, monkeypatch):
    """The outcome of a command in which an exception arises."""

    def run(error: BaseException):
        def examine() -> None:
            raise error

        monkeypatch.setattr(environment, "examine", examine)
        return call("doctor")

    return run


def test_a_fault_of_our_own_is_a_line_that_asks_for_a_report(failing):
    line = failing(TypeError("a\x1b\nb")).fails(70, "TypeError: a", "SSD_SMALL_TRACEBACK=1")
    assert r"\u001b" in line


def test_where_it_arose_is_shown_to_who_asks(failing, monkeypatch):
    monkeypatch.setenv("SSD_SMALL_TRACEBACK", "1")
    outcome = failing(TypeError("a"))
    assert outcome.code == 70
    assert "in examine" in outcome.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate"),
    ],
)
def test_memory_that_ran_out_is_a_matter_of_the_machine(failing, error):
    failing(error).fails(3, "memory ran out", "--batch")


def test_endless_nesting_is_a_matter_of_the_file(failing):
    failing(RecursionError()).fails(4, "nested too deep")


def test_a_name_with_a_line_break_does_not_make_two_lines(call, tmp_path):
    line = call("inspect", tmp_path / "a\nb\x1b[31m\u202e").fails(4, r"a\nb\u001b[31m\u202e")
    assert "\x1b" not in line
    call("no\nsuch\x1b").fails(2, r"no\nsuch")
