"""`python -m cloud.dns` as those use it who want only this part: a process, its output and its exit status."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from dns_account import put, table
from ovh_stand_in import CONSUMER, KEY, SECRET, Api

ROOT = Path(__file__).parents[2]
WISH = ["koprogo.test", "api.koprogo.test", "--ipv4=192.0.2.1", "--ipv6=2001:db8::1", "--issuer=letsencrypt.org"]
ADDED = [
    "+ A    api.koprogo.test  192.0.2.1",
    "+ AAAA api.koprogo.test  2001:db8::1",
    '+ CAA  api.koprogo.test  0 issue "letsencrypt.org"',
    "~ A    koprogo.test      10.0.0.9 → 192.0.2.1",
    "+ AAAA koprogo.test      2001:db8::1",
    '+ CAA  koprogo.test      0 issue "letsencrypt.org"',
]


def start(api: Api, *arguments: str, prefix: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
    """Start the program with the keys of the account, and no .env; `prefix` is a command that starts another."""
    keys = {"OVH_ENDPOINT": api.url, "OVH_APPLICATION_KEY": KEY, "OVH_APPLICATION_SECRET": SECRET}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OVH_", "DNS_", "CAA_"))}
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "cloud.dns", *arguments],
        cwd=ROOT,
        env={**clean, "ENV_FILE": "/no/such/folder/.env", **keys, "OVH_CONSUMER_KEY": CONSUMER, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(api: Api, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run it to its end: exit status, output, errors; none of which has a secret or a traceback."""
    process = start(api, *arguments, **variables)
    out, errors = process.communicate(timeout=60)
    assert not [secret for secret in (KEY, SECRET, CONSUMER) if secret in out + errors]
    assert "Traceback" not in errors
    return process.returncode, out, errors


def test_plan_apply_plan(api: Api) -> None:
    put(api, "", "10.0.0.9")
    before = [row for row in table(api) if row != ("", "A", "10.0.0.9")]
    code, out, _ = run(api, "plan", *WISH)
    assert (code, out.splitlines()[:6]) == (2, ADDED)
    assert out.splitlines()[6:] == [
        "DNS: 5 to create, 1 to change, 0 to delete in koprogo.test; no other record is touched.",
    ]
    code, out, _ = run(api, "apply", "--yes", *WISH)
    assert (code, out.splitlines()[-1]) == (0, "Written and served.")
    code, out, _ = run(api, "plan", *WISH)
    assert (code, out.splitlines()) == (
        0,
        [
            "! Nobody can be asked from here whether koprogo.test is served as it is written.",
            "The DNS records are right, and served.",
        ],
    )
    assert [row for row in table(api) if row not in before] == [
        ("", "A", "192.0.2.1"),
        ("", "AAAA", "2001:db8::1"),
        ("", "CAA", '0 issue "letsencrypt.org"'),
        ("api", "A", "192.0.2.1"),
        ("api", "AAAA", "2001:db8::1"),
        ("api", "CAA", '0 issue "letsencrypt.org"'),
    ]


def test_a_plan_for_programs(api: Api) -> None:
    put(api, "", "10.0.0.9", ttl=60)
    code, out, _ = run(api, "plan", "--json", "koprogo.test", "--ipv4=192.0.2.1")
    found = json.loads(out)
    assert (code, found["refresh"], found["problems"]) == (2, ["koprogo.test"], [])
    (change,) = found["changes"]
    assert isinstance(change.pop("id"), int)
    assert change == {
        "action": "change",
        "zone": "koprogo.test",
        "name": "koprogo.test",
        "type": "A",
        "old": {"target": "10.0.0.9", "ttl": 60},
        "new": {"target": "192.0.2.1", "ttl": 300},
    }


def test_several_addresses_stay_unless_they_may_go(api: Api) -> None:
    put(api, "api", "10.0.0.8")
    put(api, "api", "10.0.0.9")
    before = table(api)
    code, out, errors = run(api, "apply", "--yes", "api.koprogo.test", "--ipv4=192.0.2.1")
    assert (code, out) == (1, "Nothing can be written.\n")
    assert errors == (
        "api.koprogo.test leads elsewhere, by A: 10.0.0.8, 10.0.0.9."
        " If they may go: python -m cloud.dns apply --replace\n"
    )
    assert table(api) == before
    code, out, _ = run(api, "apply", "--yes", "--replace", "api.koprogo.test", "--ipv4=192.0.2.1", "--ttl=60")
    assert (code, out.splitlines()[:2]) == (
        0,
        ["~ A    api.koprogo.test  10.0.0.8 → 192.0.2.1, ttl 300 → ttl 60", "- A    api.koprogo.test  10.0.0.9"],
    )
    assert [row for row in table(api) if row[0] == "api"] == [("api", "A", "192.0.2.1")]


