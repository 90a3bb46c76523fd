"""Detectors at work for many: services and jobs on engines that exist."""
