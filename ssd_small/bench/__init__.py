"""Inference time: what is timed, the timer, and inputs that cost as much as real ones."""
