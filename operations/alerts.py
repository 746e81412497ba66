"""Whom the server tells when something is wrong."""

from pydantic import SecretStr
from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import secret_file


@deploy("Alerts")
def alerts(state: State, channels: SecretStr | None) -> None:
    """One file, which has the addresses; without any, the server tells nobody."""
    secret_file.keep(
        name="Whom to tell, at 0600" if channels else "Nobody to tell",
        path=layout.ALERTS, text=channels, changes=secret_file.differences(state, layout.ALERTS, channels),
    )  # fmt: skip
