"""inventory.json and known_hosts beside .env: when they count as right, and how they are written."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_host_keys import CONSOLE, ECDSA, ED25519, OTHER
from test_plan import FOUND
from test_settings import folder, load

from cloud.machine import records
from cloud.trouble import CloudError
from settings import Settings

__all__ = ["folder"]  # the fixture

AGREE = {"inventory.json": "", "known_hosts": ""}
REBUILT = f"-----BEGIN SSH HOST KEY KEYS-----\n{OTHER} root@koprogo\n-----END SSH HOST KEY KEYS-----\n"


@pytest.fixture
def settings(folder: Path) -> Settings:
    return load(folder)


def test_what_was_written_is_in_place_and_nothing_else_is(settings: Settings) -> None:
    assert records.compare(settings, FOUND, CONSOLE) == {}
    records.write(settings, records.entry(settings, FOUND), (ECDSA, ED25519))
    assert json.loads(settings.inventory_file.read_text()) == {
        "servers": [
            {
                "name": "koprogo",
                "ipv4": "51.75.1.2",
                "ipv6": "2001:41d0::1",
                "user": "ubuntu",
                "groups": ["web", "database"],
                "id": "5c1e",
                "region": "GRA11",
                "project": "p1",
            }
        ]
    }
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.2 {ECDSA} koprogo/5c1e\n51.75.1.2 {ED25519} koprogo/5c1e\n"
        f"2001:41d0::1 {ECDSA} koprogo/5c1e\n2001:41d0::1 {ED25519} koprogo/5c1e\n"
    )
    assert records.compare(settings, FOUND, "") == AGREE
    assert records.compare(settings, None, "") == {}


def test_other_servers_and_the_groups_that_an_operator_chose_stay(settings: Settings) -> None:
    other = records.entry(settings, replace(FOUND, name="other", ipv4="51.75.1.3", ipv6=""))
    records.write(settings, other, (OTHER,))
    mine = records.entry(settings, FOUND).model_copy(update={"groups": ("web",)})
    records.write(settings, mine, (ECDSA,))
    assert records.compare(settings, FOUND, "") == AGREE
    records.write(settings, records.entry(settings, replace(FOUND, id="6d2f")), (ED25519,))
    found = {
        one["name"]: (one["id"], one["groups"]) for one in json.loads(settings.inventory_file.read_text())["servers"]
    }
    assert found == {"other": ("5c1e", ["web", "database"]), "koprogo": ("6d2f", ["web"])}
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.3 {OTHER} other/5c1e\n51.75.1.2 {ED25519} koprogo/6d2f\n2001:41d0::1 {ED25519} koprogo/6d2f\n"
    )


def test_addresses_that_the_server_had_before_lose_their_keys(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    # one that was lost from the inventory, and one of somebody else's
    with settings.known_hosts_file.open("a") as file:
        file.write(f"51.75.1.9 {OTHER} koprogo/4a0b\n51.75.1.8 {OTHER} koprogo-2/4a0c\n51.75.1.7 {OTHER}\n")
    records.write(settings, records.entry(settings, replace(FOUND, ipv4="51.75.1.20", ipv6="")), (ED25519,))
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.8 {OTHER} koprogo-2/4a0c\n51.75.1.7 {OTHER}\n51.75.1.20 {ED25519} koprogo/5c1e\n"
    )


def test_a_rebuilt_server_is_explained_by_its_console(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA, ED25519))
    assert records.compare(settings, FOUND, CONSOLE) == AGREE
    assert records.compare(settings, FOUND, CONSOLE + REBUILT) == {
        "inventory.json": "",
        "known_hosts": (
            "the server was rebuilt: its console shows new keys,"
            " ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc"
            " → ssh-ed25519 SHA256:RyaD1e4+fZRye17+LIiQOuscDVnHubRwhhVLAIq10TI"
        ),
    }
    # the block has scrolled away, or is still being printed
    assert records.compare(settings, FOUND, "[ 1234.5] audit: something else") == AGREE
    assert records.compare(settings, FOUND, REBUILT[:60]) == AGREE


def test_one_pinned_key_of_those_on_the_console_is_enough(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ED25519,))
    assert records.compare(settings, FOUND, CONSOLE) == AGREE


def test_another_server_at_the_address_has_neither_the_entry_nor_the_keys(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ED25519,))
    assert records.compare(settings, replace(FOUND, id="6d2f", ipv6=""), "") == {
        "inventory.json": "id: 5c1e → 6d2f; ipv6: 2001:41d0::1 → none",
        "known_hosts": "the keys there are those of another server that had 51.75.1.2",
    }
    assert records.compare(settings, replace(FOUND, ipv4="51.75.1.20", ipv6=""), "") == {
        "inventory.json": "ipv4: 51.75.1.2 → 51.75.1.20; ipv6: 2001:41d0::1 → none"
    }


def test_an_address_that_came_later_has_no_key(settings: Settings) -> None:
    records.write(settings, records.entry(settings, replace(FOUND, ipv6="")), (ED25519,))
    assert records.compare(settings, FOUND, CONSOLE) == {
        "inventory.json": "ipv6: none → 2001:41d0::1",
        "known_hosts": "no key for 2001:41d0::1",
    }


def test_former_keys_are_those_of_the_server_and_not_of_an_earlier_one_at_its_address(settings: Settings) -> None:
    here = records.entry(settings, FOUND)
    assert records.former_keys(settings, here) == ()
    records.write(settings, here, (ECDSA, ED25519))
    assert records.former_keys(settings, here) == (ECDSA, ED25519)
    # a run that was interrupted before it noted the new server at the old address
    new = records.entry(settings, replace(FOUND, id="6d2f"))
    assert records.former_keys(settings, new) == ()
    renamed = records.entry(settings, replace(FOUND, name="other", id="6d2f"))
    assert records.former_keys(settings, renamed) == ()
    elsewhere = records.entry(settings, replace(FOUND, id="6d2f", ipv4="51.75.1.20"))
    assert records.former_keys(settings, elsewhere) == ()
    # without the inventory, the lines themselves say whose they are
    settings.inventory_file.unlink()
    assert records.former_keys(settings, here) == (ECDSA, ED25519)
    assert records.former_keys(settings, new) == ()
    assert records.former_keys(settings, renamed) == ()


def test_a_line_that_does_not_say_whose_it_is_counts_as_long_as_the_inventory_does(settings: Settings) -> None:
    here = records.entry(settings, FOUND)
    records.write(settings, here, (ED25519,))
    settings.known_hosts_file.write_text(f"51.75.1.2 {ECDSA}\n51.75.1.2 {OTHER} by hand\n")
    with settings.known_hosts_file.open("a") as file:
        file.write(f"51.75.1.2 {ED25519} koprogo/4a0b\n51.75.1.3 {ED25519}\n")
    assert records.former_keys(settings, here) == (ECDSA, OTHER)
    assert records.former_keys(settings, records.entry(settings, replace(FOUND, id="6d2f"))) == ()
    settings.inventory_file.unlink()
    assert records.former_keys(settings, here) == ()


def test_what_was_noted_of_the_server(settings: Settings) -> None:
    assert (records.known_id(settings), records.addresses(settings), records.files_with(settings)) == ("", (), ())
    records.write(settings, records.entry(settings, replace(FOUND, name="other", id="6d2f")), (OTHER,))
    assert (records.known_id(settings), records.addresses(settings), records.files_with(settings)) == ("", (), ())
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert records.known_id(settings) == "5c1e"
    assert records.addresses(settings) == ("51.75.1.2", "2001:41d0::1")
    assert records.files_with(settings) == ("known_hosts", "inventory.json")
    settings.inventory_file.unlink()
    assert records.files_with(settings) == ("known_hosts",)


def test_a_forgotten_server_leaves_the_others(settings: Settings) -> None:
    records.write(settings, records.entry(settings, replace(FOUND, name="other", ipv4="51.75.1.3", ipv6="")), (OTHER,))
    other = settings.known_hosts_file.read_text(), settings.inventory_file.read_text()
    records.write(settings, records.entry(settings, FOUND), (ECDSA, ED25519))
    for _ in range(2):
        records.forget(settings)
        assert (settings.known_hosts_file.read_text(), settings.inventory_file.read_text()) == other


def test_files_with_nothing_left_in_them_go(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA, ED25519))
    for _ in range(2):
        records.forget(settings)
        assert not settings.known_hosts_file.exists()
        assert not settings.inventory_file.exists()


def test_keys_are_forgotten_even_without_the_inventory_and_a_broken_one_is_left(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    settings.inventory_file.write_text("{")
    records.forget(settings)
    assert not settings.known_hosts_file.exists()
    assert settings.inventory_file.read_text() == "{"


def test_a_broken_inventory_is_written_anew(settings: Settings) -> None:
    settings.inventory_file.write_text('{"servers": 1}')
    assert records.compare(settings, FOUND, "") == {"inventory.json": "it cannot be read, and is written anew"}
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert records.compare(settings, FOUND, "") == AGREE


def test_a_server_that_has_no_address_yet_is_in_no_file(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert records.compare(settings, replace(FOUND, ipv4=""), "") == {}


def test_lines_of_others_stay_byte_for_byte(settings: Settings) -> None:
    foreign = f"51.75.1.3 {OTHER} Andr\u00e9".encode("latin-1") + b"\n\xff\n51.75.1.4 x\r\n# a\x0cb \xe2\x80\xa8\n"
    settings.known_hosts_file.write_bytes(foreign)
    records.write(settings, records.entry(settings, replace(FOUND, ipv6="")), (ECDSA,))
    assert settings.known_hosts_file.read_bytes() == foreign + f"51.75.1.2 {ECDSA} koprogo/5c1e\n".encode()
    records.forget(settings)
    assert settings.known_hosts_file.read_bytes() == foreign


def test_a_key_that_was_cut_off_does_not_count(settings: Settings) -> None:
    here = records.entry(settings, FOUND)
    records.write(settings, here, (ED25519,))
    settings.known_hosts_file.write_text(settings.known_hosts_file.read_text().replace(ED25519, ED25519[:-8]))
    assert records.former_keys(settings, here) == ()
    assert records.compare(settings, FOUND, CONSOLE) == {"inventory.json": ""}
    records.write(settings, here, (ED25519,))
    assert records.compare(settings, FOUND, CONSOLE) == AGREE


def test_a_file_that_cannot_be_read_is_a_line(settings: Settings) -> None:
    settings.known_hosts_file.mkdir()
    with pytest.raises(CloudError, match=r"known_hosts: cannot be read \(Is a directory\)"):
        records.write(settings, records.entry(settings, FOUND), (ECDSA,))


def test_files_that_cannot_be_replaced_are_a_line_and_leave_nothing_behind(settings: Settings) -> None:
    settings.inventory_file.mkdir()
    with pytest.raises(CloudError) as caught:
        records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert str(caught.value) == (
        f"{settings.folder}: known_hosts and inventory.json cannot be written (Is a directory)."
        " Mend that, then run again."
    )
    assert left_over(settings) == []


def test_a_full_disk_is_a_line_and_leaves_what_there_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings.known_hosts_file.write_text(f"51.75.1.3 {OTHER}\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CloudError) as caught:
        records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert str(caught.value) == (
        f"{settings.folder}: known_hosts and inventory.json cannot be written (No space left on device)."
        " Mend that, then run again."
    )
    assert left_over(settings) == []
    assert settings.known_hosts_file.read_text() == f"51.75.1.3 {OTHER}\n"


def left_over(settings: Settings) -> list[str]:
    """Names of temporary files beside .env."""
    return [file.name for file in settings.folder.glob(".*") if file.name != ".env"]


@pytest.mark.parametrize(("region", "project"), [("GRA9", "p1"), ("GRA11", "p2")])
def test_a_server_that_was_noted_elsewhere_is_not_looked_for_here(
    settings: Settings, region: str, project: str
) -> None:
    records.check_place(settings, region, project)  # nothing is noted yet
    records.write(settings, records.entry(settings, FOUND), (ED25519,))
    records.check_place(settings, "GRA11", "p1")
    with pytest.raises(CloudError) as caught:
        records.check_place(settings, region, project)
    assert str(caught.value) == (
        f"{settings.inventory_file} says that koprogo is in region GRA11, project p1; this is region {region}, project"
        f" {project}. Nothing was done. Mend OS_REGION_NAME and the project in .env, the environment or openrc.sh."
        " For one more server, take another folder with a .env of its own. If the one noted is gone for good, remove"
        " inventory.json."
    )


def test_a_file_of_before_regions_were_noted_is_written_anew(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ED25519,))
    noted = json.loads(settings.inventory_file.read_text())
    del noted["servers"][0]["region"], noted["servers"][0]["project"]
    settings.inventory_file.write_text(json.dumps(noted))
    records.check_place(settings, "GRA9", "p1")
    assert records.compare(settings, FOUND, "") == AGREE | {
        "inventory.json": "region: none → GRA11; project: none → p1"
    }


def test_keys_of_before_a_rebuild_no_longer_count_and_the_plan_says_so(settings: Settings) -> None:
    here = records.entry(settings, FOUND)
    records.write(settings, here, (ECDSA, ED25519))
    settings.known_hosts_file.write_text(f"51.75.1.9 {OTHER}\n{settings.known_hosts_file.read_text()}")
    for _ in range(2):  # a second run that is cut off there
        records.doubt_keys(settings, FOUND)
        assert records.former_keys(settings, here) == ()
        assert records.doubted_keys(settings, here) == (ECDSA, ED25519)
    assert records.compare(settings, FOUND, CONSOLE) == AGREE | {
        "known_hosts": "it was to be rebuilt, and its new keys are not here yet"
    }
    assert records.doubted_keys(settings, records.entry(settings, replace(FOUND, id="6d2f"))) == ()
    records.write(settings, here, (OTHER,))
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.9 {OTHER}\n51.75.1.2 {OTHER} koprogo/5c1e\n2001:41d0::1 {OTHER} koprogo/5c1e\n"
    )
    assert records.compare(settings, FOUND, "") == AGREE
