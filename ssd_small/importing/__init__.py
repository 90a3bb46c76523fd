"""Detectors of other projects: importing their checkpoints, adopting their ONNX files."""
