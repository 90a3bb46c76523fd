"""The reference of the Python API, from the docstrings: ``build_docs.py FOLDER`` (make docs).

It begins with the public names, those of ``ssd_small`` itself; what else programs import follows.
Ends with 1, and a line for each, where pdoc warns: of a name that does not resolve, say.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import ssd_small

#: what Python programs import besides the public names; the command line is told by --help
MODULES = (
    "errors",
    "postprocess",
    "pictures.preprocessing",
    "pictures.tiles",
    "datasets.coco",
    "models.registry",
    "models.spec",
    "artefacts.description",
    "artefacts.sidecar",
    "artefacts.build_options",
    "runtimes",
    "runtimes.base",
    "detection.tiling",
    "evaluation.evaluate",
    "evaluation.score",
    "evaluation.proof",
    "export.to_onnx",
    "export.onnx_file",
    "export.build_engine",
    "parity.parity",
    "parity.attribution",
    "bench.run",
    "training.recipe",
)


def build_docs(folder: Path) -> list[str]:
    """Write the pages into a folder; what pdoc warned of, a line each."""
    for name in ssd_small.__all__:  # they load when they are first used, which pdoc does not see
        setattr(ssd_small, name, getattr(ssd_small, name))
    pdoc.render.configure(docformat="google", footer_text=f"ssd-small {ssd_small.__version__}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        modules = (f"ssd_small.{module}" for module in MODULES)
        pdoc.pdoc("ssd_small", *modules, output_directory=folder)
    return [" ".join(str(one.message).split()) for one in caught]


if __name__ == "__main__":
    faults = build_docs(Path(sys.argv[1]))
    sys.exit("\n".join(faults) or None)
