"""openrc.sh read without a shell, compared with what a shell makes of the same file."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configuration import openrc

OVH = """#!/bin/bash

# To use an Openstack cloud you need to authenticate against keystone, which
# returns a **Token** and **Service Catalog**.
#
export OS_AUTH_URL=https://auth.cloud.ovh.net/v3
export OS_IDENTITY_API_VERSION=3

export OS_USER_DOMAIN_NAME=${OS_USER_DOMAIN_NAME:-"Default"}
export OS_PROJECT_DOMAIN_NAME=${OS_PROJECT_DOMAIN_NAME:-"Default"}


# With the addition of Keystone we have standardized on the term **tenant**
export OS_TENANT_ID=0123456789abcdef0123456789abcdef
export OS_TENANT_NAME="1234567890123456"

export OS_USERNAME="user-AbCdEfGhIjKl"
# With Keystone you pass the keystone password.
echo "Please enter your OpenStack Password: "
read -sr OS_PASSWORD_INPUT
export OS_PASSWORD=$OS_PASSWORD_INPUT

# Don't leave a blank variable, unset it if it was empty
export OS_REGION_NAME="GRA11"
if [ -z "$OS_REGION_NAME" ]; then unset OS_REGION_NAME; fi
"""
"""As OVH's console gives it, with other ids."""

HORIZON = """#!/usr/bin/env bash
export OS_AUTH_URL=https://auth.cloud.ovh.net/v3/
export OS_PROJECT_ID=0123456789abcdef0123456789abcdef
export OS_PROJECT_NAME="1234567890123456"
export OS_USER_DOMAIN_NAME="Default"
if [ -z "$OS_USER_DOMAIN_NAME" ]; then unset OS_USER_DOMAIN_NAME; fi
export OS_PROJECT_DOMAIN_ID="default"
if [ -z "$OS_PROJECT_DOMAIN_ID" ]; then unset OS_PROJECT_DOMAIN_ID; fi
# unset v2.0 items in case set
unset OS_TENANT_ID
unset OS_TENANT_NAME
export OS_USERNAME="user-AbCdEfGhIjKl"
echo "Please enter your OpenStack Password for project $OS_PROJECT_NAME as user $OS_USERNAME: "
read -sr OS_PASSWORD_INPUT
export OS_PASSWORD=$OS_PASSWORD_INPUT
export OS_REGION_NAME=""
# Don't leave a blank variable, unset it if it was empty
if [ -z "$OS_REGION_NAME" ]; then unset OS_REGION_NAME; fi
export OS_INTERFACE=public
export OS_ENDPOINT_TYPE=publicURL
export OS_IDENTITY_API_VERSION=3
"""
"""As Horizon gives it, for a cloud of one region."""


