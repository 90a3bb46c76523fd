"""Detections of any number of pictures, in shards, by one process or a cluster."""
