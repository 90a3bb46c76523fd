"""``python -m ssd_small``."""

import signal

# Ctrl-C ends without a traceback while the command line loads; after that it handles signals itself
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli import main

main()
