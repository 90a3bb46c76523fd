"""``python -m ssd_small``."""

from .cli import main

main()
