"""Write the measured figures into README.md, between its markers.

A block starts with ``<!-- figures: NAME -->`` and ends with ``<!-- end -->``. Figures come from
benchmarks/results/*.json only; a figure nobody measured has no block.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import readme_batch
import readme_large
import readme_pace
import readme_results
import readme_serving
import readme_times
import readme_trials
from readme_tables import ROOT

_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.S)

BLOCKS: dict[str, Callable[[], str]] = {
    "networks": readme_results.networks,
    "demo": readme_results.demo,
    "parity": readme_results.parity,
    "full_width": readme_results.full_width,
    "bench": readme_times.bench,
    "beside_torchvision": readme_times.beside_torchvision,
    "engines": readme_times.engines,
    "tensorrt_versions": readme_trials.tensorrt_versions,
    "kernels": readme_times.kernels,
    "decode_nms": readme_times.decode_nms,
    "bccd": readme_results.bccd,
    "training": readme_times.training,
    "experiments": readme_times.experiments,
    "damaged_input": readme_trials.damaged_input,
    "kill_table": readme_trials.kill_table,
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
}


def render(text: str) -> str:
    """The README with every block filled in."""
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]]()}\n{m[3]}", text)


def main() -> None:
    """Rewrite README.md; with ``--check`` only say whether it is up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    rendered = render(text)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if rendered == text else "README.md differs from benchmarks/results: render it")
    readme.write_text(rendered)


if __name__ == "__main__":
    main()
