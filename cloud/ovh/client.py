"""Calls of OVH's API that are tried again within bounds. Every failure says which call, why, and what to do."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

import ovh
import ovh.client
import requests
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from cloud.ovh import errors
from cloud.ovh.errors import Passing, Refused, Right, Stale
from cloud.ovh.tokens import ServiceAccount
from cloud.trouble import CloudError
from cloud.unreachable import check_environment

TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and to wait for an answer; python-ovh's own default is 180."""

ATTEMPTS = 5
PAUSE = 1.0
"""Seconds before a call is repeated for the first time; each further pause is twice as long."""

_NAME = "koprogo"

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


def anything(_: Any) -> bool:
    """Of calls whose answer is not read."""
    return True


def having(**fields: Any) -> Right:
    """Of an object that has these fields, each of its type or of one of several (str | None)."""
    return lambda data: (
        isinstance(data, dict) and all(name in data and isinstance(data[name], kind) for name, kind in fields.items())
    )


@dataclass(frozen=True, repr=False)
class Keys:
    """Who we are for OVH: an application and consumer key, or a service account (client_id, client_secret)."""

    endpoint: str  # ovh-eu, ovh-ca, ovh-us, or a base URL
    application_key: str | None = None
    application_secret: str | None = None
    consumer_key: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class _Ovh(ovh.Client):  # type: ignore[misc]  # python-ovh has no types
    """python-ovh's, but for what comes before a call, the time and a token: it is read and bounded as the call is."""

    _oauth2: Any

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        if account := self._oauth2:
            self._oauth2 = ServiceAccount(account.client_id, account.client_secret, account.token_url, self._timeout)

    @cached_property
    def time_delta(self) -> int:
        """Seconds that OVH's clock is ahead of ours. Raises CloudError."""
        response = self.raw_call("GET", "/auth/time", need_auth=False)
        there: int = errors.read(response, self._endpoint, lambda data: isinstance(data, int))
        return there - int(time.time())


class Client:
    """One account at OVH."""

    def __init__(self, keys: Keys, say: Say = silent, pause: float = PAUSE) -> None:
        """Connect nowhere yet; `say` gets a line before each wait. Raises CloudError for keys that do not fit."""
        self.endpoint = keys.endpoint
        self._keys, self._say, self._pause = keys, say, pause
        self._client = self._new()

    def call(self, method: str, path: str, body: Any = None, *, signed: bool = True, right: Right = anything) -> Any:
        """Call until there is a `right` answer, for what may be carried out twice without harm. Raises CloudError.

        Not `signed`: as the application alone, which a few calls of /auth allow.
        """
        return self.patiently(lambda: self.once(method, path, body, signed=signed, right=right))

    def names(self, path: str) -> list[str]:
        """GET a list of names. Raises CloudError."""
        found: list[str] = self.call("GET", path, right=lambda data: _list_of(str, data))
        return found

    def numbers(self, path: str) -> list[int]:
        """GET a list of ids. Raises CloudError."""
        found: list[int] = self.call("GET", path, right=lambda data: _list_of(int, data))
        return found

    def thing(self, path: str, **fields: Any) -> dict[str, Any]:
        """GET an object; fields as of `having`. Raises CloudError."""
        found: dict[str, Any] = self.call("GET", path, right=having(**fields))
        return found

    def patiently(self, do: Callable[[], Any]) -> Any:
        """Do it again while it ends in Passing, within bounds; the last exception is raised."""
        retrying = Retrying(
            retry=retry_if_exception(self._worth_it),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._seconds,
            before_sleep=self._tell,
            reraise=True,
        )
        return retrying(do)

    def once(self, method: str, path: str, body: Any = None, *, signed: bool = True, right: Right = anything) -> Any:
        """Call a single time. Raises Refused or Passing (which CloudErrors are), or any other CloudError."""
        try:
            return errors.read(self._send(method, path, body, signed), self.endpoint, right)
        except Stale as error:
            self._client = self._new()  # which compares the clocks, and gets a token
            raise Stale(f"OVH: {method} {path}: {error}.") from None
        except Passing as error:
            raise Passing(f"OVH: {method} {path}: {error}.", error.seconds) from None
        except Refused as error:
            raise Refused(f"OVH: {method} {path}: {error}.", error.status) from None
        except CloudError as error:
            raise CloudError(f"OVH: {error}.") from None

    def _send(self, method: str, path: str, body: Any, signed: bool) -> requests.Response:
        try:
            check_environment(ovh.client.ENDPOINTS[_NAME])
            # Not `call`, which fails on errors whose body is no object, and hides the status of those that are HTML.
            response: requests.Response = self._client.raw_call(method, path, body, need_auth=signed)
        except (requests.RequestException, ovh.APIError) as error:
            raise errors.unanswered(error, self.endpoint) from None
        return response

    def _new(self) -> Any:
        keys, tables = self._keys, (ovh.client.ENDPOINTS, ovh.client.OAUTH2_TOKEN_URLS)
        # Under a name of our own, python-ovh does not take further keys from an ovh.conf that happens to lie around.
        for table, otherwise in zip(tables, (keys.endpoint, urljoin(keys.endpoint, "/auth/oauth2/token")), strict=True):
            table[_NAME] = table.get(keys.endpoint, otherwise)
        try:
            return _Ovh(
                endpoint=_NAME,
                application_key=keys.application_key,
                application_secret=keys.application_secret,
                consumer_key=keys.consumer_key,
                client_id=keys.client_id,
                client_secret=keys.client_secret,
                timeout=TIMEOUTS,
            )
        except ovh.APIError as error:
            raise CloudError(f"OVH: {errors.unanswered(error, keys.endpoint)}.") from None

    def _worth_it(self, error: BaseException) -> bool:
        return isinstance(error, Passing) and (error.seconds or 0) <= errors.LONGEST

    def _seconds(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.seconds if isinstance(error, Passing) else None
        return wait_exponential(multiplier=self._pause)(state) if asked is None else asked

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._say(f"{error} Trying again in {state.upcoming_sleep:.0f} s.")


def _list_of(kind: type, data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(each, kind) for each in data)
