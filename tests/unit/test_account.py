"""Where the OpenStack account comes from: .env, the environment, openrc.sh, clouds.yaml, or somebody who is asked."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from openstack.config import loader
from test_openrc import HORIZON, OVH
from test_settings import RIGHT, env_file, folder

import settings

__all__ = ["folder"]  # the fixture

ACCOUNT = {name: "" for name in RIGHT if name.startswith("OS_")}
"""Changes to a .env file that leave the account out."""

SAME_USER = {"OS_USERNAME": "user-AbCdEfGhIjKl"}
"""As in OVH and HORIZON, whose password that of .env then is."""

CLOUDS = """
clouds:
  koprogo:
    auth:
      auth_url: https://auth.cloud.ovh.net/v3/
      username: "user-of-the-cloud"
      password: "cloud-secret"
      project_id: "fedcba9876543210"
      project_name: "42"
      user_domain_name: "Default"
    region_name: "BHS5"
    interface: "public"
    identity_api_version: 3
  other:
    auth: {username: other}
"""
"""As Horizon gives it, with a password added and another cloud."""


@pytest.fixture(autouse=True)
def no_clouds_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clouds.yaml of this machine counts."""
    monkeypatch.setattr(loader, "CONFIG_SEARCH_PATH", [str(folder / "elsewhere")])


