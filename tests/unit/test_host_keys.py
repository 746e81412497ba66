"""SSH host keys on a console, in known_hosts, and as fingerprints."""

import pytest

from cloud.machine.host_keys import change, fingerprint, on_console, pin, pinned, unpin

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q2Vn0nmvrS0GBqU4sZbGQbM1hHxZ2RnqVxQb1v3cT"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJx0mQwTn0oVfPqg0Jb5hGk3oCqkKwzN1hJm3iYb0aX"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBDO9iL6p3QwASAyc/h8EQJXhVtl"
    "lTlLtyp/3hAsHUYSg+LGoGEtPwqoAwBdiJ7+mOyTRolJisaZca5Qq3RnWFQ="
)
CONSOLE = f"""\
[    0.000000] Linux version 5.15.0-100-generic\r
         Starting OpenBSD Secure Shell server...\r
ci-info: ++++++++++Authorized keys from /home/ubuntu/.ssh/authorized_keys for user ubuntu++++++++++\r
<14>Nov 22 12:00:00 cloud-init: #############################################################\r
<14>Nov 22 12:00:00 cloud-init: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r
<14>Nov 22 12:00:00 cloud-init: 256 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc root@koprogo (ED25519)\r
<14>Nov 22 12:00:00 cloud-init: -----END SSH HOST KEY FINGERPRINTS-----\r
-----BEGIN SSH HOST KEY KEYS-----\r
{ECDSA} root@koprogo\r
{ED25519} root@koprogo\r
-----END SSH HOST KEY KEYS-----\r
[   19.5] cloud-init[812]: Cloud-init v. 24.1 finished\r
"""


def test_the_keys_that_cloud_init_prints() -> None:
    assert on_console(CONSOLE) == (ECDSA, ED25519)


def test_lines_with_a_prefix_as_on_some_consoles() -> None:
    prefixed = CONSOLE.replace(ED25519, f"[   18.2] cloud-init[801]: {ED25519}")
    assert on_console(prefixed) == (ECDSA, ED25519)


def test_a_rebuilt_servers_last_block_counts() -> None:
    again = f"-----BEGIN SSH HOST KEY KEYS-----\n{OTHER} root@koprogo\n-----END SSH HOST KEY KEYS-----\n"
    assert on_console(CONSOLE + again) == (OTHER,)


def test_a_block_that_is_still_being_printed_does_not_count() -> None:
    cut = CONSOLE[: CONSOLE.index("-----END SSH HOST KEY KEYS-----")]
    assert on_console(cut) == ()
    assert on_console(CONSOLE + cut) == (ECDSA, ED25519)
    assert on_console("") == ()


def test_what_is_no_key_is_not_taken_for_one() -> None:
    block = (
        "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAnot!base64\nssh-ed25519 aGVsbG8=\nssh-ed25519\n"
        "ssh-dss AAAAB3NzaC1kc3MAAACB\n-----END SSH HOST KEY KEYS-----\n"
    )
    assert on_console(block) == ()


def test_a_fingerprint_is_what_ssh_keygen_says_of_the_same_key() -> None:
    assert fingerprint(f"{ED25519} me@home") == "ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc"
    assert fingerprint(ECDSA) == "ecdsa-sha2-nistp256 SHA256:LkGGAoQ3LJxvjE0H+h3usFjPS5uHHfHZWtd8MOkgz9M"


@pytest.mark.parametrize(
    "other",
    [
        "",
        "ssh-rsa",
        "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----",
        "ssh-rsa AAA",
        "x \udcff",
        "\udcff AAAA",
    ],
)
def test_what_is_no_ssh_key_has_no_fingerprint(other: str) -> None:
    assert fingerprint(other) == "not an SSH key"


@pytest.mark.parametrize(
    "broken", [ED25519[:-1], ED25519[:-4], ECDSA[:-44], "ssh-ed25519 AAAA\udcff", "ssh-ed25519", ""]
)
def test_a_line_with_a_broken_key_does_not_count_and_others_do(broken: str) -> None:
    assert pinned(f"51.75.1.2 {broken}\n51.75.1.2 {ED25519}\n", "51.75.1.2") == ((ED25519, ""),)
    console = f"-----BEGIN SSH HOST KEY KEYS-----\n{broken}\n{ED25519}\n-----END SSH HOST KEY KEYS-----\n"
    assert on_console(console) == (ED25519,)


def test_words_of_a_line_may_be_apart_by_tabs() -> None:
    text = f"51.75.1.2\t{OTHER}\n"
    assert pinned(text, "51.75.1.2") == ((OTHER, ""),)
    assert unpin(text, ("51.75.1.2",)) == ""


def test_pins_are_for_their_addresses_and_replace_only_these() -> None:
    before = f"# mine\n192.0.2.1,2001:db8::1 {OTHER}\n51.75.1.2 {OTHER}\n"
    after = pin(before, ("51.75.1.2", "2001:41d0::1"), (ECDSA, ED25519))
    assert after == (
        f"# mine\n192.0.2.1,2001:db8::1 {OTHER}\n"
        f"51.75.1.2 {ECDSA}\n51.75.1.2 {ED25519}\n2001:41d0::1 {ECDSA}\n2001:41d0::1 {ED25519}\n"
    )
    assert pinned(after, "51.75.1.2") == ((ECDSA, ""), (ED25519, ""))
    assert pinned(after, "2001:db8::1") == ((OTHER, ""),)
    assert pinned(after, "51.75.1.20") == ()
    assert pin(after, ("51.75.1.2", "2001:41d0::1"), (ECDSA, ED25519)) == after


def test_a_mark_is_a_comment_of_the_line() -> None:
    text = pin("", ("51.75.1.2",), (ECDSA, ED25519), "koprogo/5c1e")
    assert text == f"51.75.1.2 {ECDSA} koprogo/5c1e\n51.75.1.2 {ED25519} koprogo/5c1e\n"
    assert pinned(text, "51.75.1.2") == ((ECDSA, "koprogo/5c1e"), (ED25519, "koprogo/5c1e"))


def test_lines_go_by_their_address_or_by_the_beginning_of_their_mark() -> None:
    text = (
        "# see also koprogo/ 51.75.1.2\n\n"
        f"51.75.1.2 {OTHER}\n192.0.2.1,51.75.1.2 {OTHER}\n51.75.1.20 {OTHER}\n"
        f"192.0.2.2 {OTHER} koprogo/5c1e\n192.0.2.3 {OTHER} koprogo-2/5c1e\n"
    )
    assert unpin(text, ("51.75.1.2",), "koprogo/") == (
        f"# see also koprogo/ 51.75.1.2\n\n51.75.1.20 {OTHER}\n192.0.2.3 {OTHER} koprogo-2/5c1e\n"
    )
    assert unpin(text, ()) == text


def test_a_change_is_told_by_the_type_that_both_have() -> None:
    new = "ssh-ed25519 SHA256:RyaD1e4+fZRye17+LIiQOuscDVnHubRwhhVLAIq10TI"
    assert (
        change((ECDSA, ED25519), (OTHER,)) == f"ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc → {new}"
    )
    assert (
        change((ECDSA,), (OTHER,)) == f"ecdsa-sha2-nistp256 SHA256:LkGGAoQ3LJxvjE0H+h3usFjPS5uHHfHZWtd8MOkgz9M → {new}"
    )
