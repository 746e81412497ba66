"""What openstacksdk and keystoneauth raise, in a line that an operator can act on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud.api import shape
from cloud.api.patience import retry_after
from cloud.trouble import CloudError, NoAnswer, NotYet
from cloud.unreachable import WrongVariable, causes, never_sent, why

TOO_MANY_REQUESTS = 429
SERVERS_FAULT = 500

LOST = (keystone.ConnectFailure, keystone.ConnectTimeout, keystone.UnknownConnectionError)
"""keystoneauth's for no connection, no answer in time, and a connection that broke; each may be any of these.

Its SSLError is one that stays as it is, a certificate for one, or a connection that broke.
"""


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the cloud's libraries raise into a CloudError that begins with what was being done.

    It is a NotYet where asking again may help, and of these a NoAnswer where what was asked may have been done. An
    answer that nobody can read is one, too, unless it only was to be read.
    """
    shape.last.set(None)
    try:
        yield
    except (sdk.SDKException, keystone.ClientException, requests.RequestException) as error:
        raise _kind(error)(f"{doing}: {explain(error)}") from error
    except (shape.OddAnswer, LookupError, TypeError, AttributeError, ValueError) as error:
        if (call := shape.last.get()) is None:
            raise  # no answer has led to it
        kind = CloudError if call.method == "GET" else NoAnswer
        raise kind(
            f"{doing}: {call} answered in a way that OpenStack does not. Run again; if it stays so, check HTTP_PROXY,"
            " and see OVH's status page."
        ) from error


def _kind(error: Exception) -> type[CloudError]:
    status = _status(error)
    if (
        status >= SERVERS_FAULT
        or isinstance(error, requests.JSONDecodeError)
        or (isinstance(error, (*LOST, keystone.SSLError)) and not never_sent(error))
    ):
        return NoAnswer
    if any(isinstance(cause, WrongVariable) for cause in causes(error)):
        return CloudError
    soon = status == TOO_MANY_REQUESTS and not _wait(error)
    return NotYet if soon or isinstance(error, LOST) else CloudError


def is_over_quota(error: CloudError) -> bool:
    """Whether something was refused because the project has as much of it as it may."""
    cause = error.__cause__
    return isinstance(cause, sdk.ConflictException | sdk.ForbiddenException) and "quota" in _said(cause).lower()


def happened(error: CloudError) -> str:
    """What went wrong, without what an operator should do about it: for where it is tried again anyway."""
    return re.sub(r"\.(?: (?:Run again|Check)\b.*)?$", "", str(error))


def explain(error: Exception) -> str:
    """What an exception of openstacksdk or keystoneauth means, in one line."""
    status = _status(error)
    for kind, meaning in MEANINGS.items():
        if isinstance(error, kind):
            return meaning
    if isinstance(error, sdk.HttpException) or status >= SERVERS_FAULT or status == TOO_MANY_REQUESTS:
        return _answered(error, status)
    if isinstance(error, keystone.ConnectionError) or "establish connection" in str(error):
        return _lost(error)
    if isinstance(error, keystone.Forbidden) and not _page(error):
        return f"Keystone refuses: {_said(error)}."
    if isinstance(error, keystone.DiscoveryFailure | keystone.InvalidResponse | keystone.HttpError):
        return _no_keystone(_said(error))
    return _said(error)


MEANINGS: dict[type[Exception], str] = {
    keystone.Unauthorized: "the cloud no longer accepts the token or the password. Check OS_PASSWORD, then run again.",
    requests.JSONDecodeError: (
        "what answered is not the cloud. Check HTTP_PROXY, and whether this network wants a login of its own."
    ),
}


def _answered(error: Exception, status: int) -> str:
    said = _said(error)
    if status >= SERVERS_FAULT:
        return f"the cloud failed ({status}: {said}). Run again; if it stays so, see OVH's status page."
    if status == TOO_MANY_REQUESTS:
        wait = f"{_wait(error)} s" if _wait(error).isdigit() else _wait(error) or "a minute"
        return f"the cloud asks for fewer requests (429). Wait {wait}, then run again."
    if "quota" in said.lower():
        return f"{said}. Ask OVH for more (console: Public Cloud > Quota), or free some."
    if isinstance(error, sdk.ForbiddenException):
        return f"the user may not do that ({said}). Its roles are in the console: Public Cloud > Users & Roles."
    return f"{said}."


def _lost(error: Exception) -> str:
    if never_sent(error):
        reason = why(error, "OS_AUTH_URL")
        return reason if isinstance(error, keystone.SSLError) else f"the cloud cannot be reached. {reason}"
    if isinstance(error, keystone.ConnectTimeout):
        return (
            "the cloud took the request and gave no answer in time. Run again; if it stays so, see OVH's status page."
        )
    return "the connection to the cloud broke. Run again."


def _no_keystone(said: str) -> str:
    return f"OS_AUTH_URL leads to no Keystone ({said}); for OVH it is https://auth.cloud.ovh.net/v3."


def _answer(error: Exception) -> requests.Response | None:
    found = getattr(error, "response", None)
    return found if isinstance(found, requests.Response) else None


def _status(error: Exception) -> int:
    """The HTTP status that an exception stands for; 0 if there was no answer."""
    if isinstance(error, sdk.HttpException):
        return error.status_code or 0
    return int(error.http_status) if isinstance(error, keystone.HttpError) else 0


def _wait(error: Exception) -> str:
    """The Retry-After of an answer; "" if it has none that makes sense."""
    answer = _answer(error)
    return str(answer.headers["Retry-After"]) if answer is not None and retry_after(answer) is not None else ""


def _page(error: Exception) -> str:
    """The web page that came instead of an answer."""
    answer = _answer(error)
    return answer.text if answer is not None and "html" in answer.headers.get("Content-Type", "") else ""


def _said(error: Exception) -> str:
    """What the cloud says, in a line and without markup: some proxies answer in HTML."""
    page = _page(error)
    title = re.search(r"<title>(.+?)</title>", page, re.IGNORECASE | re.DOTALL)
    text = title[1] if title else page or getattr(error, "details", None) or str(error)
    words = re.sub(r"<[^>]+>", " ", text).strip() or "no reason given"
    return " ".join(words.splitlines()[0].split())[:300].rstrip(".")
