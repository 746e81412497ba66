"""Every retry of the cloud's API, and what is shown of it.

A request may be repeated if doing it twice does no harm. A create is none: its answer may be lost after it was carried
out, and done twice it makes two servers. It is repeated only where it certainly was not begun; otherwise the exception
goes to the caller (as cloud.trouble.NoAnswer, see cloud.api.explain), who looks at what there is before anything else.
"""

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from ssl import SSLEOFError
from time import monotonic, sleep, time
from typing import Any
from urllib.parse import urlsplit

import requests
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from tenacity import RetryCallState, Retrying, stop_before_delay, wait_exponential

from cloud.api import shape
from cloud.unreachable import causes, check_environment, never_sent

TRIES = 6
FIRST_TRIES = 3
"""While nothing has answered yet: a wrong address is likelier than an outage."""
SECONDS = 120
"""After so long no further try of the same request begins."""
WAIT_AT_MOST = 60
"""Seconds. OVH's Keystone counts requests by the minute, so no honest wait is longer."""
CONNECT_SECONDS = 10
READ_SECONDS = 30
MAKE_SECONDS = 90
"""For the answer to a create: at a busy time Nova may take long, and asking again is no way out."""

REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
READS = '{"os-getConsoleOutput"'
"""How the body of a POST begins that changes nothing, with which Nova reads a console."""
TOO_MANY_REQUESTS = 429
FAILURES = (500, 502, 503, 504)
"""What a server may do better next time; 501 and 505 are for ever."""

Say = Callable[[str], None]


class PatientSession(Session):
    """keystoneauth's session, that tries again within bounds and says so.

    `say` gets a line before each wait. `trace` gets a line for each request: method, path with query, status,
    milliseconds, the request's id; never a header or a body, which hold passwords and tokens.
    """

    def __init__(self, auth: BaseAuthPlugin, say: Say, trace: Say | None = None) -> None:
        # Below keystoneauth: a login or a discovery in the middle of a request has bounds of its own, and the request
        # around it is not repeated as a whole. So a new login, after a 401, is keystoneauth's as ever.
        self._transport = _Transport(say, trace)
        super().__init__(auth=auth, session=self._transport, app_name="koprogo-infrastructure")

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        """As of keystoneauth. Raises cloud.api.shape.OddAnswer too."""
        answer = super().request(url, method, *args, **kwargs)
        shape.note(method, answer, kwargs.get("endpoint_filter"))
        return answer

    @property
    def clock_ahead(self) -> float | None:
        """Seconds that this machine's clock was ahead of the cloud's at the last answer; None if that had no date."""
        return self._transport.clock_ahead


class _Transport(requests.Session):
    """Sends each request until its answer is final or patience ends; then the last answer or exception counts."""

    def __init__(self, say: Say, trace: Say | None) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, TCPKeepAliveAdapter())  # as keystoneauth has it
        self._say, self._trace = say, trace
        self._reached = False
        self.clock_ahead: float | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As of requests. Raises the exceptions of requests."""
        check_environment(str(url))
        asked = _Request(str(method).upper(), urlsplit(str(url)).path, kwargs.get("data"))
        kwargs["timeout"] = (CONNECT_SECONDS, asked.seconds)
        retrying = Retrying(
            retry=asked.may_be_repeated,
            wait=_wait,
            stop=self._enough,
            before_sleep=lambda state: self._say(asked.line(state)),
            sleep=sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: requests.Response = retrying(self._once, asked.method, url, *args, **kwargs)
        return answer

    def _once(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        start = monotonic()
        try:
            answer = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            self._note(method, error.request.url if error.request else str(url), type(error).__name__, start)
            raise
        self._reached = True
        there = _seconds(answer.headers.get("Date"))
        self.clock_ahead = None if there is None else time() - there
        request_id = answer.headers.get("x-openstack-request-id") or answer.headers.get("x-compute-request-id") or ""
        self._note(method, answer.url, f"{answer.status_code}", start, request_id)
        return answer

    def _enough(self, state: RetryCallState) -> bool:
        tried = state.attempt_number >= (TRIES if self._reached else FIRST_TRIES)
        return tried or state.upcoming_sleep > WAIT_AT_MOST or stop_before_delay(SECONDS)(state)

    def _note(self, method: str, url: str | None, outcome: str, start: float, request_id: str = "") -> None:
        if self._trace:
            parts = urlsplit(url or "")
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            self._trace(f"{method} {target} {outcome} {1000 * (monotonic() - start):.0f} ms {request_id}".rstrip())


class _Request:
    """What is asked."""

    def __init__(self, method: str, path: str, body: object) -> None:
        self._what = f"{method} {path}"
        reads = path.endswith("/auth/tokens") or str(body).startswith(READS)
        self._repeatable = method in REPEATABLE or reads
        self.method = method
        self.seconds = READ_SECONDS if self._repeatable else MAKE_SECONDS

    def may_be_repeated(self, state: RetryCallState) -> bool:
        """Whether this outcome of it is not final."""
        answer, error = _outcome(state)
        if answer is not None:
            failed = answer.status_code in FAILURES
            return answer.status_code == TOO_MANY_REQUESTS or (failed and self._repeatable)
        if isinstance(error, requests.exceptions.SSLError) and never_sent(error):  # a certificate stays as it is
            return any(isinstance(cause, SSLEOFError) for cause in causes(error))
        return isinstance(error, BROKEN) and (self._repeatable or never_sent(error))

    def line(self, state: RetryCallState) -> str:
        """What happened, and that it is tried again."""
        answer, error = _outcome(state)
        wait = f"{state.upcoming_sleep:.0f} s"
        if answer is not None and retry_after(answer) is not None:
            return f"the cloud asks to wait {wait} ({answer.status_code} on {self._what}); trying again"
        if answer is not None:
            happened = "asks for fewer requests" if answer.status_code == TOO_MANY_REQUESTS else "failed"
            return f"the cloud {happened} ({answer.status_code} on {self._what}); trying again in {wait}"
        happened = "the connection to the cloud broke"
        if error and never_sent(error):
            happened = "no connection to the cloud"
        elif isinstance(error, requests.Timeout):
            happened = f"no answer from the cloud for {self.seconds} s"
        return f"{happened} ({self._what}); trying again in {wait}"


BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def retry_after(answer: requests.Response) -> float | None:
    """Seconds that an answer asks to wait, as a number or up to a date (RFC 9110, 10.2.3); None if it does not."""
    value = str(answer.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]+", value):  # isdigit() has ² too, of which float() makes nothing
        return float(value)
    until = _seconds(value)
    return None if until is None else max(0.0, until - (_seconds(answer.headers.get("Date")) or time()))


def _wait(state: RetryCallState) -> float:
    answer, _ = _outcome(state)
    asked = None if answer is None else retry_after(answer)
    return wait_exponential(multiplier=1, max=WAIT_AT_MOST)(state) if asked is None else max(1.0, asked)


def _outcome(state: RetryCallState) -> tuple[requests.Response | None, BaseException | None]:
    if state.outcome is None or state.outcome.failed:
        return None, state.outcome.exception() if state.outcome else None
    return state.outcome.result(), None


def _seconds(date: str | None) -> float | None:
    """An HTTP date as seconds since 1970; None if it is none."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None
