"""A new consumer key: asked for with the least rights, validated by the operator, written into .env."""

import os
import stat

import settings as variables
from cloud.ovh import errors, rights
from cloud.ovh.check import is_missing_right
from cloud.ovh.client import Client, Keys, having
from cloud.ovh.errors import Passing, Refused
from cloud.ovh.work import CHECK, KEY, Work
from cloud.show import step
from cloud.trouble import CloudError
from cloud.waiting import until
from settings import KeySettings, SettingsError

PATIENCE, PAUSE = 15 * 60.0, 3.0
"""Seconds that the validation is waited for, and between two looks."""


def make(work: Work) -> None:
    """Make it, and say what is to be done meanwhile. Raises CloudError; .env is then as it was."""
    _may_be_written(work.settings)
    key, link = _asked_for(work)
    work.to.print("OVH has made a key with exactly these rights. Open this page, log in, choose how long it lives:\n")
    work.to.print(f"  {link}\n")
    work.to.print(f"Nothing is written until then: Ctrl-C leaves {work.settings.env_file} as it is.")
    have = work.keys
    client = Client(Keys(have.endpoint, have.application_key, have.application_secret, key))
    with step(work.to, f"Waiting until it is validated, {PATIENCE / 60:.0f} minutes at most"):
        done = until(lambda: _validated(client), PATIENCE, PAUSE)
    if not done:
        raise CloudError("The key was not validated in time. Nothing was written; run the same command again.")
    _write(work, key)


def _asked_for(work: Work) -> tuple[str, str]:
    """The key, and where it is validated."""
    have = work.keys
    client = Client(Keys(have.endpoint, have.application_key, have.application_secret), work.say)
    body = {"accessRules": rights.access_rules(work.rules)}
    right = having(consumerKey=str, validationUrl=str)
    asked = client.call("POST", "/auth/credential", body, signed=False, right=right)
    return asked["consumerKey"], asked["validationUrl"]


def _validated(client: Client) -> bool:
    """Whether the key works. One that waits is refused as one that has expired is."""
    try:
        client.once("GET", "/domain/zone")
    except Passing:
        return False
    except Refused as error:
        if errors.CODES["INVALID_CREDENTIAL"] in str(error):
            return False
        if not is_missing_right(error):
            raise
    return True  # if without a right, then validated with others than were asked for, which --check names


def _may_be_written(settings: KeySettings) -> None:
    """Find out before the operator's work whether it would be in vain. Raises CloudError."""
    path = settings.env_file
    if os.environ.get(KEY):
        raise CloudError(f"{KEY} is set in the environment, which wins over {path}. Take it out there, then run again.")
    if not (os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        raise CloudError(f"{path} cannot be written, and the new key is to go there. Nothing was asked for.")


def _write(work: Work, key: str) -> None:
    path = work.settings.env_file
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
            work.to.print(f"{path}: others could read it; now only you can.")
        variables.write_variable(work.settings, KEY, key)
    except (OSError, SettingsError):  # whose text may hold the key
        raise CloudError(f"{path} could not be written, and the new key is lost. Mend that, then run again.") from None
    work.to.print(f"{path}:")
    work.to.print(f"  ~ {KEY} (hidden) → (hidden)" if work.settings.ovh.consumer_key else f"  + {KEY} (hidden)")
    work.to.print(f"Written. To see that it does: {CHECK}")
