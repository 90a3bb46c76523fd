"""A stand-in for Triton's backends of networks: pip's ONNX Runtime in its Python backend.

The server runs the configuration of a model unmodified: batches, checks and files are its own.
"""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

# of the environment that the server came with; the backend's own Python has none
sys.path.insert(0, os.environ["SSD_SMALL_TRITON_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

#: the "plans" of the double of TensorRT are ONNX files
FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self.config = json.loads(args["model_config"])
        name = FILES[self.config["backend"]]
        self.session = onnxruntime.InferenceSession((folder / name).read_bytes(), settings)
        self.names = [one["name"] for one in self.config["output"]]
        self.calls = Path(os.environ["SSD_SMALL_TRITON_CALLS"])

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(one, "images").as_numpy() for one in requests]
        sizes = [len(one) for one in inputs]
        outputs = self.session.run(self.names, {"images": np.concatenate(inputs)})
        seen = [sha256(one.tobytes()).hexdigest() for images in inputs for one in images]
        line = {"model": self.config["name"], "requests": sizes, "pictures": seen}
        with self.calls.open("a") as file:
            file.write(json.dumps(line) + "\n")
        responses, begin = [], 0
        for size in sizes:
            tensors = [
                pb_utils.Tensor(name, np.ascontiguousarray(one[begin : begin + size]))
                for name, one in zip(self.names, outputs, strict=True)
            ]
            begin += size
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
