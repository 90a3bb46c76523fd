"""Pages to look at: what eval, bench and parity found, as one HTML file that needs nothing else."""
