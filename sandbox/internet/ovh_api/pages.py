"""What is outside the API: the page on which a customer validates a consumer key, and OAuth2's token endpoint.

At OVH both are on www.ovh.com.
"""

import base64
import binascii
import hmac
import html as markup
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from .access import Request
from .accounts import TOKEN_SECONDS, Account
from .answers import Answer, html, json_answer
from .auth import VALIDATION_PAGE

TOKEN_ENDPOINT = "/auth/oauth2/token"  # noqa: S105 (an address)

# Choice on the page -> seconds that the key then lives; OVH offers an unlimited one too.
VALIDITIES = {"1 hour": 3600, "1 day": 86400, "7 days": 604800, "30 days": 2592000, "unlimited": 0}

_PAGE = """<!doctype html><html lang="en"><title>Grant access</title><h1>Grant access</h1><p>{note}</p>
<p>An application asks for:</p><ul>{rules}</ul>
<form method="post"><input type="hidden" name="credentialToken" value="{token}">
<label>Account ID <input name="login"></label> <label>Password <input name="password" type="password"></label>
<label>Validity <select name="duration">{validities}</select></label>
<button name="answer" value="accept">Log in</button> <button name="answer" value="refuse">Refuse</button></form></html>
"""


def handle(account: Account, request: Request, now: float) -> Answer:
    """Return the answer to a request outside /1.0 and /v1."""
    if (request.method, request.path) == ("POST", TOKEN_ENDPOINT):
        return _token(account, request, now)
    if request.path == VALIDATION_PAGE and request.method in ("GET", "POST"):
        return _validation(account, request, now)
    return html(404, "<!doctype html><title>Not found</title>")


def _validation(account: Account, request: Request, now: float) -> Answer:
    form = dict(parse_qsl(request.body))
    token = form.get("credentialToken") or request.query.get("credentialToken", "")
    name = account.asked_by(token)
    if name is None:
        return html(404, "<!doctype html><title>Unknown</title><p>Nobody waits for this.</p>")
    note = _objection(account, form) if request.method == "POST" else ""
    if request.method == "GET" or note:
        return _page(token, account.consumer_keys[name].rules, note)
    return _decided(account, name, form, now)


def _objection(account: Account, form: Mapping[str, str]) -> str:
    """Return what is wrong with the customer's answer, "" if nothing is."""
    right = account.password and hmac.compare_digest(form.get("password", "").encode(), account.password.encode())
    if form.get("login") != account.login or not right:
        return "Invalid account or password."
    if form.get("duration") not in {str(seconds) for seconds in VALIDITIES.values()}:
        return "Choose a validity."
    return ""


def _decided(account: Account, name: str, form: Mapping[str, str], now: float) -> Answer:
    key, seconds = account.consumer_keys[name], int(form["duration"])
    if form.get("answer") == "refuse":
        account.change(name, replace(key, state="refused"))
        return html(200, "<!doctype html><title>Refused</title><p>The application got no access.</p>")
    account.change(name, replace(key, state="validated", expiration=now + seconds if seconds else None))
    if key.redirection:
        return Answer(302, headers={"Location": key.redirection})
    return html(200, "<!doctype html><title>Granted</title><p>The application has access now.</p>")


def _page(token: str, rules: tuple[tuple[str, str], ...], note: str) -> Answer:
    validities = (f"<option value={seconds}>{text}</option>" for text, seconds in VALIDITIES.items())
    asked = (f"<li>{markup.escape(f'{method} {path}')}</li>" for method, path in rules)
    values = {"note": note, "rules": "".join(asked), "token": markup.escape(token), "validities": "".join(validities)}
    return html(200, _PAGE.format(**values))


def _token(account: Account, request: Request, now: float) -> Answer:
    """Answer a service account's request for a bearer token (RFC 6749, sections 4.4 and 5)."""
    form = dict(parse_qsl(request.body))
    if form.get("grant_type") != "client_credentials":
        return json_answer(400, {"error": "unsupported_grant_type"})
    client, secret = _basic(request.headers.get("authorization", "")) or (
        form.get("client_id", ""),
        form.get("client_secret", ""),
    )
    known = account.service_accounts.get(client)
    if known is None or not hmac.compare_digest(known.secret.encode(), secret.encode()):
        return json_answer(401, {"error": "invalid_client", "error_description": "unknown client or wrong secret"})
    return json_answer(
        200,
        {
            "access_token": account.issue_token(client, now),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": form.get("scope", "all"),
        },
    )


def _basic(header: str) -> tuple[str, str] | None:
    kind, _, encoded = header.partition(" ")
    if kind != "Basic":
        return None
    try:
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return client, secret
