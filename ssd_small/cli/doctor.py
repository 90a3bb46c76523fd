"""``ssd-small doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import FILE, json_option, print_json, say


@click.command()
@click.argument("engine", required=False, type=FILE)
@click.option("--self-test", "run_test", is_flag=True, help="Build and run a small engine.")
@json_option
def command(engine: Path | None, run_test: bool, as_json: bool) -> None:
    """Say what is installed, and whether ENGINE can run here; each "no" says what to type.

    Exit code 1 if the self-test fails, 3 if ENGINE cannot run here or the self-test found no GPU.
    """
    from ..doctor.cuda_versions import examine_cuda_versions
    from ..doctor.engine import examine_engine
    from ..doctor.environment import examine
    from ..doctor.other_tools import examine_other_tools
    from ..doctor.self_test import self_test
    from ..system.gpu import gpus

    findings = [*examine(), *examine_cuda_versions(gpus()), *examine_other_tools()]
    asked = examine_engine(engine) if engine else []
    tested = self_test() if run_test else []
    runnable = all(f.fine for f in asked if f.needed)
    failed = any(f.needed and not f.fine for f in tested)
    complete = all(f.fine for f in tested)
    if as_json:
        result: dict[str, object] = {"machine": [f.to_dict() for f in findings]}
        if engine:
            result |= {"engine": [f.to_dict() for f in asked], "runs_here": runnable}
        if run_test:
            result |= {"self_test": [f.to_dict() for f in tested], "self_test_passed": complete}
        print_json(result)
    else:
        for finding in (*findings, *asked, *tested):
            mark = "yes" if finding.fine else " no"
            say(f"{mark}  {finding.subject}: {finding.state}")
            if finding.remedy:
                say(f"     -> {finding.remedy}")
        if engine:
            say(f"{engine} {'can' if runnable else 'cannot'} run here")
        if run_test:
            state = "failed" if failed else "passed" if complete else "not done: no GPU"
            say(f"self-test {state}")
    if failed:
        sys.exit(1)
    if not runnable or not complete:
        sys.exit(3)
