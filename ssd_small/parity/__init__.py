"""Whether an engine finds what its network finds, and where it does not."""
