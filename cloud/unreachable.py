"""Why a request got no answer: the exceptions of requests and urllib3 below those of the clouds' libraries."""

import errno
import os
import re
import socket
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import ConnectTimeoutError

NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables from which requests takes the authorities that it trusts; the first that is set counts."""


class WrongVariable(requests.exceptions.InvalidURL):
    """What the environment says of proxies or certificates is of no use; str() says what to do about it.

    Without the password that the address of a proxy may have.
    """


def check_environment(url: str) -> None:
    """Raise WrongVariable if a request to this address would meet a variable of which requests can make nothing.

    What requests raises itself is of many kinds, and some of it has the password of the proxy in it.
    """
    bundle = next((name for name in BUNDLES if os.environ.get(name)), "")
    if bundle and not Path(os.environ[bundle]).exists():
        raise WrongVariable(f"{bundle} names {os.environ[bundle]}, which is not there. Mend or unset that variable.")
    asked, proxies = urlsplit(url), get_environ_proxies(url)
    proxy = select_proxy(url, proxies) or ""
    name = asked.scheme if asked.scheme in proxies else "all"
    variable = f"{name}_proxy" if os.environ.get(f"{name}_proxy") else f"{name.upper()}_PROXY"
    if proxy and not _is_usable(proxy):
        if proxy.lower().startswith("socks"):
            raise WrongVariable(
                f"{variable} names a SOCKS proxy, which takes a package that is not there. Put the address of an HTTP"
                " proxy (http://host:port), or run: .venv/bin/pip install pysocks"
            )
        raise WrongVariable(
            f"{variable} is no address of a proxy. Mend that variable (http://host:port, or"
            f" http://user:password@host:port with %2F for a / in these), or name {asked.hostname} in NO_PROXY."
        )


def _is_usable(proxy: str) -> bool:
    try:
        request = requests.Request("GET", "http://localhost").prepare()
        pool = HTTPAdapter().get_connection_with_tls_context(request, True, {"http": proxy})  # connects nowhere
        host = getattr(getattr(pool, "proxy", None), "host", None) or ""
        host.encode("idna")  # as urllib3 does, but only when it connects
    except ValueError:  # what requests and urllib3 raise is one, too
        return False
    return True


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, the outermost first; requests and urllib3 keep some of it as arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            led_to_it = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
            waiting += [each for each in led_to_it if isinstance(each, BaseException)]


def never_sent(error: BaseException) -> bool:
    """Whether there was no connection yet, so that nothing was asked. A name unknown and a refusal are among these.

    TLS that breaks later on is not: what was asked may have been done by then.
    """
    return any(
        isinstance(cause, ConnectTimeoutError | ssl.SSLCertVerificationError | WrongVariable)
        or _in_handshake(cause)
        or "Tunnel connection failed" in str(cause)
        for cause in causes(error)
    )


def _in_handshake(cause: BaseException) -> bool:
    """Whether it comes from the handshake of TLS: the exceptions are the same before and after it."""
    return any(frame.f_code.co_name == "do_handshake" for frame, _ in traceback.walk_tb(cause.__traceback__))


def why(error: BaseException, variable: str) -> str:
    """What is in the way, and what to do about it; "" if that is not known. `variable` has the address."""
    found = list(causes(error))
    host = _host(found)
    if wrong := next((cause for cause in found if isinstance(cause, WrongVariable)), None):
        return str(wrong)
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in found):
        return (
            f"The proxy in HTTP_PROXY or HTTPS_PROXY does not let us through ({_system(found)})."
            f" Mend that variable, or name {host.partition(':')[0]} in NO_PROXY."
        )
    return next((text for cause in found for text in _meaning(cause, host, variable)), "")


def _meaning(cause: BaseException, host: str, variable: str) -> Iterator[str]:
    match cause:
        case socket.gaierror(errno=socket.EAI_AGAIN):
            yield f"No name server answers for {host}. Check this machine's network and /etc/resolv.conf."
        case socket.gaierror():
            yield f"Nobody knows the name {host.partition(':')[0]}. Check {variable}, and this machine's DNS."
        case ConnectionRefusedError():
            yield f"Nothing listens at {host}. Check the address and the port in {variable}."
        case ssl.SSLCertVerificationError():
            yield (
                f"The TLS certificate of {host} does not verify: {cause.verify_message}."
                f" Check {variable}, and the time of this machine."
            )
        case ssl.SSLError() if _in_handshake(cause):
            yield f"{host} does not speak TLS. Check {variable}: is it http:// there?"
        case OSError(errno=number) if number in NO_WAY:
            yield f"There is no way to {host}. Check this machine's network, and the address in {variable}."
        case ConnectTimeoutError() if type(cause) is ConnectTimeoutError:
            yield _silent(host, variable)
        case OSError() if _in_handshake(cause):
            hangs_up = f"{host} hangs up before TLS has begun. Run again; if it stays so, check {variable}."
            yield _silent(host, variable) if isinstance(cause, TimeoutError) else hangs_up


def _silent(host: str, variable: str) -> str:
    return f"{host} does not answer. Check the address in {variable}, and the firewalls on the way."


def _host(found: list[BaseException]) -> str:
    """host:port of the request, the port only if it is in the URL."""
    asked = (cause.request for cause in found if isinstance(cause, requests.RequestException))
    return next((urlsplit(request.url or "").netloc.rpartition("@")[2] for request in asked if request), "the cloud")


def _system(found: list[BaseException]) -> str:
    """The innermost reason, in the system's words."""
    text = next((str(cause) for cause in reversed(found) if type(cause).__module__ == "builtins"), str(found[-1]))
    return re.sub(r"^\[Errno -?\d+\] ", "", text).rstrip(".")
