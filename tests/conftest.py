"""Makes the helper modules beside this file importable from every test folder."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# a shell's background jobs start with Ctrl-C ignored, and so would every command that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
