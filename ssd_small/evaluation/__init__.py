"""Scoring of detections, and the proof that two lists of them are equivalent."""
