"""Configuration files: the published experiments' and our own, read into plain values."""
