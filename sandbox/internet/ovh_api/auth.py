"""/auth: the time, and consumer keys from the asking to the end."""

import datetime
from typing import Any

from .context import Context
from .errors import business
from .schema import check_body

VALIDATION_PAGE = "/auth/"


def time(call: Context) -> int:
    """Return the server's clock."""
    return int(call.now)


def request_credential(call: Context) -> dict[str, str]:
    """Return auth.ApiCredentialRequest: a key that the customer still has to validate, and where."""
    body = check_body("auth.ApiCredentialRequestParams", call.body)
    name, key = call.account.request_key(call.request.headers["x-ovh-application"], body, call.now)
    origin = call.request.url.partition(call.request.base + call.request.path)[0]
    return {
        "consumerKey": name,
        "state": key.state,
        "validationUrl": f"{origin}{VALIDATION_PAGE}?credentialToken={key.token}",
    }


def current_credential(call: Context) -> dict[str, Any]:
    """Return auth.ApiCredential."""
    _refuse_service_account(call)
    key = call.account.consumer_keys[call.caller]
    return {
        "credentialId": key.id,
        "applicationId": 1 + list(call.account.applications).index(key.application_key),
        "status": key.status(call.now),
        "rules": [{"method": method, "path": path} for method, path in key.rules],
        "creation": _text(key.creation),
        "expiration": _text(key.expiration),
        "lastUse": _text(key.last_use),
        "allowedIPs": list(key.allowed_ips) if key.allowed_ips else None,
        "ovhSupport": False,
    }


def logout(call: Context) -> None:
    """End the consumer key."""
    _refuse_service_account(call)
    check_body("void", call.body)
    call.account.end(call.caller, "expired")


def _refuse_service_account(call: Context) -> None:
    if call.request.bearer is not None:
        raise business(403, "Forbidden", "This call is for consumer keys")


def _text(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
