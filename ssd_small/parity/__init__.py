"""Whether an engine finds what its reference finds, and where not."""
