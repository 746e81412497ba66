"""The variables of who is told when something is wrong. Addresses are secrets: whoever has one can write there."""

import re
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from configuration import checks as check
from configuration.section import Section

KINDS = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfy",
}
"""The form that a webhook wants, where its host says so."""
SMTP = ("smtp", "smtps", "smtp+starttls")


class Alerts(Section):
    """Who is told, and how. Without any of these nobody is."""

    email: check.Emails = Field((), alias="ALERT_EMAIL", description="Addresses for mails, between commas.")
    smtp_url: SecretStr | None = Field(
        None, alias="ALERT_SMTP_URL", description="smtp+starttls://USER:PASSWORD@HOST:587 or smtps://…:465."
    )
    sender: check.Email | None = Field(
        None, alias="ALERT_FROM", description="Whom mails come from; the user of ALERT_SMTP_URL if that is an address."
    )
    webhook_url: SecretStr | None = Field(
        None, alias="ALERT_WEBHOOK_URL", description="https:// address that messages are posted to."
    )
    webhook_kind: Literal["ntfy", "slack", "discord", "matrix", "json"] | None = Field(
        None,
        alias="ALERT_WEBHOOK_KIND",
        description="ntfy, slack, discord, matrix or json; found from the address of the first three, else json.",
    )
    heartbeat_url: SecretStr | None = Field(
        None, alias="ALERT_HEARTBEAT_URL", description="https:// address to ask after every check, as a sign of life."
    )

    disk_percent: int = Field(
        90, alias="ALERT_DISK_PERCENT", ge=50, le=99, description="From how much of a disk on somebody is told."
    )
    certificate_days: int = Field(
        14, alias="ALERT_CERTIFICATE_DAYS", ge=1, le=60, description="From how few days of a certificate on."
    )
    checks: int = Field(
        2, alias="ALERT_CHECKS", ge=1, le=12, description="How many in a row, five minutes apart, have to find a thing."
    )
    remind_hours: int = Field(
        6, alias="ALERT_REMIND_HOURS", ge=1, le=168, description="After which somebody is told again."
    )

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        wanted = bool(info.data.get("email", True))  # one that is wrong is told of by itself
        if value is None:
            if wanted:
                raise ValueError(
                    "missing; ALERT_EMAIL needs a mail server, as in smtp+starttls://USER:PASSWORD@HOST:587"
                )
            return None
        parts = _parts(value)
        if parts is None or parts.scheme not in SMTP or parts.path.strip("/") or parts.query:
            raise ValueError("is no smtp+starttls://USER:PASSWORD@HOST:587, smtps:// nor smtp://")
        if parts.scheme == "smtp" and parts.password:
            raise ValueError("would send the password in clear; put smtp+starttls:// or smtps://")
        if not wanted:
            raise ValueError("is set, and nobody is to get mails; put ALERT_EMAIL, or leave both out")
        return value

    @field_validator("sender")
    @classmethod
    def _from_whom(cls, value: str | None, info: ValidationInfo) -> str | None:
        smtp_url = info.data.get("smtp_url")
        if value is not None or smtp_url is None:
            return value
        parts = _parts(smtp_url)
        user = unquote(parts.username) if parts and parts.username else ""
        if "@" not in user:
            raise ValueError("missing; the user of ALERT_SMTP_URL is no address that mails can come from")
        return check.email(user)

    @field_validator("webhook_url", "heartbeat_url")
    @classmethod
    def _web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        parts = _parts(value)
        if parts is None or parts.scheme != "https":
            raise ValueError("is not an https:// address")
        return value

    @field_validator("webhook_kind")
    @classmethod
    def _form(cls, value: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("webhook_url")
        if url is None:
            return None
        parts = _parts(url)
        host, path = (parts.hostname or "", parts.path) if parts else ("", "")
        kind = value or KINDS.get(host, "json")
        room = re.fullmatch(r"/_matrix/client/v3/rooms/[^/]+/send/m\.room\.message/?", path)
        if kind == "matrix" and not (room and parts and parts.password):
            raise ValueError(
                "matrix wants https://:TOKEN@HOST/_matrix/client/v3/rooms/ROOM/send/m.room.message as the address"
            )
        return kind


def _parts(value: SecretStr) -> SplitResult | None:
    """The address in its parts; None where it is none."""
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # its message can hold the password
        return None
    return parts if parts.hostname and not re.search(r"\s", text) else None
