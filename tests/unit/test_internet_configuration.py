"""The internet machine's configuration as text."""

import json
from pathlib import Path

from sandbox.internet import configuration, names
from sandbox.internet.configuration import Secrets
from sandbox.resolver import upstream

SECRETS = Secrets("key", "secret", "consumer", "password", "customer's password", "client's secret", "token")


def test_knot_forwards_what_is_not_its_own() -> None:
    text = configuration.knot("10.0.0.53", ["ghcr.io"])
    assert '    address: "10.0.0.53@53"\n' in text
    assert "    global-module: mod-dnsproxy/forward\n" in text
    assert text.endswith("zone:\n  - domain: ghcr.io\n")


def test_without_a_resolver_knot_answers_only_for_its_own() -> None:
    assert "dnsproxy" not in configuration.knot(None, ["ghcr.io"])


def test_static_zones_lead_to_the_machine() -> None:
    zones = names.static_zones("10.77.4.3", "fd77:77:77:4::3", ("10.77.4.4", "fd77:77:77:4::4"))
    assert set(zones) == {"sandbox.test", "s3.sbg.io.cloud.ovh.net", *names.OVERRIDDEN}
    assert zones["s3.sbg.io.cloud.ovh.net"].endswith("@ IN A 10.77.4.4\n@ IN AAAA fd77:77:77:4::4\n")
    assert "@ IN A 10.77.4.3\n@ IN AAAA fd77:77:77:4::3\n" in zones["ghcr.io"]
    assert "git IN A 10.77.4.3\ngit IN AAAA fd77:77:77:4::3\n" in zones["sandbox.test"]


def test_the_account_starts_with_foreign_records_and_an_empty_apex() -> None:
    account = json.loads(configuration.ovh_account(SECRETS))
    assert account["applications"] == {"key": "secret"}
    assert account["consumer_keys"]["consumer"]["state"] == "validated"
    assert account["customer"] == {"login": "customer", "password": "customer's password"}
    assert account["service_accounts"]["EU.sandbox"]["secret"] == "client's secret"
    assert account["fault_token"] == "token"
    kinds = {r["fieldType"] for r in account["zones"]["koprogo.test"] if r["subDomain"] == ""}
    assert kinds == {"NS", "MX", "SPF", "TXT"}


def test_files_with_secrets_are_closed() -> None:
    files = configuration.files(SECRETS, "10.77.4.3", "fd77:77:77:4::3", None, ("10.77.4.4", "fd77:77:77:4::4"))
    content, mode = files["/etc/sandbox-internet/ovh-account.json"]
    assert "secret" in content
    assert mode == 0o600
    assert "- domain: koprogo.test\n" in files["/etc/knot/knot.conf"][0]
    assert "/var/lib/knot/koprogo.test.zone" not in files  # written by the API, and only after a refresh


def test_upstream_is_the_first_resolver_that_a_machine_can_reach(tmp_path: Path) -> None:
    first, second = tmp_path / "resolv.conf", tmp_path / "behind-the-stub"
    first.write_text("# stub\nsearch x\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n")
    assert upstream((first, second)) is None
    second.write_text("nameserver 10.1.2.3\nnameserver 10.1.2.4\n")
    assert upstream((first, second)) == "10.1.2.3"
