"""`/_faults`: how a test on another machine makes calls fail and reads what was called. Not part of the API.

With the header X-Faults-Token, or the path does not exist:
    GET     {"rules": [...], "skew": seconds, "calls": [[method, path, status], ...]}
    POST    a rule or a list of rules (see `faults`); answers as GET
    DELETE  takes back rules, the clock's error and the log
"""

import hmac
import json
from dataclasses import asdict

from .access import Request
from .answers import Answer, html, json_answer
from .faults import Faults, Rule

PATH = "/_faults"


def handle(faults: Faults, token: str | None, request: Request) -> Answer:
    """Return the answer to a request for the side door, which is locked if `token` is None."""
    given = request.headers.get("x-faults-token", "")
    if token is None or not hmac.compare_digest(given.encode(), token.encode()):
        return html(404, "<!doctype html><title>Not found</title>")
    if request.method == "DELETE":
        faults.clear()
    if request.method == "POST":
        try:
            rules = json.loads(request.body)
            faults.extend([Rule(**rule) for rule in (rules if isinstance(rules, list) else [rules])])
        except (ValueError, TypeError) as error:
            return json_answer(400, {"message": str(error)})
    return json_answer(
        200, {"rules": [asdict(rule) for rule in faults.rules], "skew": faults.skew, "calls": list(faults.calls)}
    )
