"""What the parts of `provision.py credentials` work with."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from rich.console import Console

from cloud.ovh.client import Keys
from cloud.ovh.rights import Rule
from settings import KeySettings

KEY = "OVH_CONSUMER_KEY"
CHECK = "python provision.py credentials --check"


@dataclass(frozen=True)
class Work:
    """The keys that are there, and the rights that are needed."""

    settings: KeySettings
    zones: Sequence[str]
    rules: Sequence[Rule]
    to: Console

    @property
    def keys(self) -> Keys:
        """All that .env has."""
        return keys_of(self.settings)

    def say(self, text: str) -> None:
        """Tell what happens meanwhile."""
        self.to.print(f"  {text}")


def keys_of(settings: KeySettings) -> Keys:
    """All keys that .env has, for a client."""
    have = settings.ovh
    return Keys(
        have.endpoint,
        _open(have.application_key),
        _open(have.application_secret),
        _open(have.consumer_key),
        have.client_id or None,
        _open(have.client_secret),
    )


def _open(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
