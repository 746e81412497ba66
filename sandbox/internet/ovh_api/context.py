"""What a handler is given."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .access import Request
from .accounts import Account
from .errors import bad_request
from .schema import check_type
from .store import Store


@dataclass(frozen=True)
class Context:
    """A call that may be made: by `caller` (consumer key or client id), at `now`, with the parts of its path."""

    store: Store
    account: Account
    request: Request
    now: float
    caller: str
    parts: Mapping[str, str]

    @property
    def zone(self) -> str:
        """Return the zone that the path names."""
        return self.parts["zone"]

    @property
    def id(self) -> int:
        """Return the id that the path names; ApiError if it is not a number."""
        text = self.parts["id"]
        check_type("id", "long", int(text) if text.isascii() and text.isdigit() else text)
        return int(text)

    @property
    def body(self) -> Any:
        """Return the body as plain data, {} if there is none; ApiError if it is not JSON."""
        try:
            return json.loads(self.request.body or "{}")
        except ValueError:
            raise bad_request("Unable to parse the JSON of the body") from None

    def filter(self, name: str) -> str | None:
        """Return a parameter of the query, None if it is absent."""
        return self.request.query.get(name)
