"""Data sets that are made on the spot or converted."""
