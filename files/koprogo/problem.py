"""The one kind of failure that this program expects."""


class Problem(Exception):
    """Something that an operator, the network or the disk caused; its text is the one or two lines to show.

    The text says what happened and, where it is not obvious, what still runs and what to do. It holds no secret and
    no time of day, so that the same problem at the next check reads the same (see `decide.worth_saying`).
    """


class Lasting(Problem):
    """One that no later try mends: what was asked for is wrong or gone, and not the server or the network at fault."""


def words(error: Problem | OSError) -> str:
    """Return what happened, for people."""
    return str(error) if isinstance(error, Problem) else f"{error.filename or 'a file'}: {error.strerror}."


def printable(text: str) -> str:
    """Return `text`, which may be of a commit (a label, the name of a file), without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def one_line(text: str, limit: int = 300) -> str:
    """Return `text` on one line of at most `limit` characters, without control characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
