"""Reports of eval, bench and parity, each as a single self-contained HTML file."""
