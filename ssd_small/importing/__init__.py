"""Detectors of other projects, brought in as networks of this one."""
