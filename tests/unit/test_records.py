"""inventory.json and known_hosts beside .env: when they count as right, and how they are written."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_host_keys import ECDSA, ED25519, OTHER
from test_plan import FOUND
from test_settings import folder, load

from cloud import records
from cloud.trouble import CloudError
from settings import Settings

__all__ = ["folder"]  # the fixture

BOTH = frozenset({"inventory.json", "known_hosts"})


@pytest.fixture
def settings(folder: Path) -> Settings:
    return load(folder)


def test_what_was_written_is_in_place_and_nothing_else_is(settings: Settings) -> None:
    assert records.in_place(settings, FOUND) == frozenset()
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
            }
        ]
    }
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.2 {ECDSA}\n51.75.1.2 {ED25519}\n2001:41d0::1 {ECDSA}\n2001:41d0::1 {ED25519}\n"
    )
    assert records.in_place(settings, FOUND) == BOTH
    assert records.in_place(settings, None) == frozenset()
    # another server at the same address: neither the entry nor the keys are its own
    assert records.in_place(settings, replace(FOUND, id="6d2f")) == frozenset()
    # an address that came later has no key
    settings.known_hosts_file.write_text(f"51.75.1.2 {ECDSA}\n")
    assert records.in_place(settings, FOUND) == {"inventory.json"}


def test_other_servers_and_the_groups_that_an_operator_chose_stay(settings: Settings) -> None:
    other = records.entry(settings, replace(FOUND, name="other", ipv4="51.75.1.3", ipv6=""))
    records.write(settings, other, (OTHER,))
    mine = records.entry(settings, FOUND).model_copy(update={"groups": ("web",)})
    records.write(settings, mine, (ECDSA,))
    assert records.in_place(settings, FOUND) == BOTH
    records.write(settings, records.entry(settings, replace(FOUND, id="6d2f")), (ED25519,))
    found = {
        one["name"]: (one["id"], one["groups"]) for one in json.loads(settings.inventory_file.read_text())["servers"]
    }
    assert found == {"other": ("5c1e", ["web", "database"]), "koprogo": ("6d2f", ["web"])}
    assert settings.known_hosts_file.read_text() == (
        f"51.75.1.3 {OTHER}\n51.75.1.2 {ED25519}\n2001:41d0::1 {ED25519}\n"
    )


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
    # without an inventory, nobody can tell whose they are
    settings.inventory_file.unlink()
    assert records.former_keys(settings, here) == (ECDSA, ED25519)


def test_a_broken_inventory_is_written_anew(settings: Settings) -> None:
    settings.inventory_file.write_text('{"servers": 1}')
    assert records.in_place(settings, FOUND) == frozenset()
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert records.in_place(settings, FOUND) == BOTH


def test_a_server_that_has_no_address_yet_is_in_no_file(settings: Settings) -> None:
    records.write(settings, records.entry(settings, FOUND), (ECDSA,))
    assert records.in_place(settings, replace(FOUND, ipv4="")) == frozenset()


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
