"""What goes wrong with the cloud, in words for an operator."""

import difflib
from collections.abc import Iterable


class CloudError(Exception):
    """What happened and what to do about it; str() is fit to be printed."""


class NotYet(CloudError):
    """It does not work at the moment, and may work in the next."""


class NoAnswer(NotYet):
    """What was asked may have been done: the answer was lost, or was a failure of the server's."""


class ServerFailed(CloudError):
    """A server ended in ERROR. It is there, and billed."""

    def __init__(self, text: str, server_id: str) -> None:
        super().__init__(f"{text} It stays, and is billed, until it is removed. Run again, and it is replaced.")
        self.server_id = server_id


def not_found(variable: str, value: str, there_is: Iterable[str]) -> CloudError:
    """That a name is unknown, with the names nearest to it."""
    names = sorted(set(there_is))
    near = difflib.get_close_matches(value, names, n=5, cutoff=0.4) or names[:10]
    return CloudError(f"{variable}: the cloud has no {value!r} here. It has: {', '.join(near) or 'none at all'}.")
