"""`provision.py credentials` makes a key with the least rights, or says how one is made."""

import re
import time
from pathlib import Path

from credentials_operator import APPLICATION, KEYS, LEAST, RULES, Operator, end, lines, until_the_page, validate
from ovh_stand_in import CONSUMER, Api


def test_without_an_application_key_it_gives_the_page_that_makes_one(tmp_path: Path) -> None:
    unset = dict.fromkeys(("OVH_APPLICATION_KEY", "OVH_APPLICATION_SECRET", "OVH_CONSUMER_KEY"), "CHANGE_ME")
    status, out, errors = Operator(tmp_path, **unset).run("--zone=koprogo.test")
    assert (status, errors) == (0, "")
    assert lines(out)[0] == "koprogo.test, api.koprogo.test: zone koprogo.test, as the command line has it."
    assert lines(out)[2:15] == LEAST
    assert (
        "https://eu.api.ovh.com/createToken/?GET=/domain/zone&GET=/domain/zone/koprogo.test"
        "&GET=/domain/zone/koprogo.test/status&GET=/domain/zone/koprogo.test/record"
        "&POST=/domain/zone/koprogo.test/record&GET=/domain/zone/koprogo.test/record/*"
        "&PUT=/domain/zone/koprogo.test/record/*&DELETE=/domain/zone/koprogo.test/record/*"
        "&GET=/domain/zone/koprogo.test/redirection&GET=/domain/zone/koprogo.test/redirection/*"
        "&GET=/domain/zone/koprogo.test/dynHost/record&GET=/domain/zone/koprogo.test/dynHost/record/*"
        "&POST=/domain/zone/koprogo.test/refresh"
    ) in lines(out)
    assert f"It shows three keys, once. Put them in {tmp_path}/.env:" in lines(out)


def test_a_zone_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    status, _, errors = Operator(tmp_path, DNS_RESOLVERS="127.0.0.9").run()
    assert status == 1
    assert errors == ("Nobody tells which zone holds koprogo.test. Say it yourself, as in: --zone koprogo.test\n")


def test_a_key_is_made_with_the_least_rights_and_written(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **APPLICATION, DNS_TTL="120")
    operator.file.chmod(0o644)
    process = operator.start("--zone=koprogo.test")
    said, page = until_the_page(process)
    before = operator.file.read_text()
    time.sleep(1)
    assert process.poll() is None
    assert operator.file.read_text() == before
    validate(page)
    status, out, errors = end(process, said)
    assert (status, errors) == (0, "")
    assert lines(out)[-4:] == [
        f"{operator.file}: others could read it; now only you can.",
        f"{operator.file}:",
        "+ OVH_CONSUMER_KEY (hidden)",
        "Written. To see that it does: python provision.py credentials --check",
    ]
    (made,) = (name for name in api.account.consumer_keys if name not in (CONSUMER, "pending", "readonly"))
    assert api.account.consumer_keys[made].rules == RULES
    assert operator.file.read_text() == f"{before}OVH_CONSUMER_KEY={made}\n"
    assert operator.file.stat().st_mode & 0o777 == 0o600
    assert made not in out
    status, out, errors = operator.run("--check")
    assert (status, errors) == (0, "")
    assert lines(out)[0].endswith("zone koprogo.test, as the OVH account has it.")
    assert lines(out)[-1] == "All 13 rights are there, without end."
    status, out, _ = operator.run()
    assert status == 0
    assert lines(out)[-1].startswith("OVH_CONSUMER_KEY has all of them.")
    assert len(api.account.consumer_keys) == 4


def test_ctrl_c_while_it_waits_leaves_everything_as_it_was(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **APPLICATION, OVH_CONSUMER_KEY="readonly")
    before = operator.file.read_text()
    process = operator.start("--new", "--zone=koprogo.test")
    until_the_page(process)
    time.sleep(0.5)
    process.send_signal(2)
    status, _, errors = end(process)
    assert status == 130
    assert errors.strip().startswith("Interrupted.")
    assert operator.file.read_text() == before


def test_a_key_of_the_environment_would_win_so_none_is_asked_for(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **APPLICATION)
    status, _, errors = operator.run("--zone=koprogo.test", OVH_CONSUMER_KEY="pending")
    assert status == 1
    assert errors.startswith(f"OVH_CONSUMER_KEY is set in the environment, which wins over {operator.file}.")
    assert len(api.account.consumer_keys) == 3


def test_a_key_that_is_over_is_said_so_and_another_is_made(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **APPLICATION, OVH_CONSUMER_KEY="pending")
    status, _, errors = operator.run("--zone=koprogo.test", "--check")
    assert status == 1
    assert "the consumer key has expired or was never validated in a browser." in errors
    process = operator.start("--zone=koprogo.test")
    said, page = until_the_page(process)
    assert "the consumer key has expired or was never validated in a browser." in said
    validate(page)
    status, out, _ = end(process, said)
    assert status == 0
    assert "~ OVH_CONSUMER_KEY (hidden) → (hidden)" in lines(out)
    assert operator.run("--check")[0] == 0


def test_an_odd_answer_in_the_place_of_a_key_is_named_with_its_query_id(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **APPLICATION)
    api.faults.add("odd", path="/auth/credential", times=None)
    before = operator.file.read_text()
    status, _, errors = operator.run("--zone=koprogo.test")
    assert status == 1
    assert re.fullmatch(
        rf"OVH: POST /auth/credential: {re.escape(api.url)} answered in a way that OVH's API does not\. Check"
        r" OVH_ENDPOINT, or run again in a minute \(OVH-Query-ID: EU\.ext-3\.\w{8}\.\w{16}\)\.\n",
        errors,
    )
    assert operator.file.read_text() == before


def test_a_zone_is_taken_in_ovhs_spelling_and_none_is_a_mistake(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS)
    status, out, _ = operator.run("--zone=KOPROGO.test.", "--zone=koprogo.test", "--check")
    assert (status, lines(out)[0]) == (
        0,
        "koprogo.test, api.koprogo.test: zone koprogo.test, as the command line has it.",
    )
    calls = len(api.calls)
    assert operator.run("--zone=koprogo..test", "--zone=a b") == (
        1,
        "",
        "--zone (koprogo..test): is not a domain name; put one like koprogo.com\n"
        "--zone (a b): is not a domain name; put one like koprogo.com\n",
    )
    assert len(api.calls) == calls
