"""Who may call what: application key, consumer key, time, signature, access rules, in the gateway's order.

The signature is that of OVH's "First steps" guide: "$1$" + sha1 of secret, consumer key, method, URL as the
client wrote it, body and timestamp, joined by "+".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .errors import business, gateway

# Seconds that a timestamp may differ from the server's clock. OVH documents no figure; calls have been seen
# to fail at one minute.
TIME_WINDOW = 30


@dataclass(frozen=True)
class ConsumerKey:
    """A customer's grant to one application: `rules` are (method, path), `*` in a path matches anything."""

    application_key: str
    state: str  # validated, pendingValidation, expired or refused: only the first may call
    rules: tuple[tuple[str, str], ...]


@dataclass
class Account:
    """The applications (key -> secret) and the consumer keys of one OVH account."""

    applications: Mapping[str, str]
    consumer_keys: dict[str, ConsumerKey]
    # (consumer key, method, path) of calls that are refused whatever the rules say.
    revoked: set[tuple[str, str, str]] = field(default_factory=set)

    def set_state(self, consumer: str, state: str) -> None:
        """Make the consumer key pending, expired, …; one that does not exist is left so."""
        if consumer in self.consumer_keys:
            self.consumer_keys[consumer] = replace(self.consumer_keys[consumer], state=state)

    def revoke(self, request: "Request") -> None:
        """Take the right to make this call from whoever makes it."""
        self.revoked.add((request.headers.get("x-ovh-consumer", ""), request.method, request.path))


@dataclass(frozen=True)
class Request:
    """One HTTP request. `url` is the whole URL as the client wrote it, `path` starts after /1.0 or /v1."""

    method: str
    url: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: str

    @property
    def path_and_query(self) -> str:
        """Return the path after /1.0 or /v1 with the query as it was sent."""
        _, mark, query = self.url.partition("?")
        return self.path + mark + query


def require_application(account: Account, request: Request) -> str:
    """Return the secret of the request's application."""
    secret = account.applications.get(request.headers.get("x-ovh-application", ""))
    if secret is None:
        raise gateway("INVALID_KEY")
    return secret


def require_grant(account: Account, request: Request, now: float) -> None:
    """Raise ApiError unless the request is signed, in time, by a consumer key that may make this call."""
    secret = require_application(account, request)
    name = request.headers.get("x-ovh-consumer", "")
    if not name:
        raise business(401, "Unauthorized", "You must login first")
    consumer = account.consumer_keys.get(name)
    if consumer is None or consumer.application_key != request.headers["x-ovh-application"]:
        raise gateway("NOT_CREDENTIAL")
    timestamp = request.headers.get("x-ovh-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > TIME_WINDOW:
        raise gateway("QUERY_TIME_OUT")
    given = request.headers.get("x-ovh-signature", "")
    if not hmac.compare_digest(signature(secret, request).encode(), given.encode()):
        raise gateway("INVALID_SIGNATURE")
    if consumer.state != "validated":
        raise gateway("INVALID_CREDENTIAL")
    revoked = (name, request.method, request.path) in account.revoked
    if revoked or not granted(consumer.rules, request.method, request.path):
        raise gateway("NOT_GRANTED_CALL")


def signature(secret: str, request: Request) -> str:
    """Return the value that the request's X-Ovh-Signature must have."""
    consumer, timestamp = request.headers["x-ovh-consumer"], request.headers["x-ovh-timestamp"]
    text = "+".join((secret, consumer, request.method, request.url, request.body, timestamp))
    return "$1$" + hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (OVH's protocol)


def granted(rules: tuple[tuple[str, str], ...], method: str, path: str) -> bool:
    """Say whether a rule allows the call: `/domain/zone/*` covers what is below it, not `/domain/zone`."""
    return any(
        allowed == method and re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), path) for allowed, pattern in rules
    )
