"""OVH's account in a test: the stand-in for its API on loopback, and what its name servers would serve."""

import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ovh
import pytest
from loopback_tls import certificate

from sandbox.internet.ovh_api.accounts import Account, ConsumerKey, ServiceAccount
from sandbox.internet.ovh_api.faults import Call
from sandbox.internet.ovh_api.records import Record
from sandbox.internet.ovh_api.server import Server
from sandbox.internet.ovh_api.store import PublishError, Store
from sandbox.internet.ovh_api.zone import Zone

KEY, SECRET, CONSUMER = "appkey0123456789", "appsecret0123456789abcdef", "consumer0123456789abcdef"
CLIENT, CLIENT_SECRET = "EU.0123456789abcdef", "clientsecret0123456789abcdef"
LOGIN, PASSWORD = "xx1234-ovh", "customer's password"
DOOR = "faults0123456789abcdef"
EVERYTHING = tuple((method, "/*") for method in ("GET", "POST", "PUT", "DELETE"))
FOREIGN = [
    {"fieldType": "NS", "subDomain": "", "target": "ns1.sandbox.test.", "ttl": 0},
    {"fieldType": "MX", "subDomain": "", "target": "1 mx1.mail.ovh.net.", "ttl": 0},
    {"fieldType": "A", "subDomain": "mail", "target": "10.66.0.25", "ttl": 0},
    {"fieldType": "CNAME", "subDomain": "www", "target": "koprogo.test.", "ttl": 0},
]


class FakePublisher:
    """Remembers what would be served."""

    def __init__(self) -> None:
        self.served: dict[str, tuple[int, list[tuple[str, str, str]]]] = {}
        self.refuses: str | None = None

    def __call__(self, name: str, serial: int, records: Sequence[Record]) -> None:
        """Take the place of knot."""
        if self.refuses:
            raise PublishError(self.refuses)
        self.served[name] = (serial, [(r["subDomain"], r["fieldType"], r["target"]) for r in records])

    def names(self, zone: str, sub: str, kind: str) -> list[str]:
        """Return the targets that would be served for a name and type."""
        return [target for s, k, target in self.served[zone][1] if (s, k) == (sub, kind)]


class Api:
    """A running stand-in; `client()` is python-ovh talking to it."""

    def __init__(self, folder: Path) -> None:
        self.publisher = FakePublisher()
        self.store = Store(folder / "store.json", self.publisher, deploy_seconds=0)
        self.store.add_zone("koprogo.test", FOREIGN)
        self.store.deploy_all()
        self.account = Account(
            {KEY: SECRET, "otherkey": "othersecret"},
            {
                CONSUMER: ConsumerKey(KEY, "validated", EVERYTHING),
                "pending": ConsumerKey(KEY, "pendingValidation", EVERYTHING),
                "readonly": ConsumerKey(KEY, "validated", (("GET", "/domain/zone/*"),)),
            },
            {
                CLIENT: ServiceAccount(CLIENT_SECRET, (("*", "dnsZone:apiovh:*"),)),
                "EU.reader": ServiceAccount("readersecret", (("*:dnsZone:koprogo.test", "dnsZone:apiovh:record/get"),)),
            },
            LOGIN,
            PASSWORD,
            folder / "keys.json",
        )
        self._folder = folder
        self.ahead = 0.0
        self._servers: list[Server] = []
        self.server = self._serve()
        self.faults = self.server.faults  # add("503", path=…), clear(): see sandbox/internet/ovh_api/faults.py
        self.history: list[Zone] = []  # the zone after every change of it
        self.store.observers.append(self.history.append)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/1.0"
        self._secure_url = ""

    def _serve(self, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(("127.0.0.1", 0), self.account, self.store, lambda: time.time() + self.ahead, DOOR)
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            server.scheme = "https"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._servers.append(server)
        return server

    @property
    def calls(self) -> list[Call]:
        """Return what was called, as (method, path with query, status), oldest first; status 0: no answer."""
        return list(self.faults.calls)

    def stop(self) -> None:
        """Let go of the ports."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def client(self, key: str = KEY, secret: str = SECRET, consumer: str = CONSUMER) -> Any:
        """Return python-ovh's client with these credentials."""
        ovh.client.ENDPOINTS["test"] = self.url
        return ovh.Client("test", key, secret, consumer, timeout=5)

    def secure_url(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """Return the base URL (https) of the same account, and make `requests` trust its certificate.

        Service accounts need it: requests-oauthlib refuses http. The token endpoint is /auth/oauth2/token there.
        """
        if not self._secure_url:
            trusted, context = certificate(self._folder)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
            secure = self._serve(context)
            secure.faults = self.faults
            self._secure_url = f"https://127.0.0.1:{secure.server_address[1]}/1.0"
        return self._secure_url

    def service(self, monkeypatch: pytest.MonkeyPatch, client: str = CLIENT, secret: str = CLIENT_SECRET) -> Any:
        """Return python-ovh's client of a service account."""
        url = self.secure_url(monkeypatch)
        monkeypatch.setitem(ovh.client.ENDPOINTS, "secure-test", url)
        monkeypatch.setitem(
            ovh.client.OAUTH2_TOKEN_URLS, "secure-test", url.removesuffix("/1.0") + "/auth/oauth2/token"
        )
        return ovh.Client("secure-test", client_id=client, client_secret=secret, timeout=5)
