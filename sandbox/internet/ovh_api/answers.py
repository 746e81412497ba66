"""What goes back to a client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_CONTENT = object()  # what a handler returns for 204


@dataclass(frozen=True)
class Answer:
    """Status, body, its media type ("" if there is none), and headers beside those that every answer has."""

    status: int
    body: bytes = b""
    kind: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return plain data as OVH sends it."""
    return Answer(status, json.dumps(data).encode(), "application/json; charset=utf-8", headers or {})


def html(status: int, text: str) -> Answer:
    """Return a page for a browser, or what OVH's front ends send when they fail."""
    return Answer(status, text.encode(), "text/html; charset=utf-8")
