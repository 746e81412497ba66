"""The ways that a message can take: mail, a webhook, and a heartbeat which tells somebody else that this server lives.

Their addresses are secrets: whoever has one can write there. What goes wrong is told with the name of the host alone.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.header import Header
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime, localtime, make_msgid
from functools import partial
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from koprogo.problem import Problem, one_line

TIMEOUT = 10
"""Seconds for each answer of a server."""
DISCORD_LIMIT = 2000
"""Characters of a message (https://docs.discord.com/developers/resources/webhook)."""
NTFY_LIMIT = 4096
"""Bytes of a message; a longer one becomes a file, where files are taken (https://docs.ntfy.sh/config/)."""


@dataclass(frozen=True)
class Message:
    """What somebody has to know."""

    title: str
    """On one line."""
    text: str
    good: bool
    """Whether it is good news."""
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Channels:
    """Where messages go: /etc/koprogo/alerts.json."""

    server: str
    """What the operator calls this server: its public name."""
    smtp: str = ""
    """smtp://, smtps:// or smtp+starttls://USER:PASSWORD@HOST:PORT, user and password percent-encoded."""
    recipients: tuple[str, ...] = ()
    sender: str = ""
    webhook: str = ""
    kind: str = "json"
    """Which form the webhook wants, one of FORMS."""
    heartbeat: str = ""
    """Asked after every health check."""

    @property
    def ways(self) -> Mapping[str, Callable[[Message], None]]:
        """How a message is sent, by what to call it. Each raises Problem when it did not arrive there."""
        found: dict[str, Callable[[Message], None]] = {}
        for recipient in self.recipients if self.smtp else ():
            # A mail each: what one of them does not get must not be sent to the others again.
            found[f"mail to {recipient} by {_host(self.smtp)}"] = partial(_mail, self, recipient)
        if self.webhook:
            found[f"webhook at {_host(self.webhook)}"] = partial(_webhook, self)
        return found


def parse(data: Mapping[str, Any]) -> Channels:
    """Return the channels in `data`, as JSON has them; raises TypeError or KeyError."""
    return Channels(**{**data, "server": data["server"], "recipients": tuple(data.get("recipients", ()))})


def beat(channels: Channels) -> None:
    """Tell whoever waits for it that this server lives and looks after itself. Raises Problem."""
    parts, headers = urlsplit(channels.heartbeat), dict[str, str]()
    if parts.password is not None:
        headers["Authorization"] = _basic(unquote(parts.username or ""), unquote(parts.password))
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    _request(urllib.request.Request(address, headers=headers))  # noqa: S310 - https, as the settings made sure


def _mail(channels: Channels, recipient: str, message: Message) -> None:
    parts = urlsplit(channels.smtp)
    host, secure = parts.hostname or "", parts.scheme != "smtp"
    context = ssl.create_default_context() if secure else None
    try:
        with closing(_connection(parts, context)) as connection:
            if parts.scheme == "smtp+starttls":
                connection.starttls(context=context)
            if parts.username:
                connection.login(unquote(parts.username), unquote(parts.password or ""))
            connection.send_message(mail(channels, recipient, message))
            with suppress(smtplib.SMTPException):  # it has the mail, whatever it says to this
                connection.quit()
    except smtplib.SMTPResponseException as error:
        raise Problem(f"{host} says {_answer(error.smtp_code, error.smtp_error)}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise Problem(f"{host} refuses {recipient}: {_answer(*next(iter(error.recipients.values())))}") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Problem(f"{host}: {_words(error)}") from None


def _answer(code: int, said: bytes | str) -> str:
    return f"{code} {one_line(said.decode(errors='replace') if isinstance(said, bytes) else said, 120)}"


def _connection(parts: SplitResult, context: ssl.SSLContext | None) -> smtplib.SMTP:
    host = parts.hostname or ""
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT, context=context)
    return smtplib.SMTP(host, parts.port or (587 if context else 25), timeout=TIMEOUT)


def mail(channels: Channels, recipient: str, message: Message) -> EmailMessage:
    """Return the mail that a message becomes."""
    # A subject that is folded comes with a blank before it in some programs.
    made = EmailMessage(default.clone(max_line_length=900))
    made["Subject"] = one_line(f"[{channels.server}] {message.title}", 150)
    made["From"] = channels.sender
    made["To"] = recipient
    made["Date"] = format_datetime(localtime())
    made["Message-ID"] = make_msgid(domain=channels.server)
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer of the kind "I am away" is wanted
    made.set_content(message.text + "\n")
    return made


def _webhook(channels: Channels, message: Message) -> None:
    form = FORMS[channels.kind](channels.server, message)
    parts = urlsplit(channels.webhook)
    headers, path = dict(form.headers), parts.path
    if parts.password is not None:
        headers["Authorization"] = form.authorization(unquote(parts.username or ""), unquote(parts.password))
    if form.method == "PUT":
        # Its own name, so that a request which is repeated makes no second message.
        name = hashlib.sha256(f"{message.at}{message.title}".encode()).hexdigest()[:16]
        path = f"{path.rstrip('/')}/{name}"
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, parts.query, ""))
    _request(urllib.request.Request(address, form.body, headers, method=form.method))  # noqa: S310 - as in beat


