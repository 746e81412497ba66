"""What OVH's answers mean: data, or an error in a line that an operator can act on; never with a secret in it."""

import re
from collections.abc import Callable
from typing import Any

import ovh.exceptions
import requests

from cloud.trouble import CloudError, NotYet
from cloud.unreachable import WrongVariable, why

# errorCode of OVH's gateway → what to do.
CODES = {
    "INVALID_KEY": "OVH does not know the application key. Check OVH_APPLICATION_KEY and OVH_ENDPOINT",
    "INVALID_SIGNATURE": "the signature is wrong. Check OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY",
    "NOT_CREDENTIAL": "OVH does not know the consumer key for this application. Check OVH_CONSUMER_KEY",
    "INVALID_CREDENTIAL": "the consumer key has expired or was never validated in a browser."
    " Make another with: python provision.py credentials",
    "NOT_GRANTED_CALL": "the consumer key (OVH_CONSUMER_KEY) has no right to this call."
    " Make one that has it with: python provision.py credentials",
    "QUERY_TIME_OUT": "OVH found the time of the request too far off. Check this machine's clock",
}
NO_CONTENT, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 204, 401, 403, 404
REQUEST_TIMEOUT, CONFLICT, TOO_MANY, FAILED = 408, 409, 429, 500
LONGEST = 60.0
"""Seconds. Who is asked to wait longer is told so instead."""


class Refused(CloudError):
    """OVH said no, and will say so again. `status` is that of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Passing(NotYet):
    """The same call may succeed a moment later; `seconds` is how much later, if OVH said so.

    Whether it was carried out is not known.
    """

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds


class Stale(Passing):
    """OVH's clock and ours have parted since they were compared, or a service account's token is no longer valid."""


Right = Callable[[Any], bool]
"""Whether data has the form that a call answers in."""


def read(response: requests.Response, endpoint: str, right: Right) -> Any:
    """The data of an answer; None if it has none. Raises Refused or Passing."""
    status = response.status_code
    try:
        body = None if status == NO_CONTENT else response.json()
    except ValueError:
        raise Passing(_with_query_id(_not_json(response, endpoint), response)) from None
    if status < 300:  # noqa: PLR2004 - the successes of HTTP
        if not right(body):
            raise Passing(_with_query_id(odd(endpoint), response))
        return body
    said = body if isinstance(body, dict) else {}
    text = _with_query_id(_meaning(status, said), response)
    if said.get("errorCode") == "QUERY_TIME_OUT" or status == UNAUTHORIZED:
        raise Stale(text)
    if _passes(status):
        raise Passing(text, _asked_to_wait(response))
    raise Refused(text, status)


def unanswered(error: Exception, endpoint: str) -> CloudError:
    """What to tell of an exception in the place of an answer."""
    if isinstance(error, WrongVariable):
        return CloudError(str(error).rstrip("."))
    if isinstance(error, requests.RequestException | ovh.exceptions.HTTPError):
        reason = why(error, "OVH_ENDPOINT") or "Check the network and OVH_ENDPOINT, then run again"
        return Passing(f"OVH's API at {endpoint} cannot be reached. {reason.rstrip('.')}")
    if isinstance(error, ovh.exceptions.OAuth2FailureError):
        return _no_token(error.response)
    if isinstance(error, ovh.exceptions.InvalidConfiguration):
        return CloudError(f"the OVH_* variables do not fit together ({error})")
    return Passing(odd(endpoint))


def odd(endpoint: str) -> str:
    """For an answer whose form is not that of OVH's API."""
    return f"{endpoint} answered in a way that OVH's API does not. Check OVH_ENDPOINT, or run again in a minute"


def _no_token(response: requests.Response | None) -> CloudError:
    if response is not None and _passes(response.status_code):
        text = "OVH gives no token to the service account at the moment. Run again in a minute"
        return Passing(_with_query_id(text, response), _asked_to_wait(response))
    text = "OVH does not accept the service account. Check OVH_CLIENT_ID, OVH_CLIENT_SECRET and OVH_ENDPOINT"
    return CloudError(text if response is None else _with_query_id(text, response))


def _passes(status: int) -> bool:
    return status in (REQUEST_TIMEOUT, TOO_MANY) or status >= FAILED


def _not_json(response: requests.Response, endpoint: str) -> str:
    if _passes(response.status_code):
        return f"OVH failed ({response.status_code}). Run again; if it stays so, see OVH's status page"
    return f"{endpoint} answered something that is not JSON. Check OVH_ENDPOINT, or run again in a minute"


def _meaning(status: int, body: dict[str, Any]) -> str:
    code, message = body.get("errorCode"), str(body.get("message") or "no reason given").rstrip(".")
    if code in CODES:
        return CODES[code]
    if status == FORBIDDEN and message == "This call has not been granted":  # seen without the errorCode, too
        return CODES["NOT_GRANTED_CALL"]
    if status == FORBIDDEN:
        missing = f"; missing: {', '.join(actions)}" if (actions := _actions(body.get("details"))) else ""
        return f"the account behind these keys may not do this ({message}{missing})"
    if status == TOO_MANY:
        return "OVH asks for fewer requests (429). Wait a minute, then run again"
    if status >= FAILED:
        return f"OVH failed ({status}: {message}). Run again; if it stays so, see OVH's status page"
    return f"OVH refused it ({status}: {message})"


def _actions(details: Any) -> list[str]:
    """The rights of OVH's IAM that a refusal names, wherever in it they are."""
    return sorted(set(re.findall(r"dnsZone:apiovh:[\w/]+", str(details or ""))))


def _asked_to_wait(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _with_query_id(text: str, response: requests.Response) -> str:
    query = response.headers.get("X-OVH-QUERYID")
    return f"{text} (OVH-Query-ID: {query})" if query else text