@pytest.mark.parametrize("closed", [False, True])
def test_nobody_to_ask_is_a_no(api: Api, closed: bool) -> None:
    before = table(api)
    process = start(api, "apply", *WISH, prefix=["sh", "-c", 'exec "$@" <&-', "sh"] if closed else [])
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        1,
        "Nothing was done: nobody answered. Run it in a terminal, or with --yes.\n",
    )
    assert table(api) == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["plan", "koprogo.test"], 1, "Names need an address: --ipv4 192.0.2.1, and --ipv6 where there is one."),
        (["plan", "--ipv4=192.0.2.1"], 1, "An address needs names: www.example.org --ipv4 192.0.2.1"),
        (
            ["plan", "https://koprogo.test", "--ipv4=192.0.2.1"],
            1,
            "https://koprogo.test: is an address; put the bare name",
        ),
        (["plan", "koprogo.test", "--ipv4=2001:db8::1"], 1, "--ipv4 (2001:db8::1): is no IPv4 address"),
        (["plan", "koprogo.test", "--ipv4=192.0.2.1", "--ttl=5"], 1, "--ttl (5): is not between 60 and 2147483647 s"),
        (
            ["plan", "koprogo.com", "--ipv4=192.0.2.1"],
            1,
            "koprogo.com is in no DNS zone of this OVH account",
        ),
        (["plan", "ü..test", "--ipv4=192.0.2.1"], 1, "ü..test: is not a domain name; put one like koprogo.com"),
        (["plan"], 1, "/no/such/folder/.env: there is no such file"),
    ],
)
def test_mistakes_are_explained(api: Api, arguments: list[str], code: int, says: str) -> None:
    found, _, errors = run(api, *arguments)
    assert (found, says in errors) == (code, True), errors


def test_every_mistake_is_named_at_once_and_before_anything_connects(api: Api) -> None:
    wrong = ["*.koprogo.test", "", "--ipv4=192.0.2", "--ipv6=fe80::1%eth0", "--ttl=4294967296", "--issuer=ca"]
    code, out, errors = run(api, "plan", *wrong, OVH_CONSUMER_KEY="")
    assert (code, out, errors.splitlines()) == (
        1,
        "",
        [
            "*.koprogo.test: is not a domain name; put one like koprogo.com",
            "'': is not a domain name; put one like koprogo.com",
            "--ipv4 (192.0.2): is no IPv4 address; put one like 192.0.2.1",
            "--ipv6 (fe80::1%eth0): is an address on one machine's network only; put one like 2001:db8::1",
            "--issuer (ca): is not a domain name; put one like koprogo.com",
            "--ttl (4294967296): is not between 60 and 2147483647 seconds",
            "OVH_CONSUMER_KEY: missing. Make it with: python provision.py credentials."
            " Or deploy with CONFIGURE_DNS_AUTO=false",
            "Nothing was done: mend the lines above, in .env or the environment.",
        ],
    )
    assert api.calls == []


def test_missing_keys_are_all_named(api: Api) -> None:
    absent = {"OVH_APPLICATION_KEY": "", "OVH_CONSUMER_KEY": "", "CONFIGURE_DNS_AUTO": "false"}
    code, _, errors = run(api, "plan", *WISH, **absent)
    assert code == 1
    assert re.findall(r"^OVH_\w+", errors, re.MULTILINE) == ["OVH_APPLICATION_KEY", "OVH_CONSUMER_KEY"]


def test_check_needs_no_keys_and_says_who_cannot_be_asked(api: Api) -> None:
    code, _, errors = run(api, "check", *WISH, OVH_APPLICATION_KEY="", DNS_RESOLVERS="127.0.0.1")
    assert code == 1
    assert errors == "Nobody tells who serves api.koprogo.test. Check the name, the network and DNS_RESOLVERS.\n"
    assert api.calls == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "/.env: is a folder and not a file; put the file there, or its path into ENV_FILE"),
        (b"DNS_TTL=300\nINSTANCE_NAME=k\xe9\n", "/.env: is not UTF-8 text (byte 28); save it as UTF-8"),
        (b"DNS_TTL 300\n", "/.env: line 1 cannot be read; write NAME=value, and quote a value with spaces"),
    ],
)
def test_an_env_file_that_is_none_is_explained(api: Api, tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / ".env"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    code, out, errors = run(api, "plan", *WISH, ENV_FILE=str(file))
    assert (code, out, errors.splitlines()[-1]) == (
        1,
        "",
        "Nothing was done: mend the lines above, in .env or the environment.",
    )
    assert says in errors
    assert api.calls == []


@pytest.mark.parametrize("name", ["OVH_APPLICATION_KEY", "OVH_APPLICATION_SECRET", "OVH_CONSUMER_KEY"])
@pytest.mark.parametrize("value", ["k€y", "two\nlines"])
def test_a_key_that_no_request_can_carry_is_named_and_not_shown(api: Api, name: str, value: str) -> None:
    code, _, errors = run(api, "plan", *WISH, **{name: value})
    assert (code, errors) == (
        1,
        f"{name}: holds a letter that no key of OVH has; copy it once more\n"
        "Nothing was done: mend the lines above, in .env or the environment.\n",
    )
    assert api.calls == []
