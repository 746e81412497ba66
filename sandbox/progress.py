"""Show what takes long: a spinner with the elapsed time on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(highlight=False)

_lock = threading.Lock()
_live: Progress | None = None
_active = 0


def say(text: str) -> None:
    """Print one line, above the spinners if there are any."""
    (_live.console if _live else console).print(text)


def _enter() -> Progress | None:
    global _live, _active  # noqa: PLW0603  # one terminal, hence one live display for all threads
    with _lock:
        _active += 1
        if _live is None and console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            _live = Progress(*columns, console=console, transient=True)
            _live.start()
        return _live


def _leave() -> None:
    global _live, _active  # noqa: PLW0603  # see _enter
    with _lock:
        _active -= 1
        if _active == 0 and _live is not None:
            _live.stop()
            _live = None


def stop() -> None:
    """Give the terminal back, whatever still runs."""
    if _live is not None:
        _live.stop()


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show `text` while the block runs and how long it took (seconds) once it is done. Safe in threads."""
    live = _enter()
    started = time.monotonic()
    task = live.add_task(text) if live else None
    if live is None:
        console.print(f"… {text}")
    try:
        yield
        say(f"[green]✓[/green] {text} [dim]{time.monotonic() - started:.1f} s[/dim]")
    except BaseException:
        say(f"[red]✗[/red] {text} [dim]after {time.monotonic() - started:.1f} s[/dim]")
        raise
    finally:
        if live is not None and task is not None:
            live.remove_task(task)
        _leave()
