"""``python -m ssd_small``."""

import signal

# Ctrl-C while the command line is loaded ends without a traceback; then it hears signals itself
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli import main

main()