def in_a_shell(text: str, environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The WANTED variables after bash has run the text, with nothing typed."""
    (folder / "rc").write_text(text)
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", "set -a; . ./rc >/dev/null; env -0"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    return {name: found[name] for name in openrc.WANTED if found.get(name)}


def test_the_file_of_ovhs_console() -> None:
    assert openrc.parse(OVH, {}) == {
        "OS_AUTH_URL": "https://auth.cloud.ovh.net/v3",
        "OS_USERNAME": "user-AbCdEfGhIjKl",
        "OS_TENANT_ID": "0123456789abcdef0123456789abcdef",
        "OS_TENANT_NAME": "1234567890123456",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "GRA11",
        "OS_IDENTITY_API_VERSION": "3",
    }


def test_the_file_of_horizon_says_no_region_where_there_is_one_only() -> None:
    assert openrc.parse(HORIZON, {"OS_REGION_NAME": "theirs", "OS_TENANT_ID": "theirs"}) == {
        "OS_AUTH_URL": "https://auth.cloud.ovh.net/v3/",
        "OS_USERNAME": "user-AbCdEfGhIjKl",
        "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
        "OS_PROJECT_NAME": "1234567890123456",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_IDENTITY_API_VERSION": "3",
    }


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("export OS_PASSWORD=plain", "plain"),
        ("OS_PASSWORD=plain", "plain"),
        ("  export\tOS_PASSWORD='a b' OS_REGION_NAME=GRA # mine", "a b"),
        ("OS_REGION_NAME=GRA;export OS_PASSWORD=x;", "x"),
        ("export OS_PASSWORD=ab#cd", "ab#cd"),
        ("export OS_PASSWORD=abcd#", "abcd#"),
        ("export OS_PASSWORD='pa$$word'", "pa$$word"),
        ('export OS_PASSWORD="pa\\$\\"\\\\w\\x"', 'pa$"\\w\\x'),
        ('export OS_PASSWORD="it\'s"', "it's"),
        ("export OS_PASSWORD='it'\\''s'", "it's"),
        ("export OS_PASSWORD=a\\ b\\$c", "a b$c"),
        ("export OS_PASSWORD=a=b==", "a=b=="),
        ('export OS_PASSWORD="100$"', "100$"),
        ("export OS_PASSWORD=100$", "100$"),
        ("export OS_PASSWORD='été'", "été"),
        ("SECRET='a b'\nexport OS_PASSWORD=\"$SECRET\"", "a b"),
        ("SECRET=x\nexport OS_PASSWORD=${SECRET}y'$SECRET'", "xy$SECRET"),
        ("export OS_PASSWORD=$FROM_OUTSIDE", "outside"),
        ("export OS_PASSWORD=${NOT_SET:-'a}b'}c", "a}bc"),
        ('export OS_PASSWORD="${NOT_SET:-a b}"', "a b"),
        ("export OS_PASSWORD=${NOT_SET-$FROM_OUTSIDE}", "outside"),
        ("export OS_PASSWORD=${FROM_OUTSIDE:-x}", "outside"),
        ("export OS_PASSWORD=x\nexport OS_PASSWORD=y", "y"),
        ("export OS_PASSWORD=x\n#export OS_PASSWORD=y\n echo OS_PASSWORD=z", "x"),
        ('export OS_PASSWORD=x\nif [ -z "$OS_PASSWORD" ]\nthen\n  unset OS_PASSWORD\nfi', "x"),
        ("export OS_PASSWORD=x\necho 'export OS_PASSWORD=y'", "x"),
        ("echo it\\'s; export OS_PASSWORD=x", "x"),
    ],
)
def test_a_value_is_what_a_shell_makes_of_it(tmp_path: Path, line: str, password: str) -> None:
    outside = {"FROM_OUTSIDE": "outside"}
    assert openrc.parse(line, outside)["OS_PASSWORD"] == password
    assert in_a_shell(line, outside, tmp_path)["OS_PASSWORD"] == password


@pytest.mark.parametrize("text", [OVH, HORIZON])
def test_whole_files_say_what_a_shell_makes_of_them(tmp_path: Path, text: str) -> None:
    outside = {"OS_USER_DOMAIN_NAME": "Ours"}
    assert openrc.parse(text, outside) == in_a_shell(text, outside, tmp_path)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1))
def test_any_password_can_be_quoted(password: str) -> None:
    double = '"' + "".join(f"\\{char}" if char in '"$`\\' else char for char in password) + '"'
    for quoted in (shlex.quote(password), double):
        assert openrc.parse(f"export OS_PASSWORD={quoted}  # it", {}) == {"OS_PASSWORD": password}


@given(st.lists(st.sampled_from([*"ab =;#&|()'\"\\$`{}:-\n", "export ", "OS_PASSWORD=", "read ", "unset ", "${a:-"])))
def test_no_text_breaks_the_reader(pieces: list[str]) -> None:
    try:
        openrc.parse("".join(pieces), {})
    except ValueError as error:
        assert "OS_PASSWORD is not a plain value" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "read -sr OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT",
        'read -p "Password: " -s OS_PASSWORD\nexport OS_PASSWORD',
        'if [ -z "$OS_PASSWORD" ]; then\n  read -s X\n  export OS_PASSWORD="$X"\nfi',
        "export OS_PASSWORD=",
        'export OS_PASSWORD=""',
        "unset OS_PASSWORD",
        "OS_PASSWORD",
    ],
)
def test_a_password_that_is_asked_for_is_not_there(text: str) -> None:
    assert openrc.parse(f"{text}\nexport OS_USERNAME=me", {"X": "theirs", "OS_PASSWORD": "theirs"}) == {
        "OS_USERNAME": "me"
    }


@pytest.mark.parametrize(
    "question", [OVH, "read -s OS_PASSWORD", 'if [ -z "$OS_PASSWORD" ]; then read OS_PASSWORD; fi']
)
def test_a_password_that_somebody_wrote_above_the_question_counts(question: str) -> None:
    assert openrc.parse(f"export OS_PASSWORD=mine\n{question}", {})["OS_PASSWORD"] == "mine"


@pytest.mark.parametrize(
    "value", ["$(pass ovh)", '"$(pass ovh)"', "`pass ovh`", "'open", '"open', "x$(id)", "$$", "${X:?}", "$'a'", "x\\"]
)
def test_what_only_a_shell_knows_is_said_and_not_run(value: str) -> None:
    with pytest.raises(ValueError, match="OS_PASSWORD") as caught:
        openrc.parse(f"\nexport TF_VAR_IP=$(curl -s ifconfig.me)\nexport OS_PASSWORD={value}\n", {})
    assert str(caught.value) == (
        "line 3: OS_PASSWORD is not a plain value (a command's output is not fetched);"
        " write it out between single quotes"
    )


def test_nothing_is_run(tmp_path: Path) -> None:
    text = f"touch {tmp_path}/a\nX=`touch {tmp_path}/b`\nOS_USERNAME=me; (touch {tmp_path}/c)\n"
    assert openrc.parse(text, {}) == {"OS_USERNAME": "me"}
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_windows(tmp_path: Path) -> None:
    file = tmp_path / "openrc.sh"
    file.write_bytes(("\ufeff" + OVH.removeprefix("#!/bin/bash\n\n").replace("\n", "\r\n")).encode())
    assert openrc.read(file, {}) == openrc.parse(OVH, {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; download openrc.sh again"),
        (b" \n", "is empty; download openrc.sh again"),
        (
            b"\n<!DOCTYPE html><html>",
            "is a web page and no openrc.sh; log in to the console, and download it again",
        ),
        (
            b"# mine\nclouds:\n  ovh:\n",
            "is a clouds.yaml and no openrc.sh; put it beside .env, and OS_CLOUD=name into .env",
        ),
        (b"KOPROGO_DOMAIN=koprogo.com\n", "has no line like export OS_USERNAME=\u2026, so it is no openrc.sh"),
        ("export OS_USERNAME=me".encode("utf-16"), "is not text, so it is no openrc.sh"),
        (
            b"OS_USERNAME=$(id)",
            "line 1: OS_USERNAME is not a plain value (a command's output is not fetched);"
            " write it out between single quotes",
        ),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "openrc.sh"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="openrc") as caught:
        openrc.read(file, {})
    assert str(caught.value) == f"{file}: {said}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none.sh", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (Path("~nouser/openrc.sh"), "begins with a home folder that is not found; put the whole path"),
    ):
        with pytest.raises(ValueError, match=path.name) as caught:
            openrc.read(path, {})
        assert str(caught.value) == f"{path}: {said}"