@dataclass(frozen=True)
class Form:
    """A request as one kind of receiver wants it."""

    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    bearer: bool = False
    """Whether the password in the address is a token."""

    def authorization(self, user: str, password: str) -> str:
        """Return the header that says who writes."""
        if self.bearer:
            return f"Bearer {password}"
        return _basic(user, password)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _json(data: object, **more: Any) -> Form:
    return Form(json.dumps(data).encode(), {"Content-Type": "application/json", "User-Agent": "koprogo"}, **more)


def _ntfy(server: str, message: Message) -> Form:
    title = one_line(f"{server}: {message.title}")
    headers = {
        # A header that is not ASCII goes as RFC 2047 says (https://docs.ntfy.sh/publish/).
        "Title": title if title.isascii() else Header(title, "utf-8", maxlinelen=10_000).encode(),
        "Priority": "default" if message.good else "high",
        "Tags": "white_check_mark" if message.good else "warning",
        "User-Agent": "koprogo",
    }
    return Form(message.text.encode()[:NTFY_LIMIT].decode(errors="ignore").encode(), headers)


def _slack(server: str, message: Message) -> Form:
    text = f"{_mark(message)} {server}: {message.title}\n{message.text}"
    # https://docs.slack.dev/messaging/formatting-message-text: these three have a meaning of their own.
    return _json({"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")})


def _discord(server: str, message: Message) -> Form:
    text = f"{_mark(message)} **{server}: {message.title}**\n{message.text}"
    # A commit's message must not be able to call everybody.
    return _json({"content": text[:DISCORD_LIMIT], "allowed_mentions": {"parse": []}})


def _matrix(server: str, message: Message) -> Form:
    text = f"{_mark(message)} {server}: {message.title}\n{message.text}"
    # Without this list a commit's message could call everybody in the room.
    return _json({"msgtype": "m.text", "body": text, "m.mentions": {}}, method="PUT", bearer=True)


def _plain(server: str, message: Message) -> Form:
    return _json(
        {"server": server, "title": message.title, "text": message.text, "good": message.good, "at": message.at}
    )


FORMS: Mapping[str, Callable[[str, Message], Form]] = {
    "ntfy": _ntfy,
    "slack": _slack,
    "discord": _discord,
    "matrix": _matrix,
    "json": _plain,
}
"""By the name that ALERT_WEBHOOK_KIND has for them."""


def _mark(message: Message) -> str:
    return "✅" if message.good else "⚠️"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is sent elsewhere as a GET has not arrived, whatever is answered there."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


def _request(request: urllib.request.Request) -> None:
    host = _host(request.full_url)
    try:
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as response:
            response.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise Problem(f"{host} answers HTTP {error.code}") from None
    except urllib.error.URLError as error:
        raise Problem(f"{host}: {_words(error.reason)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Problem(f"{host}: {_words(error)}") from None


def _host(address: str) -> str:
    parts = urlsplit(address)
    return quote(parts.hostname or "?", safe=".-:[]")


def _words(error: object) -> str:
    """Return what went wrong, without the address that it may name."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, smtplib.SMTPException):
        return one_line(str(error), 120).rstrip(".")
    if isinstance(error, OSError):
        return one_line(error.strerror or type(error).__name__, 120)
    return type(error).__name__
