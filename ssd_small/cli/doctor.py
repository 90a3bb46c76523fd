"""``ssd-small doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import FILE, json_option, print_json


@click.command()
@click.argument("engine", required=False, type=FILE)
@click.option("--self-test", "run_test", is_flag=True, help="Build and run a small engine.")
@json_option
def command(engine: Path | None, run_test: bool, as_json: bool) -> None:
    """Say what is installed, and whether ENGINE can run here; every "no" with what to type.

    Exit code 3 if ENGINE cannot run here, 1 if the self-test fails.
    """
    from ..doctor import examine, examine_engine, self_test

    findings = examine()
    asked = examine_engine(engine) if engine else []
    tested = self_test() if run_test else []
    runnable = all(f.fine for f in asked if f.needed)
    passed = all(f.fine for f in tested)
    if as_json:
        result: dict[str, object] = {"machine": [f.to_dict() for f in findings]}
        if engine:
            result |= {"engine": [f.to_dict() for f in asked], "runs_here": runnable}
        if run_test:
            result |= {"self_test": [f.to_dict() for f in tested], "self_test_passed": passed}
        print_json(result)
    else:
        for finding in (*findings, *asked, *tested):
            mark = "yes" if finding.fine else " no"
            click.echo(f"{mark}  {finding.subject}: {finding.state}")
            if finding.remedy:
                click.echo(f"     -> {finding.remedy}")
        if engine:
            click.echo(f"{engine} {'can' if runnable else 'cannot'} run here")
        if run_test:
            click.echo(f"self-test {'passed' if passed else 'failed'}")
    if not runnable or not passed:
        sys.exit(1 if not passed else 3)
