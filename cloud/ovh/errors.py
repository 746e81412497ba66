"""What python-ovh raises, in a line that an operator can act on; never with a secret in it."""

from typing import Any

import ovh.exceptions

# errorCode of OVH's gateway → what to do.
CODES = {
    "INVALID_KEY": "OVH does not know the application key. Check OVH_APPLICATION_KEY and OVH_ENDPOINT",
    "INVALID_SIGNATURE": "the signature is wrong. Check OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY",
    "NOT_CREDENTIAL": "OVH does not know the consumer key for this application. Check OVH_CONSUMER_KEY",
    "INVALID_CREDENTIAL": "the consumer key has expired or was never validated in a browser. Make another",
    "NOT_GRANTED_CALL": "the consumer key (OVH_CONSUMER_KEY) has no right to this call. Make one that has it",
    "QUERY_TIME_OUT": "OVH found the time of the request too far off. Check this machine's clock",
}
_FORBIDDEN, _TOO_MANY, _FAILED = 403, 429, 500


def explain(error: Exception, endpoint: str) -> str:
    """What went wrong in one line without a final dot, with OVH's query id if the answer had one."""
    response = getattr(error, "response", None)
    query = getattr(error, "query_id", None)
    text = _answered(response) if response is not None else _unanswered(error, endpoint)
    return f"{text} (OVH-Query-ID: {query})" if query else text


def status(error: Exception) -> int:
    """The HTTP status of the answer; 0 if there was none that could be read."""
    response = getattr(error, "response", None)
    return 0 if response is None else int(response.status_code)


def passing(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later."""
    if isinstance(error, ovh.exceptions.HTTPError | ovh.exceptions.InvalidResponse):
        return True
    code = status(error) if isinstance(error, ovh.exceptions.APIError) else 0
    return code == _TOO_MANY or code >= _FAILED


def _answered(response: Any) -> str:
    body = response.json()
    code, message = body.get("errorCode"), str(body.get("message") or "no reason given").rstrip(".")
    if code in CODES:
        return CODES[code]
    if response.status_code == _FORBIDDEN:
        return f"the account behind these keys may not do this ({message})"
    if response.status_code == _TOO_MANY:
        return "OVH asks for fewer requests (429). Wait a minute, then run again"
    if response.status_code >= _FAILED:
        return f"OVH failed ({response.status_code}: {message}). Run again; if it stays so, see OVH's status page"
    return f"OVH refused it ({response.status_code}: {message})"


def _unanswered(error: Exception, endpoint: str) -> str:
    if isinstance(error, ovh.exceptions.HTTPError):
        return f"OVH's API at {endpoint} cannot be reached. Check the network and OVH_ENDPOINT, then run again"
    if isinstance(error, ovh.exceptions.InvalidResponse):
        return f"{endpoint} answered something that is not JSON. Check OVH_ENDPOINT, or run again in a minute"
    if isinstance(error, ovh.exceptions.InvalidConfiguration):
        return f"the OVH_* variables do not fit together ({error})"
    return f"{endpoint} answered in a way that OVH's API does not ({type(error).__name__})"
