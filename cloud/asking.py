"""Questions to whoever sits at the terminal."""

import sys
import termios

import click


def somebody_is_there() -> bool:
    """Whether there is a terminal to ask at."""
    return sys.stdin is not None and sys.stdin.isatty()


def forget_what_was_typed() -> None:
    """What was typed before a question could be read is no answer to it."""
    if somebody_is_there():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def confirmed(question: str, *, default: bool = False) -> bool:
    """Ask for yes or no. Raises click.Abort where nobody answers."""
    forget_what_was_typed()
    return bool(click.confirm(question, default=default))
