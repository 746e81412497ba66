"""What openstacksdk and keystoneauth raise, in a line that an operator can act on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud.trouble import CloudError, NotYet

TOO_MANY_REQUESTS = 429
SERVERS_FAULT = 500


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the cloud's libraries raise into a CloudError that begins with what was being done.

    It is a NotYet where asking again may help.
    """
    try:
        yield
    except (sdk.SDKException, keystone.ClientException) as error:
        kind = NotYet if _passes(error) else CloudError
        raise kind(f"{doing}: {explain(error)}") from error


def _passes(error: Exception) -> bool:
    if isinstance(error, sdk.HttpException):
        return (error.status_code or 0) >= SERVERS_FAULT or error.status_code == TOO_MANY_REQUESTS
    return isinstance(error, keystone.ConnectFailure | keystone.ConnectTimeout | keystone.UnknownConnectionError)


def explain(error: Exception) -> str:
    """What an exception of openstacksdk or keystoneauth means, in one line."""
    said = _first_line(getattr(error, "details", None) or str(error))
    if isinstance(error, sdk.HttpException):
        return _answered(error, error.status_code or 0, said)
    if isinstance(error, keystone.DiscoveryFailure) and "establish connection" in str(error):
        return MEANINGS[keystone.ConnectFailure]
    for kind, meaning in MEANINGS.items():
        if isinstance(error, kind):
            return meaning
    return said


MEANINGS: dict[type[Exception], str] = {
    keystone.Unauthorized: "the cloud no longer accepts the token or the password. Check OS_PASSWORD, then run again.",
    keystone.ConnectTimeout: "the cloud does not answer in time. Check the network and OS_AUTH_URL, then run again.",
    keystone.SSLError: "the cloud's TLS certificate does not verify. Check OS_AUTH_URL, and the time of this machine.",
    keystone.ConnectFailure: "the cloud cannot be reached. Check the network and OS_AUTH_URL, then run again.",
    keystone.UnknownConnectionError: "the connection to the cloud broke. Run again.",
    keystone.DiscoveryFailure: "OS_AUTH_URL leads to no Keystone; for OVH it is https://auth.cloud.ovh.net/v3.",
    keystone.InvalidResponse: "OS_AUTH_URL leads to no Keystone; for OVH it is https://auth.cloud.ovh.net/v3.",
    keystone.NotFound: "OS_AUTH_URL leads to no Keystone; for OVH it is https://auth.cloud.ovh.net/v3.",
}


def _answered(error: sdk.HttpException, status: int, said: str) -> str:
    if status >= SERVERS_FAULT:
        return f"the cloud failed ({status}: {said}). Run again; if it stays so, see OVH's status page."
    if status == TOO_MANY_REQUESTS:
        return "the cloud asks for fewer requests (429). Wait a minute, then run again."
    if "quota" in said.lower():
        return f"{said}. Ask OVH for more (console: Public Cloud > Quota), or free some."
    if isinstance(error, sdk.ForbiddenException):
        return f"the user may not do that ({said}). Its roles are in the console: Public Cloud > Users & Roles."
    return f"{said}."


def _first_line(text: str) -> str:
    """Without markup and the rest of a page; some proxies answer in HTML."""
    words = re.sub(r"<[^>]+>", " ", text).strip() or "no reason given"
    return " ".join(words.splitlines()[0].split())[:300].rstrip(".")