def said(folder: Path, *, openrc: Path | None = None, text: str = "", **changes: str) -> str:
    """What load_cloud() says is wrong."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_cloud(env_file(folder, text, **changes), openrc=openrc, ask_password=None)
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    """Write a file, and the folder for it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def run(code: str, folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    """What Python prints, on standard output and error."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def test_deploying_needs_no_account(folder: Path) -> None:
    found = settings.load(env_file(folder, "OS_AUTH_URL=nonsense\nOS_CLOUD=nowhere\n", **ACCOUNT))
    assert found.instance.name == "koprogo"
    assert not hasattr(found, "openstack")


def test_openrc_wins_over_the_file_and_the_environment_as_a_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_USERNAME", "theirs")
    monkeypatch.setenv("OS_CLOUD", "theirs")
    monkeypatch.setenv("OS_PROJECT_ID", "theirs")
    monkeypatch.setenv("OS_USER_DOMAIN_NAME", "Ours")  # a default of the file is no more than that
    changes = {"OS_PROJECT_ID": "mine", "OS_PROJECT_NAME": "mine", "OS_USERNAME": "CHANGE_ME"}
    file = env_file(folder, **changes, OS_REGION_NAME="SBG5")
    account = settings.load_cloud(file, openrc=write(folder / "openrc.sh", OVH)).openstack
    assert account.username == "user-AbCdEfGhIjKl"
    assert account.password.get_secret_value() == "p4ssw0rd-of-the-cloud"
    assert (account.project_id, account.project_name) == ("0123456789abcdef0123456789abcdef", "1234567890123456")
    assert (account.user_domain_name, account.project_domain_name) == ("Ours", "Default")
    assert (account.region, account.auth_url) == ("GRA11", "https://auth.cloud.ovh.net/v3")


def test_openrc_of_horizon_leaves_the_region_to_the_file(folder: Path) -> None:
    file = env_file(folder, OS_REGION_NAME="SBG5", **SAME_USER)
    account = settings.load_cloud(file, openrc=write(folder / "openrc.sh", HORIZON)).openstack
    assert (account.region, account.auth_url) == ("SBG5", "https://auth.cloud.ovh.net/v3")
    assert (account.user_domain_name, account.project_domain_name) == ("Default", "Default")


def test_a_project_by_name_in_openrc_is_not_mixed_with_an_id_from_elsewhere(folder: Path) -> None:
    text = re.sub(r".*OS_TENANT_ID=.*\n", "", OVH)
    account = settings.load_cloud(env_file(folder, **SAME_USER), openrc=write(folder / "openrc.sh", text)).openstack
    assert (account.project_id, account.project_name) == ("", "1234567890123456")


@pytest.mark.parametrize("kind", ["PROJECT", "TENANT"])
def test_a_name_from_elsewhere_than_the_id_of_the_project_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def found(**changes: str) -> tuple[str, str]:
        account = settings.load_cloud(env_file(folder, **changes)).openstack
        return account.project_id, account.project_name

    mine = {"OS_PROJECT_ID": "mine", "OS_TENANT_NAME": "my name"}
    assert found(**mine) == ("mine", "my name")
    monkeypatch.setenv(f"OS_{kind}_NAME", "their name")
    assert found(**mine) == ("mine", "")
    monkeypatch.setenv(f"OS_{kind}_ID", "theirs")
    assert found(**mine) == ("theirs", "their name")
    monkeypatch.delenv(f"OS_{kind}_NAME")
    assert found(**mine) == ("theirs", "")
    monkeypatch.delenv(f"OS_{kind}_ID")
    assert found(OS_PROJECT_ID="", OS_PROJECT_NAME="alone") == ("", "alone")


def test_a_password_that_is_written_in_openrc_wins(folder: Path) -> None:
    openrc = write(folder / "openrc.sh", OVH + "export OS_PASSWORD='in openrc'\n")
    found = settings.load_cloud(env_file(folder), openrc=openrc, ask_password=lambda _: pytest.fail("asked"))
    assert found.openstack.password.get_secret_value() == "in openrc"


@pytest.mark.parametrize("written", ["", "CHANGE_ME"])
def test_a_password_that_is_nowhere_is_asked_for(folder: Path, written: str) -> None:
    asked = []

    def ask(username: str) -> str:
        asked.append(username)
        return "typed"

    file = env_file(folder, OS_PASSWORD=written)
    assert settings.load_cloud(file, ask_password=ask).openstack.password.get_secret_value() == "typed"
    openrc = write(folder / "openrc.sh", OVH)
    assert settings.load_cloud(file, openrc=openrc, ask_password=ask).openstack.password.get_secret_value() == "typed"
    assert asked == ["user-abc", "user-AbCdEfGhIjKl"]


def test_the_password_of_another_user_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openrc, of_another = write(folder / "openrc.sh", OVH), "OS_PASSWORD: is that of user-abc, and "
    assert said(folder, openrc=openrc) == (
        f"{of_another}{openrc} logs in as user-AbCdEfGhIjKl; put OS_USERNAME and OS_PASSWORD of user-AbCdEfGhIjKl"
        " there, or run this in a terminal, and it asks"
    )
    asked = settings.load_cloud(env_file(folder), openrc=openrc, ask_password=lambda user: f"typed by {user}")
    assert asked.openstack.password.get_secret_value() == "typed by user-AbCdEfGhIjKl"
    write(folder / "clouds.yaml", "clouds: {koprogo: {auth: {username: other}}}\n")
    assert said(folder, OS_CLOUD="koprogo").startswith(f"{of_another}the cloud of OS_CLOUD logs in as other; ")

    def taken(**changes: str) -> str:
        file = env_file(folder, **changes)
        found = settings.load_cloud(file, openrc=openrc, ask_password=lambda _: pytest.fail("asked"))
        return found.openstack.password.get_secret_value()

    assert taken(**SAME_USER) == "p4ssw0rd-of-the-cloud"
    monkeypatch.setenv("OS_PASSWORD", "for this run")  # of nobody in particular, and so of whoever logs in
    assert taken() == "for this run"
    monkeypatch.setenv("OS_USERNAME", "theirs")
    assert said(folder, openrc=openrc).startswith("OS_PASSWORD: is that of theirs, and ")


def test_nobody_is_asked_before_everything_else_is_in_order(folder: Path) -> None:
    file = env_file(folder, OS_PASSWORD="", ACME_EMAIL="me")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_cloud(file, ask_password=lambda _: pytest.fail("asked"))
    assert str(caught.value) == "ACME_EMAIL (me): is not an e-mail address; put one like you@koprogo.com"


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("", "OS_PASSWORD: missing. Password of OS_USERNAME; OVH shows it once."),
        (" typed", "OS_PASSWORD: begins or ends with a space"),
    ],
)
def test_an_answer_is_checked_like_any_password(folder: Path, answer: str, wrong: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_cloud(env_file(folder, OS_PASSWORD=""), ask_password=lambda _: answer)
    assert str(caught.value) == wrong


def test_what_is_wrong_with_openrc_is_said_with_everything_else(folder: Path) -> None:
    openrc = write(folder / "openrc.sh", "export OS_USERNAME=$(id)\nexport OS_PASSWORD=`pass`\n")
    plain = "is not a plain value (a command's output is not fetched); write it out between single quotes"
    assert said(folder, openrc=openrc, text="FLAVOUR=d2-2\n", ACME_EMAIL="").splitlines() == [
        "FLAVOUR: unknown, did you mean FLAVOR?",
        f"{openrc}: line 1: OS_USERNAME {plain}",
        f"{openrc}: line 2: OS_PASSWORD {plain}",
        "ACME_EMAIL: missing. Contact of the account at Let's Encrypt.",
    ]


def test_an_openrc_that_is_too_old_or_for_another_way_to_log_in(folder: Path) -> None:
    openrc = write(folder / "openrc.sh", OVH.replace("/v3", "/v2.0").replace("VERSION=3", "VERSION=2"))
    assert said(folder, openrc=openrc, **SAME_USER).splitlines() == [
        "OS_AUTH_URL (https://auth.cloud.ovh.net/v2.0): has to end in /v3; for OVH it is https://auth.cloud.ovh.net/v3",
        "OS_IDENTITY_API_VERSION (2): is not right. 3; Keystone has no other.",
    ]
    write(openrc, "export OS_AUTH_TYPE=v3applicationcredential\nexport OS_AUTH_URL=https://auth.cloud.ovh.net/v3\n")
    assert said(folder, openrc=openrc) == (
        f"{openrc}: logs in by v3applicationcredential; only by a user's name and password is possible here"
    )
    write(openrc, "export OS_USER_DOMAIN_ID=d0\nexport OS_USERNAME=me\n")
    assert said(folder, openrc=openrc) == (
        f"{openrc}: has the id of a domain (OS_USER_DOMAIN_ID); put its name, OS_USER_DOMAIN_NAME"
    )


def test_a_cloud_of_clouds_yaml_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "clouds.yaml", CLOUDS)
    monkeypatch.setenv("OS_USERNAME", "theirs")
    account = settings.load_cloud(env_file(folder, OS_CLOUD="koprogo", OS_USERNAME="CHANGE_ME")).openstack
    assert (account.username, account.password.get_secret_value()) == ("user-of-the-cloud", "cloud-secret")
    assert (account.project_id, account.project_name) == ("fedcba9876543210", "42")
    assert (account.region, account.auth_url) == ("BHS5", "https://auth.cloud.ovh.net/v3")
    monkeypatch.setenv("OS_CLOUD", "other")
    account = settings.load_cloud(folder / ".env").openstack
    assert (account.username, account.project_id, account.region) == ("other", "0123456789abcdef", "GRA11")
    assert account.password.get_secret_value() == "p4ssw0rd-of-the-cloud"


def test_secrets_are_in_secure_yaml_as_openstacksdk_has_it(folder: Path) -> None:
    write(folder / "elsewhere" / "clouds.yaml", CLOUDS.replace('      password: "cloud-secret"\n', ""))
    write(folder / "secure.yaml", "clouds: {koprogo: {auth: {password: 'secure secret'}}}\n")
    account = settings.load_cloud(env_file(folder, **ACCOUNT, OS_CLOUD="koprogo")).openstack
    assert (account.username, account.password.get_secret_value()) == ("user-of-the-cloud", "secure secret")
    (folder / "secure.yaml").unlink()
    found = settings.load_cloud(folder / ".env", ask_password=lambda username: f"typed by {username}")
    assert found.openstack.password.get_secret_value() == "typed by user-of-the-cloud"


def test_the_folder_of_env_comes_before_openstacksdks(folder: Path) -> None:
    write(folder / "elsewhere" / "clouds.yaml", CLOUDS)
    write(folder / "clouds.yml", CLOUDS.replace("user-of-the-cloud", "user-beside-env"))
    assert settings.load_cloud(env_file(folder, OS_CLOUD="koprogo")).openstack.username == "user-beside-env"


def test_openstacksdks_folders(tmp_path: Path, folder: Path) -> None:
    code = "import settings; print(settings.load_cloud().openstack.username)"
    file = env_file(folder, **ACCOUNT, OS_CLOUD="koprogo")
    home, here = write(tmp_path / "home" / "x", "").parent, write(tmp_path / "here" / "x", "").parent
    environment = {"HOME": str(home), "ENV_FILE": str(file), "PYTHONPATH": str(settings.ROOT)}
    (home / ".config").mkdir()
    for where, user in ((home / ".config" / "openstack", "user-at-home"), (here, "user-here")):
        write(where / "clouds.yaml", CLOUDS.replace("user-of-the-cloud", user))
        assert run(code, here, environment) == (f"{user}\n", "")


REGIONS = 'regions: ["GRA11", "SBG5", {name: BHS5, values: {auth: {project_id: in-bhs}}}]'


@pytest.mark.parametrize(
    ("region", "chosen", "found"),
    [
        (REGIONS, "SBG5", ("SBG5", "fedcba9876543210")),
        (REGIONS, "BHS5", ("BHS5", "in-bhs")),
        ("region_name: GRA11,SBG5", "SBG5", ("SBG5", "fedcba9876543210")),
        ("regions: [SBG5]", "", ("SBG5", "fedcba9876543210")),
        ("region_name: SBG5", "SBG5", ("SBG5", "fedcba9876543210")),
        ("{}", "SBG5", ("SBG5", "fedcba9876543210")),
        ("{}", "", ("GRA11", "fedcba9876543210")),
    ],
)
def test_the_region_of_a_cloud(folder: Path, region: str, chosen: str, found: tuple[str, str]) -> None:
    write(folder / "clouds.yaml", CLOUDS.replace('region_name: "BHS5"', "message: ''" if region == "{}" else region))
    account = settings.load_cloud(env_file(folder, OS_CLOUD="koprogo", OS_REGION_NAME=chosen)).openstack
    assert (account.region, account.project_id) == found


def test_a_region_that_the_cloud_does_not_have(folder: Path) -> None:
    file = write(folder / "clouds.yaml", CLOUDS.replace('region_name: "BHS5"', "regions: [GRA11, SBG5]"))
    assert said(folder, OS_CLOUD="koprogo") == (
        f"OS_REGION_NAME: missing. {file}: the cloud koprogo has several: GRA11, SBG5"
    )
    assert said(folder, OS_CLOUD="koprogo", OS_REGION_NAME="BHS5") == (
        f"OS_REGION_NAME (BHS5): {file}: the cloud koprogo has GRA11, SBG5; put one of these"
    )


NOT_WRITTEN = "the cloud koprogo is not written as clouds.yaml has it"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("clouds:\n  a: {auth: {}}\n  b:\n", "OS_CLOUD (koprogo): {file} has no such cloud; it has a, b"),
        ("clouds: {}\n", "OS_CLOUD (koprogo): {file} has no such cloud; it has none"),
        ("", "{file}: has no clouds; it begins with the line clouds:"),
        ("- a\n", "{file}: has no clouds; it begins with the line clouds:"),
        ("clouds:\n  koprogo:\n   password: *cloud-secret\n", "{file}: is no YAML (line 3)"),
        ("clouds:\n\tkoprogo: cloud-secret\n", "{file}: is no YAML (line 2)"),
        ("clouds: \x00\n", "{file}: is no YAML"),
        ("clouds: !!bool cloud-secret\n", "{file}: is no YAML"),
        ("clouds: !!timestamp cloud-secret\n", "{file}: is no YAML"),
        ("clouds: !!int ''\n", "{file}: is no YAML"),
        (f"clouds: !!float {':'.join('9' * 400)}\n", "{file}: is no YAML"),
        (f"clouds: {'[' * 20_000}\n", "{file}: is no YAML"),
        ("clouds: {koprogo: &a {auth: {}, more: *a}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: {auth: {}, regions: [1, 2]}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: {auth: {}, regions: [{name: 1}]}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: {auth: {}, regions: [{}]}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: {auth: {}, region_name: 1}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: }\n", f"{{file}}: {NOT_WRITTEN}: auth: with auth_url, username …"),
        ("clouds: {koprogo: {auth: }}\n", f"{{file}}: {NOT_WRITTEN}: auth: with auth_url, username …"),
        ("clouds: {koprogo: {auth: {}, regions: 5}}\n", f"{{file}}: {NOT_WRITTEN}"),
        ("clouds: {koprogo: {auth: {auth_url: 'https://{x}/v3'}}}\n", f"{{file}}: {NOT_WRITTEN}"),
        (
            "clouds: {koprogo: {auth: {password: 0123}}}\n",
            "{file}: the cloud koprogo: password is no text; put its value between quotes",
        ),
        (
            "clouds: {koprogo: {auth_type: v3applicationcredential, auth: {application_credential_id: x}}}\n",
            "OS_CLOUD (koprogo): logs in by v3applicationcredential;"
            " only by a user's name and password is possible here",
        ),
        (
            "clouds: {koprogo: {auth: {username: me, user_domain_id: 0d}}}\n",
            "OS_CLOUD (koprogo): has the id of a domain (OS_USER_DOMAIN_ID); put its name, OS_USER_DOMAIN_NAME",
        ),
        (
            "clouds: {koprogo: {profile: vexxhost, auth: {username: me}}}\n",
            "{file}: the cloud koprogo has a profile, which is not looked up; write its auth_url and region_name out",
        ),
    ],
)
def test_a_clouds_yaml_that_does_not_do(folder: Path, text: str, wrong: str) -> None:
    file = write(folder / "clouds.yaml", text)
    assert said(folder, OS_CLOUD="koprogo") == wrong.replace("{file}", str(file))


def test_a_clouds_json_that_is_nested_without_end(folder: Path) -> None:
    file = write(folder / "clouds.json", "[" * 200_000)
    assert said(folder, OS_CLOUD="koprogo") == f"{file}: is no JSON"


def test_a_clouds_yaml_that_is_not_there_or_cannot_be_read(folder: Path) -> None:
    assert said(folder, OS_CLOUD="koprogo", ACME_EMAIL="").splitlines() == [
        f"OS_CLOUD (koprogo): there is no clouds.yaml in {folder}, {folder}/elsewhere",
        "ACME_EMAIL: missing. Contact of the account at Let's Encrypt.",
    ]
    (folder / "clouds.yaml").mkdir()
    assert said(folder, OS_CLOUD="koprogo") == f"{folder}/clouds.yaml: cannot be read (Is a directory)"
    (folder / "clouds.yaml").rmdir()
    write(folder / "clouds.yaml", CLOUDS)
    write(folder / "secure.yaml", "clouds: [\n")
    assert said(folder, OS_CLOUD="koprogo") == f"{folder}/secure.yaml: is no YAML (line 2)"


@pytest.mark.parametrize(
    "profile", ["profile: ovh", "cloud: ovh", "profile: ovh, cloud: ovh", "profile: https://ovhcloud.com"]
)
def test_nothing_connects_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    tried = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("no network")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    auth = "{username: me, password: x, project_id: y, user_domain_id: default}"
    write(folder / "clouds.yaml", f"clouds: {{koprogo: {{{profile}, auth: {auth}}}}}\n")
    account = settings.load_cloud(env_file(folder, **ACCOUNT, OS_CLOUD="koprogo")).openstack
    assert (account.auth_url, account.region, account.user_domain_name) == (
        "https://auth.cloud.ovh.net/v3",
        "GRA11",
        "Default",
    )
    assert tried == []


@pytest.mark.parametrize("call", ["settings.load()", "settings.load_cloud(openrc=pathlib.Path('openrc.sh'))"])
def test_openstacksdk_is_imported_for_clouds_yaml_alone(folder: Path, call: str) -> None:
    write(folder / "openrc.sh", OVH)
    code = f"import pathlib, sys, settings; {call}; print({{'openstack', 'keystoneauth1', 'yaml'}} & {{*sys.modules}})"
    environment = {"ENV_FILE": str(env_file(folder, **SAME_USER)), "PYTHONPATH": str(settings.ROOT)}
    assert run(code, folder, environment) == ("set()\n", "")
