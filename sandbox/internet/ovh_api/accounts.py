"""Who is known: applications, consumer keys, service accounts and the bearer tokens that they were given."""

import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# Seconds that a bearer token lives.
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class ConsumerKey:
    """A customer's grant to one application: `rules` are (method, path), `*` in a path matches anything.

    `state` is validated, pendingValidation, expired or refused; times are seconds since 1970. `token` is what the
    validation page is asked for with.
    """

    application_key: str
    state: str
    rules: tuple[tuple[str, str], ...]
    id: int = 0
    creation: float = 0
    expiration: float | None = None
    last_use: float | None = None
    allowed_ips: tuple[str, ...] | None = None
    redirection: str | None = None
    token: str = ""

    def status(self, now: float) -> str:
        """Return the state that the key has by now."""
        over = self.state == "validated" and self.expiration is not None and now >= self.expiration
        return "expired" if over else self.state


@dataclass(frozen=True)
class ServiceAccount:
    """A machine's identity: its secret, and what IAM's policies allow it, as (URN, action), each with `*`."""

    secret: str
    policy: tuple[tuple[str, str], ...]


@dataclass
class Account:
    """One OVH account. `login` and `password` are the customer's; consumer keys are kept in `saved` if it is given."""

    applications: Mapping[str, str]
    consumer_keys: dict[str, ConsumerKey]
    service_accounts: Mapping[str, ServiceAccount] = field(default_factory=dict)
    login: str = "customer"
    password: str = ""
    saved: Path | None = None
    # (consumer key or client id, method, path) of calls that are refused whatever rules and policies say.
    revoked: set[tuple[str, str, str]] = field(default_factory=set)
    # Bearer token -> client id, and when it ends.
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Take the keys of the last run."""
        if self.saved and self.saved.exists():
            for name, key in json.loads(self.saved.read_text()).items():
                self.consumer_keys[name] = ConsumerKey(**key | {"rules": pairs(key["rules"])})

    def request_key(self, application_key: str, body: Mapping[str, Any], now: float) -> tuple[str, ConsumerKey]:
        """Make a consumer key that waits for the customer; returns its name and itself."""
        key = ConsumerKey(
            application_key,
            "pendingValidation",
            tuple((rule["method"], rule["path"]) for rule in body["accessRules"]),
            id=1 + max((k.id for k in self.consumer_keys.values()), default=0),
            creation=now,
            allowed_ips=tuple(body["allowedIPs"]) if body.get("allowedIPs") else None,
            redirection=body.get("redirection"),
            token=secrets.token_hex(32),
        )
        name = secrets.token_hex(16)
        self.change(name, key)
        return name, key

    def asked_by(self, token: str) -> str | None:
        """Return the consumer key that waits for validation by this token."""
        waiting = (n for n, k in self.consumer_keys.items() if k.token == token and k.state == "pendingValidation")
        return next(waiting, None) if token else None

    def change(self, name: str, key: ConsumerKey) -> None:
        """Put the key in place and on disk."""
        with self.lock:
            self.consumer_keys[name] = key
            if self.saved:
                new = self.saved.with_suffix(".new")
                new.write_text(json.dumps({n: asdict(k) for n, k in self.consumer_keys.items()}))
                new.replace(self.saved)

    def used(self, name: str, now: float) -> None:
        """Remember when the key was used, until the next start."""
        with self.lock:
            self.consumer_keys[name] = replace(self.consumer_keys[name], last_use=now)

    def end(self, identity: str, state: str) -> None:
        """Make the consumer key pending, expired, …, or forget the tokens of the service account."""
        if identity in self.consumer_keys:
            self.change(identity, replace(self.consumer_keys[identity], state=state))
        with self.lock:
            self.tokens = {token: of for token, of in self.tokens.items() if of[0] != identity}

    def issue_token(self, client: str, now: float) -> str:
        """Return a new bearer token of the service account."""
        token = secrets.token_urlsafe(48)
        with self.lock:
            self.tokens[token] = (client, now + TOKEN_SECONDS)
        return token

    def allows(self, identity: str, action: str, zone: str) -> bool:
        """Say whether a policy lets the service account do this to the zone."""
        urn = f"urn:v1:eu:resource:dnsZone:{zone}"
        return any(covers(u, urn) and covers(a, action) for u, a in self.service_accounts[identity].policy)


def covers(pattern: str, text: str) -> bool:
    """Say whether a pattern, in which `*` stands for any text, matches the whole text."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def pairs(lists: list[list[str]]) -> tuple[tuple[str, str], ...]:
    """Return JSON's lists of two as tuples."""
    return tuple((first, second) for first, second in lists)
