"""Detectors of other projects: their checkpoints imported, their ONNX files adopted."""
