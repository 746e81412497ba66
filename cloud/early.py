"""What a program does before its imports. Nothing is done until their end, and they may take a moment, or fail."""

import os
import signal
import sys


def quiet_if_interrupted() -> None:
    """Let Ctrl-C end the imports without the traceback that it leads to in the middle of them."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def not_installed(error: ModuleNotFoundError, program: str) -> str:
    """What to say of a library that is not there."""
    return f"{error.name} is not installed for {sys.executable}. Once: make setup. Then: .venv/bin/python {program}"
