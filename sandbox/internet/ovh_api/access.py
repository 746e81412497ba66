"""Who may call what: application key, consumer key, time, signature, access rules, in the gateway's order.

The signature is that of OVH's "First steps" guide: "$1$" + sha1 of secret, consumer key, method, URL as the
client wrote it, body and timestamp, joined by "+". A service account sends a bearer token instead, and IAM decides.
"""

import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from .accounts import Account, covers
from .errors import business, gateway, not_authorized

# Seconds that a timestamp may differ from the server's clock. OVH documents no figure; calls have been seen
# to fail at one minute.
TIME_WINDOW = 30


class Who(enum.Enum):
    """Who may make a call."""

    ANYBODY = "anybody"
    APPLICATION = "an application, without a customer"
    CUSTOMER = "whoever has valid credentials, whatever its rules"
    GRANTED = "whoever has valid credentials and the right"


@dataclass(frozen=True)
class Need:
    """What a call asks of its caller: `action` is IAM's name of it, `zone` None if it is about no zone."""

    who: Who
    action: str
    zone: str | None


@dataclass(frozen=True)
class Request:
    """One HTTP request. `url` is the whole URL as the client wrote it; `path` starts after `base` (/1.0, /v1 or "")."""

    method: str
    url: str
    base: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: str

    @property
    def path_and_query(self) -> str:
        """Return the path after the base with the query as it was sent."""
        _, mark, query = self.url.partition("?")
        return self.path + mark + query

    @property
    def bearer(self) -> str | None:
        """Return the OAuth2 token, if there is one."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None


def identity(account: Account, request: Request) -> str:
    """Return the consumer key or the client id that the request names, valid or not; "" if none."""
    if request.bearer is not None:
        return account.tokens.get(request.bearer, ("", 0))[0]
    return request.headers.get("x-ovh-consumer", "")


def require(account: Account, request: Request, need: Need, now: float) -> str:
    """Return who calls, or raise ApiError unless it may."""
    if need.who is Who.ANYBODY:
        return ""
    if need.who is Who.APPLICATION:
        _application_secret(account, request)
        return ""
    if request.bearer is not None:
        caller = _service_account(account, request, now)
        refused = not_authorized(need.action)
        right = need.zone is None or account.allows(caller, need.action, need.zone)
    else:
        caller = _consumer_key(account, request, now)
        refused = gateway("NOT_GRANTED_CALL")
        right = granted(account.consumer_keys[caller].rules, request.method, request.path)
    revoked = (caller, request.method, request.path) in account.revoked
    if need.who is Who.GRANTED and (revoked or not right):
        raise refused
    return caller


def _application_secret(account: Account, request: Request) -> str:
    secret = account.applications.get(request.headers.get("x-ovh-application", ""))
    if secret is None:
        raise gateway("INVALID_KEY")
    return secret


def _service_account(account: Account, request: Request, now: float) -> str:
    client, end = account.tokens.get(request.bearer or "", ("", 0))
    if now >= end:
        raise business(401, "Unauthorized", "This token is not valid")
    return client


def _consumer_key(account: Account, request: Request, now: float) -> str:
    secret = _application_secret(account, request)
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
    if consumer.status(now) != "validated":
        raise gateway("INVALID_CREDENTIAL")
    account.used(name, now)
    return name


def signature(secret: str, request: Request) -> str:
    """Return the value that the request's X-Ovh-Signature must have."""
    consumer, timestamp = request.headers["x-ovh-consumer"], request.headers["x-ovh-timestamp"]
    text = "+".join((secret, consumer, request.method, request.url, request.body, timestamp))
    return "$1$" + hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (OVH's protocol)


def granted(rules: tuple[tuple[str, str], ...], method: str, path: str) -> bool:
    """Say whether a rule allows the call: `/domain/zone/*` covers what is below it, not `/domain/zone`."""
    return any(allowed == method and covers(pattern, path) for allowed, pattern in rules)
