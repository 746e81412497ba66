"""Logging in, against a Keystone that is not there, is none, or answers what ours would."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from pydantic import SecretStr
from small_cloud import SmallCloud, running

from cloud.api import patience
from cloud.api.session import connect
from cloud.trouble import CloudError
from configuration.sections import OpenStack


def account(auth_url: str, **changes: Any) -> OpenStack:
    """An account of this Keystone."""
    values: dict[str, Any] = {"username": "user-1", "password": SecretStr("not-to-be-shown"), "project_id": "p1"}
    values |= {"project_name": "", "project_domain_name": "Default"}
    fields = {"auth_url": auth_url, "region": "GRA11", "user_domain_name": "Default", **values, **changes}
    return OpenStack.model_construct(**fields)


def endpoint(region: str) -> dict[str, str]:
    return {"region": region, "region_id": region, "interface": "public", "url": f"http://{region}.test/", "id": region}


def token(**changes: Any) -> dict[str, Any]:
    """What Keystone answers to a good login."""
    regions = {"compute": ["GRA11", "SBG5", "DE1"], "network": ["GRA11", "SBG5"], "image": ["GRA11", "SBG5", "GRA"]}
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": "u1", "name": "user-1", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p1", "name": "koprogo", "domain": {"id": "default", "name": "Default"}},
            "issued_at": datetime.now(UTC).isoformat(),
            "expires_at": "2100-01-01T00:00:00.000000Z",
            "catalog": [
                {"type": service, "name": service, "id": service, "endpoints": [endpoint(one) for one in names]}
                for service, names in regions.items()
            ],
            **changes,
        }
    }


@pytest.fixture(autouse=True)
def _no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_PROXY", "no_proxy", "http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(patience, "sleep", lambda _: None)
    monkeypatch.setattr(patience, "CONNECT_SECONDS", 0.5)


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with running() as cloud:
        cloud.answers_json("POST /v3/auth/tokens", token(), 201, **{"X-Subject-Token": "not-to-be-shown"})
        yield cloud


def said(auth_url: str, **changes: Any) -> str:
    """What stops a login."""
    with pytest.raises(CloudError) as caught:
        connect(account(auth_url, **changes), lambda _: None)
    assert "not-to-be-shown" not in str(caught.value)
    return str(caught.value)


def test_everything_leads_to_the_region_of_the_settings(
    cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clouds.yaml").write_text("clouds: {envvars: {region_name: SBG5}}")
    monkeypatch.setenv("OS_REGION_NAME", "SBG5")
    monkeypatch.setenv("OS_CLOUD", "elsewhere")
    connection = connect(account(f"{cloud.url}/v3", region="GRA11"), lambda _: None)
    assert connection.session.get_endpoint(service_type="network", region_name="GRA11") == "http://GRA11.test/"
    assert connection.config.get_region_name() == "GRA11"
    assert cloud.done == ["POST /v3/auth/tokens"]


@contextmanager
def dead_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    yield f"http://{address}/v3"


@contextmanager
def full_port() -> Iterator[str]:
    """Where connections are never accepted."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as held:
        for _ in range(2):
            client = held.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v3"


@contextmanager
def http_under_https() -> Iterator[str]:
    with running() as cloud:
        yield f"https://127.0.0.1:{cloud.server_port}/v3"


@contextmanager
def self_signed(folder: Path) -> Iterator[str]:
    request = "openssl req -x509 -newkey ed25519 -nodes -keyout key -out crt -days 1 -subj /CN=x"
    subprocess.run([*request.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, stderr=-3)
    with running() as cloud:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "crt", folder / "key")
        cloud.socket = context.wrap_socket(cloud.socket, server_side=True)
        yield f"https://127.0.0.1:{cloud.server_port}/v3"


NO_KEYSTONE = "Logging in to {url}: OS_AUTH_URL leads to no Keystone ({}); for OVH it is https://auth.cloud.ovh.net/v3."


def test_nothing_listens() -> None:
    with dead_port() as url:
        host = url.removeprefix("http://").removesuffix("/v3")
        assert said(url) == (
            f"Logging in to {url}: the cloud cannot be reached. Nothing listens at {host}."
            " Check the address and the port in OS_AUTH_URL."
        )


def test_there_is_no_route() -> None:
    # no host has a TCP route to the broadcast address
    assert said("http://255.255.255.255/v3") == (
        "Logging in to http://255.255.255.255/v3: the cloud cannot be reached. There is no way to 255.255.255.255."
        " Check this machine's network, and the address in OS_AUTH_URL."
    )


