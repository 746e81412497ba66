"""The one kind of failure that this program expects."""


class Problem(Exception):
    """Something that an operator, the network or the disk caused; its text is the one or two lines to show.

    The text says what happened and, where it is not obvious, what still runs and what to do. It holds no secret and
    no time of day, so that the same problem at the next check reads the same (see `decide.worth_saying`).
    """


class Lasting(Problem):
    """One that no later try mends: what was asked for is wrong or gone, and not the server or the network at fault."""


def one_line(text: str, limit: int = 300) -> str:
    """Return `text` on one line of at most `limit` characters, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
