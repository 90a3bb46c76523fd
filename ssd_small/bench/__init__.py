"""Inference time: what is timed, the timer, and inputs that cost what real ones do."""
