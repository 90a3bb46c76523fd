"""Reading configuration files, those of published experiments and our own, into plain values."""