def test_nobody_answers() -> None:
    with full_port() as url:
        host = url.removeprefix("http://").removesuffix("/v3")
        assert said(url) == (
            f"Logging in to {url}: the cloud cannot be reached. {host} does not answer."
            " Check the address in OS_AUTH_URL, and the firewalls on the way."
        )


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Nobody knows the name auth.ovh.test. Check OS_AUTH_URL, and this machine's DNS.",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "No name server answers for auth.ovh.test. Check this machine's network and /etc/resolv.conf.",
        ),
    ],
)
def test_the_name_is_not_found(monkeypatch: pytest.MonkeyPatch, error: OSError, what: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert said("https://auth.ovh.test/v3") == (
        f"Logging in to https://auth.ovh.test/v3: the cloud cannot be reached. {what}"
    )


def test_https_where_there_is_http() -> None:
    with http_under_https() as url:
        host = url.removeprefix("https://").removesuffix("/v3")
        assert said(url) == (f"Logging in to {url}: {host} does not speak TLS. Check OS_AUTH_URL: is it http:// there?")


def test_a_certificate_of_nobody(tmp_path: Path) -> None:
    with self_signed(tmp_path) as url:
        host = url.removeprefix("https://").removesuffix("/v3")
        assert said(url) == (
            f"Logging in to {url}: The TLS certificate of {host} does not verify: self-signed certificate."
            " Check OS_AUTH_URL, and the time of this machine."
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with dead_port() as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.removesuffix("/v3"))
        assert said(f"{scheme}://auth.ovh.test/v3") == (
            f"Logging in to {scheme}://auth.ovh.test/v3: the cloud cannot be reached. The proxy in HTTP_PROXY or"
            " HTTPS_PROXY does not let us through (Connection refused). Mend that variable, or name auth.ovh.test in"
            " NO_PROXY."
        )


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy() as proxy:  # it has no CONNECT
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert said("https://auth.ovh.test/v3") == (
            "Logging in to https://auth.ovh.test/v3: the cloud cannot be reached. The proxy in HTTP_PROXY or"
            " HTTPS_PROXY does not let us through (Tunnel connection failed: 501 Unsupported method ('CONNECT'))."
            " Mend that variable, or name auth.ovh.test in NO_PROXY."
        )


@pytest.mark.parametrize(
    ("status", "kind", "body", "what"),
    [
        (200, "text/html", b"<html><title>Welcome to nginx!</title><p>It works", "Welcome to nginx!"),
        (403, "text/html", b"<html><title>\n Login\n</title><h1>Who are you?</h1>", "Login"),
        (404, "text/html; charset=utf-8", b"<html>\n<h1>404 Not Found</h1>", "404 Not Found"),
        (405, "text/html", b"<html><h1>405 Not Allowed</h1>", "405 Not Allowed"),
        (200, "application/json", b"{}", "Invalid response from server"),
        (404, "application/json", b'{"code": 404}', "Unrecognized schema in response body. (HTTP 404)"),
    ],
)
def test_the_address_is_that_of_something_else(
    cloud: SmallCloud, status: int, kind: str, body: bytes, what: str
) -> None:
    cloud.answers["POST /v3/auth/tokens"] = status, {"Content-Type": kind}, body
    url = f"{cloud.url}/v3"
    assert said(url) == NO_KEYSTONE.format(what, url=url)


@pytest.mark.parametrize("body", [{"token": []}, {"token": "none"}])
def test_a_token_that_is_none(cloud: SmallCloud, body: Any) -> None:
    cloud.answers_json("POST /v3/auth/tokens", body, 201, **{"X-Subject-Token": "not-to-be-shown"})
    assert said(f"{cloud.url}/v3") == (
        f"Logging in to {cloud.url}/v3: Keystone (POST /v3/auth/tokens) answered in a way that OpenStack does not. Run"
        " again; if it stays so, check HTTP_PROXY, and see OVH's status page."
    )


@pytest.mark.parametrize("projects", [{}, [], {"projects": {}}, {"projects": [{}]}])
def test_a_list_of_projects_that_is_none(cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch, projects: Any) -> None:
    cloud.answers_json("GET /v3/auth/projects", projects)
    with FaultProxy() as proxy:
        proxy.rule("answer", "POST", "/auth/tokens$", status=401)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        heard = said(f"{cloud.url}/v3")
    if projects == {"projects": {}}:
        assert heard.endswith("It is of: no project at all.")
    else:
        assert heard.startswith(f"Logging in to {cloud.url}/v3: Keystone (GET /v3/auth/projects) answered in a way")


def test_keystone_refuses(cloud: SmallCloud) -> None:
    no = {"error": {"code": 403, "message": "The project is disabled."}}
    cloud.answers_json("POST /v3/auth/tokens", no, 403)
    url = f"{cloud.url}/v3"
    assert said(url) == f"Logging in to {url}: Keystone refuses: The project is disabled. (HTTP 403)."


def test_keystone_fails(cloud: SmallCloud) -> None:
    cloud.answers["POST /v3/auth/tokens"] = 502, {"Content-Type": "text/html"}, b"<html><h1>502 Bad Gateway</h1></html>"
    assert said(f"{cloud.url}/v3") == (
        f"Logging in to {cloud.url}/v3: the cloud failed (502: 502 Bad Gateway). Run again; if it stays so, see OVH's"
        " status page."
    )


def test_a_name_contradicts_the_id_of_the_project(cloud: SmallCloud) -> None:
    url = f"{cloud.url}/v3"
    assert said(url, project_name="1234567890123456") == (
        "OS_PROJECT_NAME or OS_TENANT_NAME (1234567890123456) contradicts OS_PROJECT_ID or OS_TENANT_ID: the project p1"
        " is called koprogo. Nothing was done. Put the id of the project that you mean; the name can be left out."
    )
    connect(account(url, project_name="koprogo"), lambda _: None)
    connect(account(url, project_id="", project_name="other"), lambda _: None)  # which Keystone compares


def test_the_region_is_none_that_has_all_we_need(cloud: SmallCloud) -> None:
    assert said(f"{cloud.url}/v3", region="GRA") == (
        "OS_REGION_NAME: the cloud has no 'GRA' here. It has: GRA11, SBG5. At OVH the right one is OS_REGION_NAME in"
        " openrc.sh; one that is missing may have to be activated for the project first (console: Public Cloud > Quota"
        " and Regions)."
    )


@pytest.mark.parametrize(
    ("seconds", "what"), [(3750, "1 h 2 min behind"), (-7530, "2 h 5 min ahead of"), (90030, "25 h 0 min behind")]
)
def test_the_clock_is_wrong(cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch, seconds: int, what: str) -> None:
    with FaultProxy() as proxy:
        proxy.rule("shift", seconds=seconds)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        heard = said(f"{cloud.url}/v3")
    assert heard == (
        f"This machine's clock is {what} the cloud's. Set it by the network, then run again:"
        " sudo timedatectl set-ntp true"
    )


def test_a_clock_without_a_date_is_that_of_the_token(cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    late = token(issued_at=(datetime.now(UTC) - timedelta(seconds=100)).isoformat())
    cloud.answers_json("POST /v3/auth/tokens", late, 201, **{"X-Subject-Token": "not-to-be-shown"})
    connect(account(f"{cloud.url}/v3"), lambda _: None)  # its Date is right
    cloud.dates = False
    assert said(f"{cloud.url}/v3").startswith("This machine's clock is 1 min 4")


def test_the_password_is_wrong(cloud: SmallCloud) -> None:
    no = {
        "error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}
    }
    cloud.answers_json("POST /v3/auth/tokens", no, 401)
    assert said(f"{cloud.url}/v3") == (
        "OS_USERNAME or OS_PASSWORD is wrong: Keystone knows no user user-1 with this password. OVH shows a password"
        " once; a new one is made in the console, Public Cloud > Users & Roles."
    )


def test_the_project_is_wrong(cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.answers_json("GET /v3/auth/projects", {"projects": [{"id": "p7", "name": "koprogo"}]})
    with FaultProxy() as proxy:
        proxy.rule("answer", "POST", "/auth/tokens$", status=401)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        heard = said(f"{cloud.url}/v3")
    assert heard == (
        "OS_PROJECT_ID or OS_PROJECT_NAME is wrong: user-1 is not a member of 'p1'. It is of: p7 (koprogo)."
    )


def test_a_failure_in_between_is_no_wrong_password(cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy() as proxy:
        proxy.rule("answer", "POST", "/auth/tokens$", status=401)
        proxy.rule("answer", "POST", "/auth/tokens$", nth=2, times=9, status=503)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        heard = said(f"{cloud.url}/v3")
    assert heard.startswith(f"Logging in to {cloud.url}/v3: the cloud failed (503: ")
