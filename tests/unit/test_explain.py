"""What the exceptions of the cloud's libraries say in our terms. Those of logging in are in test_session.py."""

import pytest
import requests
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud.api.explain import explain, explained
from cloud.trouble import CloudError, NoAnswer, NotYet


def http(kind: type[sdk.HttpException], status: int, details: str, **headers: str) -> sdk.HttpException:
    """An exception as openstacksdk raises it."""
    answer = requests.Response()
    answer.status_code = status
    answer.headers.update(headers)
    return kind(message="Client Error", details=details, response=answer)


@pytest.mark.parametrize(
    ("error", "said", "kind"),
    [
        (keystone.ConnectFailure("x"), "the connection to the cloud broke. Run again.", NoAnswer),
        (keystone.ConnectTimeout("x"), "the cloud took the request and gave no answer in time. Run again;", NoAnswer),
        (keystone.UnknownConnectionError("x", ValueError()), "the connection to the cloud broke.", NoAnswer),
        (keystone.Unauthorized("x"), "the cloud no longer accepts the token or the password.", CloudError),
        (keystone.SSLError("x"), "the connection to the cloud broke. Run again.", NoAnswer),
        (keystone.BadGateway("x"), "the cloud failed (502: x (HTTP 502)). Run again;", NoAnswer),
        (http(sdk.HttpException, 429, "slow down"), "the cloud asks for fewer requests (429). Wait a minute,", NotYet),
        (
            http(sdk.HttpException, 429, "slow down", **{"Retry-After": "300"}),
            "the cloud asks for fewer requests (429). Wait 300 s, then run again.",
            CloudError,
        ),
        (
            http(sdk.HttpException, 502, "<html><h1>502 Bad Gateway</h1>\n<p>nginx</p></html>"),
            "the cloud failed (502: 502 Bad Gateway). Run again;",
            NoAnswer,
        ),
        (
            http(sdk.ForbiddenException, 403, "Quota exceeded for cores: Requested 1, but already used 4 of 4 cores"),
            "Quota exceeded for cores: Requested 1, but already used 4 of 4 cores. Ask OVH for more",
            CloudError,
        ),
        (
            http(sdk.ConflictException, 409, "Quota exceeded for resources: ['security_group_rule']."),
            "Quota exceeded for resources: ['security_group_rule']. Ask OVH for more",
            CloudError,
        ),
        (
            http(sdk.ForbiddenException, 403, "Policy doesn't allow os_compute_api:servers:create"),
            "the user may not do that (Policy doesn't allow os_compute_api:servers:create). Its roles",
            CloudError,
        ),
        (http(sdk.BadRequestException, 400, "Invalid key_name provided."), "Invalid key_name provided.", CloudError),
    ],
)
def test_what_an_exception_says_and_whether_to_ask_again(error: Exception, said: str, kind: type[Exception]) -> None:
    assert explain(error).startswith(said)
    with pytest.raises(CloudError) as caught, explained("Making the server"):
        raise error
    assert str(caught.value).startswith(f"Making the server: {said}")
    assert type(caught.value) is kind
