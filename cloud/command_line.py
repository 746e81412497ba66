"""How a command ends: every failure is a line or two on standard error, whatever becomes of the output."""

import io
import os
import signal
import sys
from collections.abc import Callable

import click


def start(command: click.Command) -> None:
    """Read the command line, and do what it says; for what click prints itself, too, such as --help."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started this; a file opened next would take its place
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end
    try:
        command()
    except OSError as error:
        sys.exit(_unwritten(error))


def run(load: Callable[[], Callable[[], int]]) -> None:
    """Run the command that `load` gives and exit with its status; 1 if it failed, 130, 143 or 129 if interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda received, _: sys.exit(128 + received))  # so that a lease is given back
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of a few letters is no reason to stop
    try:
        status = _status_of(load)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nInterrupted. What was done until then stays so; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        sys.exit(_unwritten(error))
    sys.exit(status)


def _unwritten(error: OSError) -> int | str:
    """What to say of a file that is not as it should be: the output most of all."""
    # whoever read this has gone, or there is no room for it; what is left in the buffer has nowhere to go
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until the end of the process
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "The current folder is gone: somebody removed it. Change to another one, then run again."
    return f"{error.filename or 'The output'}: {error.strerror}."


def _status_of(load: Callable[[], Callable[[], int]]) -> int | str:
    """Do it; the exit status, or what is wrong."""
    # what follows takes a moment to import, of which --help has no need
    from cloud.trouble import CloudError  # noqa: PLC0415
    from settings import SettingsError  # noqa: PLC0415

    command = load()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there may be something to give back
    try:
        return command()
    except SettingsError as error:
        return f"{error}\nNothing was done: mend the lines above, in .env or the environment."
    except CloudError as error:
        return str(error)
    except click.Abort:
        if sys.stdin is not None and sys.stdin.isatty():  # every question comes before the work
            print("\nNothing was done.", file=sys.stderr)
            return 130
        return "Nothing was done: nobody answered. Run it in a terminal, or with --yes."
