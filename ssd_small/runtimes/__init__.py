"""Execution of a network or engine behind one small interface."""
