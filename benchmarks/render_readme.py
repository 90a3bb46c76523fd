"""Write the measured figures into the documents between their markers.

A block starts with ``<!-- figures: NAME -->`` and ends with ``<!-- end -->``. Figures come from
benchmarks/results/*.json only; a figure that was not measured has no block.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import readme_batch
import readme_decode_nms
import readme_large
import readme_pace
import readme_results
import readme_serving
import readme_support
import readme_times
import readme_trials
from readme_tables import ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "benchmarks/kernels_modelled.md")

_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.S)

BLOCKS: dict[str, Callable[[], str]] = {
    "first_detection": readme_support.first_detection,
    "cost": readme_support.cost,
    "runs_where": readme_support.runs_where,
    "coverage": readme_support.coverage,
    "networks": readme_results.networks,
    "which_network": readme_results.which_network,
    "demo": readme_results.demo,
    "parity": readme_results.parity,
    "full_width": readme_results.full_width,
    "bench": readme_times.bench,
    "beside_torchvision": readme_times.beside_torchvision,
    "beside_imported": readme_times.beside_imported,
    "engines": readme_times.engines,
    "tensorrt_versions": readme_trials.tensorrt_versions,
    "kernels": readme_times.kernels,
    "decode_nms": readme_decode_nms.decode_nms,
    "bccd": readme_results.bccd,
    "training": readme_times.training,
    "experiments": readme_times.experiments,
    "damaged_input": readme_trials.damaged_input,
    "kill_table": readme_trials.kill_table,
    "int8": readme_results.int8,
    "cpu_engines": readme_times.cpu_engines,
    "video_pace": readme_pace.video_pace,
    "picture_input": readme_results.picture_input,
    "attribution": readme_results.attribution,
    "evaluation": readme_times.evaluation,
    "large_pictures": readme_large.large_pictures,
    "large_times": readme_large.large_times,
    "batch_pace": readme_batch.batch_pace,
    "batch_kills": readme_batch.batch_kills,
    "batch_model": readme_batch.batch_model,
    "eval_pace": readme_pace.eval_pace,
    "reduced_decoding": readme_pace.reduced_decoding,
    "real_networks": readme_results.real_networks,
    "serve": readme_serving.serve,
    "serving_engines": readme_serving.serving_engines,
    "startup": readme_trials.startup,
}


def render(text: str) -> str:
    """A document with every block filled in."""
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]]()}\n{m[3]}", text)


def main() -> None:
    """Rewrite the documents; with ``--check`` only say whether they are up to date."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        rendered = render(text)
        if "--check" not in sys.argv[1:]:
            (ROOT / name).write_text(rendered)
        elif rendered != text:
            sys.exit(f"{name} differs from benchmarks/results: render it")


if __name__ == "__main__":
    main()
