"""Tokens of a service account (OAuth2): python-ovh gets them, but waits for ever and keeps the answer that has none."""

from functools import cached_property
from typing import Any

import requests
from ovh.exceptions import OAuth2FailureError
from ovh.oauth2 import BackendApplicationClient, OAuth2, RefreshOAuth2Session


class _Session(RefreshOAuth2Session):  # type: ignore[misc]  # python-ovh has no types
    """Waits `timeout` at most, in seconds to connect and to wait for an answer; a failure has the answer with it."""

    timeout: tuple[float, float]
    answer: requests.Response | None = None

    def save_error(self, resp: requests.Response) -> requests.Response:
        """Hear of every answer to a request for a token."""
        self.answer = resp
        return resp

    def fetch_token(self, *args: Any, **kwargs: Any) -> Any:
        """Get a token. Raises OAuth2FailureError, RequestException."""
        try:
            return super().fetch_token(*args, timeout=self.timeout, **kwargs)
        except OAuth2FailureError as error:
            error.response = self.answer
            raise


class ServiceAccount(OAuth2):  # type: ignore[misc]  # python-ovh has no types
    """Where python-ovh takes the session from in which calls carry a token."""

    def __init__(self, client_id: str, client_secret: str, token_url: str, timeout: tuple[float, float]) -> None:
        super().__init__(client_id, client_secret, token_url)
        self._timeout = timeout

    @cached_property
    def session(self) -> Any:
        """Has a token, and gets another once that is over. Raises OAuth2FailureError, RequestException."""
        account = {"client_id": self.client_id, "client_secret": self.client_secret}
        session = _Session(
            self.token_url,
            client=BackendApplicationClient(client_id=self.client_id, scope=["all"]),
            token_updater=self.token_updater,
            auto_refresh_kwargs=account,
        )
        session.timeout = self._timeout
        session.token = session.fetch_token(token_url=self.token_url, **account)
        return session
