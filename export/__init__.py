"""From network to ONNX to engine (installed as ``ssd_small.export``)."""
