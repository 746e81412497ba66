"""settings.load(): what it makes of a .env file, and what it says about a wrong one."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

import settings
from operations import wanted

RIGHT = {
    "OS_USERNAME": "user-abc",
    "OS_PASSWORD": "p4ssw0rd-of-the-cloud",
    "OS_PROJECT_ID": "0123456789abcdef",
    "OVH_APPLICATION_KEY": "applicationkey",
    "OVH_APPLICATION_SECRET": "applicationsecret",
    "OVH_CONSUMER_KEY": "consumerkey",
    "SSH_PUBLIC_KEY": "id_ed25519.pub",
    "KOPROGO_DOMAIN": "koprogo.com",
    "ACME_EMAIL": "me@koprogo.com",
}


def key_pair(folder: Path, name: str = "id_ed25519") -> None:
    """Write a fresh key pair."""
    key = Ed25519PrivateKey.generate()
    (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / name).chmod(0o600)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (folder / f"{name}.pub").write_bytes(public + b" me@home\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key pair, in an environment that sets nothing of ours."""
    for name in (*settings.variables(), "ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    key_pair(tmp_path)
    return tmp_path


def env_file(folder: Path, text: str = "", **changes: str) -> Path:
    """Write the right lines with some changes ("" leaves a line out), followed by some text."""
    lines = [f'{name}="{value}"\n' for name, value in (RIGHT | changes).items() if value]
    (folder / ".env").write_text("".join(lines) + text)
    return folder / ".env"


def load(folder: Path, text: str = "", **changes: str) -> settings.CloudSettings:
    """Load such a file, all of it."""
    return settings.load_cloud(env_file(folder, text, **changes))


def mistakes(folder: Path, text: str = "", **changes: str) -> list[str]:
    """The lines that load_cloud() says about it."""
    with pytest.raises(settings.SettingsError) as caught:
        load(folder, text, **changes)
    return str(caught.value).splitlines()


def test_a_status_page_is_one_more_public_name(folder: Path) -> None:
    site = load(folder, STATUS_PAGE_DOMAIN="status.koprogo.com", STATUS_PAGE_LANGUAGE="fr").site
    assert (site.status_page_domain, site.status_page_language) == ("status.koprogo.com", "fr")
    assert site.names == ("koprogo.com", "api.koprogo.com", "status.koprogo.com")
    assert site.public_urls == (*site.health_urls, "https://status.koprogo.com/")


def test_the_least_that_has_to_be_said_and_what_follows_from_it(folder: Path) -> None:
    found = load(folder)
    assert found.openstack.auth_url == "https://auth.cloud.ovh.net/v3"
    assert found.openstack.region == "GRA11"
    assert (found.instance.name, found.instance.flavor, found.instance.image) == ("koprogo", "d2-2", "Ubuntu 22.04")
    assert (found.instance.user, found.instance.network) == ("ubuntu", "Ext-Net")
    assert found.instance.ssh_private_key == folder / "id_ed25519"
    assert (found.site.frontend_domain, found.site.api_domain) == ("koprogo.com", "api.koprogo.com")
    assert found.site.health_urls == ("https://api.koprogo.com/api/v1/health", "https://koprogo.com/")
    assert found.site.public_urls == found.site.health_urls
    assert found.site.names == ("koprogo.com", "api.koprogo.com")
    assert found.source.image_tag == "main-{sha7}"
    assert found.ovh.configure_dns is True
    assert found.inventory_file == folder / "inventory.json"
    assert found.known_hosts_file == folder / "known_hosts"


def test_the_lines_of_the_servers_env(folder: Path) -> None:
    found = load(folder, S3_SECRET_KEY="s3-secret", RUST_LOG="info,koprogo=debug", APP_STRIPE_KEY="sk_live")
    assert found.server_env == {
        "GITHUB_REPOSITORY": "gilmry/koprogo",
        "ACME_EMAIL": "me@koprogo.com",
        "API_DOMAIN": "api.koprogo.com",
        "FRONTEND_DOMAIN": "koprogo.com",
        "PUBLIC_API_URL": "https://api.koprogo.com/api/v1",
        "TRAEFIK_LOG_LEVEL": "INFO",
        "POSTGRES_DB": "koprogo_db",
        "POSTGRES_USER": "koprogo",
        "SERVER_HOST": "0.0.0.0",  # noqa: S104 - of the backend, in its container
        "SERVER_PORT": "8080",
        "RUST_LOG": "info,koprogo=debug",
        "RUST_BACKTRACE": "0",
        "ACTIX_WORKERS": "1",
        "CORS_ALLOWED_ORIGINS": "https://koprogo.com,https://api.koprogo.com",
        "DB_POOL_MAX_CONNECTIONS": "8",
        "DB_POOL_MIN_CONNECTIONS": "2",
        "ENABLE_RATE_LIMITING": "false",
        "STORAGE_PROVIDER": "s3",
        "UPLOAD_DIR": "/app/uploads",
        "S3_BUCKET": "koprogo-documents",
        "S3_REGION": "eu-west-0",
        "S3_ENDPOINT": "http://minio:9000",
        "S3_FORCE_PATH_STYLE": "true",
        "S3_KEY_PREFIX": "documents",
        "ENABLE_MINIO_BOOTSTRAP": "true",
        "SMTP_ENABLED": "false",
        "SMTP_HOST": "smtp.gmail.com",
        "SMTP_PORT": "587",
        "SMTP_USERNAME": "",
        "SMTP_FROM_EMAIL": "noreply@koprogo.com",
        "SMTP_FROM_NAME": "KoproGo",
    }
    secrets = {name: value.get_secret_value() for name, value in found.server_secrets.items()}
    assert secrets == {"S3_ACCESS_KEY": "koprogo", "S3_SECRET_KEY": "s3-secret", "STRIPE_KEY": "sk_live"}
    assert found.secrets_to_make == {"POSTGRES_PASSWORD": 32, "JWT_SECRET": 64}


def test_the_secret_of_the_servers_own_storage_is_made_there(folder: Path) -> None:
    assert load(folder).secrets_to_make == {"POSTGRES_PASSWORD": 32, "JWT_SECRET": 64, "S3_SECRET_KEY": 40}


def test_no_secret_shows_in_the_representation(folder: Path) -> None:
    shown = repr(load(folder, SMTP_PASSWORD="smtp-secret", APP_TOKEN="app-secret"))
    for secret in ("p4ssw0rd", "applicationkey", "applicationsecret", "consumerkey", "smtp-secret", "app-secret"):
        assert secret not in shown
    assert "user-abc" in shown


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAVOR", "d2-4")
    monkeypatch.setenv("IMAGE", "")  # empty is as if it were not there
    found = load(folder, FLAVOR="d2-8")
    assert (found.instance.flavor, found.instance.image) == ("d2-4", "Ubuntu 22.04")


def test_lines_of_the_servers_env_come_from_the_file_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    monkeypatch.setenv("RUST_LOG", "debug")
    monkeypatch.setenv("APP_COLOUR", "blue")
    monkeypatch.setenv("APP_STRAY", "not in the file")
    found = load(folder, RUST_LOG="info", APP_COLOUR="red")
    assert (found.application.rust_backtrace, found.application.rust_log) == ("0", "info")
    assert {name: value.get_secret_value() for name, value in found.extra.items()} == {"COLOUR": "red"}


def test_env_file_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    (folder / ".env").rename(folder / "other.env")
    monkeypatch.setenv("ENV_FILE", str(folder / "other.env"))
    assert settings.load().folder == folder


def test_the_old_names_of_the_project_and_a_file_from_windows(folder: Path) -> None:
    text = "\ufeff# from Windows\r\nexport OS_TENANT_ID = abc\r\nCONFIGURE_DNS_AUTO=no\r\nIMAGE='Debian 12'  # ours\r\n"
    lines = "".join(f"{name}={value}\r\n" for name, value in RIGHT.items() if name != "OS_PROJECT_ID")
    (folder / ".env").write_bytes((text + lines).encode())
    found = settings.load_cloud(folder / ".env")
    assert (found.openstack.project_id, found.ovh.configure_dns) == ("abc", False)
    assert (found.instance.image, found.instance.user) == ("Debian 12", "debian")


def test_every_mistake_is_said_at_once(folder: Path) -> None:
    text = "FLAVOUR=d2-2\nPOSTGRES_PASSWORD=mine\nAPP_RUST_LOG=x\nTHEIR_OWN=fine\nfoo bar\nBRANCH=main\nBRANCH=dev\n"
    found = mistakes(
        folder, text, OS_USERNAME="", OS_PASSWORD="CHANGE_ME", ACME_EMAIL="me", ACTIX_WORKERS="many", SWAP_MB="-1"
    )
    assert found == [
        f"{folder}/.env: line 15 cannot be read; write NAME=value, and quote a value with spaces",
        f"{folder}/.env: line 17: BRANCH stands on line 16 too; keep one",
        "FLAVOUR: unknown, did you mean FLAVOR?",
        "POSTGRES_PASSWORD: is made on the server, once; take it out",
        "OS_USERNAME: missing. The OpenStack user, user-…, from openrc.sh.",
        "OS_PASSWORD: is still what .env.example says; put your own",
        "ACME_EMAIL (me): is not an e-mail address; put one like you@koprogo.com",
        "SWAP_MB (-1): is below 0, the least",
        "ACTIX_WORKERS (many): is not a whole number",
        "APP_RUST_LOG: RUST_LOG is a line that the server's .env has anyway; take it out",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OS_AUTH_URL", "auth.cloud.ovh.net", "is not a web address; it begins with https:// and a host name"),
        ("OS_AUTH_URL", f"https://{'a' * 64}.test/v3", "is not a web address; it begins with https:// and a host name"),
        ("OS_AUTH_URL", "https://auth..ovh.net/v3", "is not a web address; it begins with https:// and a host name"),
        ("OS_AUTH_URL", "https://auth.cloud.ovh.net", "has to end in /v3"),
        ("OS_IDENTITY_API_VERSION", "2", "is not right. 3; Keystone has no other."),
        ("OVH_ENDPOINT", "ovh-fr", "is not an endpoint of OVH; put one of ovh-eu, ovh-ca, ovh-us"),
        ("CONFIGURE_DNS_AUTO", "maybe", "is neither true nor false"),
        ("INSTANCE_NAME", "Kopro Go", "becomes a host name: a-z, 0-9 and - only, 63 at most; put one like koprogo"),
        ("IMAGE", "Windows 11", "is no Ubuntu or Debian; put one of their images, as in Ubuntu 22.04"),
        ("FLAVOR", " ", "is nothing but spaces; put a value, or leave the line out"),
        ("IMAGE", " ", "is nothing but spaces; put a value, or leave the line out"),
        ("SSH_PUBLIC_KEY", "~nouser/x.pub", "begins with a home folder that is not found; put the whole path"),
        ("KOPROGO_DOMAIN", "https://koprogo.com", "is an address; put the bare name, as in koprogo.com"),
        ("KOPROGO_DOMAIN", "koprogo", "is not a domain name; put one like koprogo.com"),
        ("KOPROGO_DOMAIN", "kopro_go.com", "is not a domain name; put one like koprogo.com"),
        ("KOPROGO_DOMAIN", "51.75.1.2", "is an IP address; certificates are made for names, put one like koprogo.com"),
        ("KOPROGO_DOMAIN", "koprogó.com", "has letters outside a-z; put its ASCII form, xn--koprog-gxa.com"),
        ("KOPROGO_DOMAIN", "CHANGE_ME", "is still what .env.example says; put your own"),
        ("KOPROGO_API_DOMAIN", "api.other.com", "is outside KOPROGO_DOMAIN; put koprogo.com or a name that ends in"),
        ("STATUS_PAGE_DOMAIN", "status.other.com", "is outside KOPROGO_DOMAIN; put koprogo.com or a name that ends in"),
        ("STATUS_PAGE_DOMAIN", "koprogo.com", "is the name of the frontend too; put another, as in status.koprogo.com"),
        ("STATUS_PAGE_DOMAIN", "api.koprogo.com", "is the name of the API too; put another, as in status.koprogo.com"),
        ("STATUS_PAGE_LANGUAGE", "nl", "is not one of 'en' or 'fr'"),
        ("KOPROGO_API_DOMAIN", "koprogo.com", "is the name of the frontend too; put another, as in api.koprogo.com"),
        ("ACME_EMAIL", "me@localhost", "is not an e-mail address; put one like you@koprogo.com"),
        ("HEALTH_PATH", "api/v1/health", "is not a path; it begins with a slash, as in /api/v1/health"),
        (
            "BACKUP_VOLUMES",
            "backend_uploads,./x",
            "has './x', which is no name of a volume; put names as in backend_uploads",
        ),
        ("DNS_RESOLVERS", "9.9.9.9,dns", "has 'dns', which is no IP address; put addresses between commas"),
        ("TLS_CA_FILE", "none.pem", "cannot be read (No such file or directory)"),
        ("TLS_CA_FILE", "~nouser/ca.pem", "begins with a home folder that is not found; put the whole path"),
        ("REPOSITORY_URL", "git@github.com:gilmry/koprogo.git", "needs an SSH key, and the server has none"),
        ("REPOSITORY_URL", "https://[github.com/a.git", "is not a web address; it begins with https:// and a host"),
        ("BRANCH", "a..b", "is not a name that Git allows for a branch; put one like main"),
        ("COMPOSE_FILE", "/etc/compose.yml", "is no YAML file inside the repository"),
        ("GITHUB_REPOSITORY", "Gilmry/KoproGo", "is not owner/name in lower case"),
        ("IMAGE_TAG", "main-{commit}", "knows only {sha7} and {sha} between braces"),
        ("IMAGE_TAG", "v 1", "is not a tag of an image"),
        ("GITOPS_ALLOW_FORCE_PUSH", "sometimes", "is neither true nor false"),
        ("GITOPS_ALLOWED_SIGNERS", "nobody", "cannot be read (No such file or directory); put the path of a file, or"),
        ("TIMEZONE", "Bruxelles", "is not a time zone; put one like Europe/Brussels or UTC"),
        ("BACKUP_DAYS", "0", "is below 1, the least"),
        ("SMTP_PORT", "70000", "is above 65535, the most"),
        ("RUST_BACKTRACE", "2", "is not one of '0', '1' or 'full'"),
        ("CORS_ALLOWED_ORIGINS", "koprogo.com", "is not a web address; it begins with https:// and a host name"),
        ("DB_POOL_MIN_CONNECTIONS", "9", "is more than DB_POOL_MAX_CONNECTIONS (8)"),
        ("POSTGRES_DB", "drop table;", "may hold letters, digits, _ and - only, and begins with a letter"),
        ("SMTP_FROM_NAME", "L'équipe", "holds a single quote or a line break, which a .env file cannot carry safely"),
    ],
)
def test_one_wrong_value_is_one_line_that_names_it(folder: Path, name: str, value: str, said: str) -> None:
    found = mistakes(folder, **{name: value})
    assert len(found) == 1
    assert found[0].startswith(f"{name} ({value}): {said}")


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8zH0bYq7tH0l4m1hPqkqv0m0e1yXl8kq3mJcQ8fC2N"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nobody: every new commit would be refused; add who may sign, or leave the setting out"),
        ("# ann\n\n", "names nobody: every new commit would be refused; add who may sign, or leave the setting out"),
        (f"# ann\n{KEY} ann", "does not say in line 2 whose key it is; put you@koprogo.com before ssh-ed25519"),
        ("ann@x.be", "has no SSH public key in line 1; it is like: you@koprogo.com ssh-ed25519 AAAA…"),
        (f"ann@x.be {KEY[:-9]}=", "has no SSH public key in line 1; it is like: you@koprogo.com ssh-ed25519 AAAA…"),
        ("ann@x.be ssh-rsa " + KEY.split()[1], "has no SSH public key in line 1; it is like: you@koprogo.com"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "holds a private key, and would be copied to the server; put public"),
    ],
)
def test_a_list_of_signers_that_would_not_work(folder: Path, text: str, said: str) -> None:
    (folder / "signers").write_text(text)
    (found,) = mistakes(folder, GITOPS_ALLOWED_SIGNERS="signers")
    assert found.startswith(f"GITOPS_ALLOWED_SIGNERS (signers): {said}")


def test_a_list_of_signers_that_is_no_text(folder: Path) -> None:
    (folder / "signers").write_bytes(b"\xff\xfe")
    (found,) = mistakes(folder, GITOPS_ALLOWED_SIGNERS="signers")
    assert "is no text; each line of it is: you@koprogo.com ssh-ed25519 AAAA…" in found


def test_a_list_of_signers(folder: Path) -> None:
    (folder / "signers").write_text(
        f'# who may\nann@x.be,bob@x.be {KEY} ann\'s laptop\n\n*@x.be namespaces="git",valid-before="20300101" {KEY}\n'
    )
    source = load(folder, GITOPS_ALLOWED_SIGNERS="signers", GITOPS_ALLOW_FORCE_PUSH="true").source
    assert (source.allowed_signers, source.allow_force_push) == (folder / "signers", True)
    source = load(folder).source
    assert (source.allowed_signers, source.allow_force_push) == (None, False)


def test_a_wrong_domain_is_not_complained_about_three_times(folder: Path) -> None:
    assert mistakes(folder, KOPROGO_DOMAIN="") == ["KOPROGO_DOMAIN: missing. Your domain, as in koprogo.com."]


def test_what_is_missing_is_said_with_what_it_is_for(folder: Path) -> None:
    assert mistakes(folder, ACME_EMAIL="") == ["ACME_EMAIL: missing. Contact of the account at Let's Encrypt."]


def test_no_secret_shows_in_a_mistake(folder: Path) -> None:
    found = mistakes(
        folder,
        OS_PASSWORD=" topsecret",
        REPOSITORY_URL="https://me:topsecret@github.com/a.git",
        SMTP_PASSWORD="topsecret'",
    )
    password = "holds a user name or a password, which would be copied to places that others read"
    assert found == [
        "OS_PASSWORD: begins or ends with a space",
        f"REPOSITORY_URL: {password}",
        "SMTP_PASSWORD: holds a single quote or a line break, which a .env file cannot carry safely",
    ]
    no_address = "is not a web address; it begins with https:// and a host name"
    for name, value, said in (
        ("REPOSITORY_URL", "https://me:topsecret@github.com//a.git", password),
        ("REPOSITORY_URL", "me:topsecret@github.com/a.git", no_address),
        ("REPOSITORY_URL", "https://me:topsecret@github\u2100.com/a.git", no_address),
        ("CORS_ALLOWED_ORIGINS", "https://me:topsecret@a.com,https://b.com", password),
    ):
        assert mistakes(folder, **{name: value}) == [f"{name}: {said}"]


def test_only_the_words_of_the_example_are_no_value(folder: Path) -> None:
    found = load(folder, SMTP_FROM_NAME="Your Syndic", OS_PASSWORD="<changeme>", ACME_EMAIL="me@example.com")
    assert found.application.smtp_from_name == "Your Syndic"
    assert found.openstack.password.get_secret_value() == "<changeme>"
    assert found.site.acme_email == "me@example.com"


def test_a_variable_has_no_other_name_than_the_documented_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("region", "theirs")
    monkeypatch.setenv("network", "theirs")
    found = load(folder, "name=theirs\n")
    assert (found.openstack.region, found.instance.network) == ("GRA11", "Ext-Net")
    assert found.instance.name == "koprogo"


def test_app_adds_any_line_that_the_servers_env_does_not_have(folder: Path) -> None:
    found = load(folder, APP_ENVIRONMENT="production", APP_TIMEZONE="Europe/Paris", APP_KOPROGO_DOMAIN="koprogo.com")
    assert {name: value.get_secret_value() for name, value in found.extra.items()} == {
        "ENVIRONMENT": "production",
        "TIMEZONE": "Europe/Paris",
        "KOPROGO_DOMAIN": "koprogo.com",
    }


@pytest.mark.parametrize(
    "name",
    ["GITHUB_REPOSITORY", "ACME_EMAIL", "API_DOMAIN", "FRONTEND_DOMAIN", "PUBLIC_API_URL", "SMTP_HOST", "JWT_SECRET"],
)
def test_app_replaces_no_line_that_the_servers_env_has(folder: Path, name: str) -> None:
    assert mistakes(folder, f"APP_{name}=x\n") == [
        f"APP_{name}: {name} is a line that the server's .env has anyway; take it out"
    ]


def test_app_does_not_name_the_tag_of_the_images(folder: Path) -> None:
    assert mistakes(folder, APP_IMAGE_TAG="v1") == [
        "APP_IMAGE_TAG: the tag is set anew at every deploy; put IMAGE_TAG instead"
    ]


def test_dns_needs_the_three_keys_or_a_service_account(folder: Path) -> None:
    missing = "missing. Make it with: python provision.py credentials. Or deploy with CONFIGURE_DNS_AUTO=false"
    assert mistakes(folder, OVH_CONSUMER_KEY="") == [f"OVH_CONSUMER_KEY: {missing}"]
    assert mistakes(folder, OVH_CLIENT_ID="EU.abc") == [
        "OVH_CLIENT_SECRET: goes with OVH_CLIENT_ID; put both, or neither",
        "OVH_APPLICATION_KEY: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
        "OVH_APPLICATION_SECRET: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
        "OVH_CONSUMER_KEY: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
    ]
    without = {"OVH_APPLICATION_KEY": "", "OVH_APPLICATION_SECRET": "", "OVH_CONSUMER_KEY": ""}
    assert load(folder, **without, CONFIGURE_DNS_AUTO="false").ovh.configure_dns is False
    assert load(folder, **without, OVH_CLIENT_ID="EU.abc", OVH_CLIENT_SECRET="s").ovh.client_id == "EU.abc"


def test_a_storage_elsewhere_and_a_mail_login_need_their_secrets(folder: Path) -> None:
    found = mistakes(folder, S3_ENDPOINT="https://s3.gra.io.cloud.ovh.net", SMTP_ENABLED="true", SMTP_USERNAME="me")
    assert found == [
        "S3_SECRET_KEY: is missing; an S3_ENDPOINT elsewhere needs its own S3_ACCESS_KEY and S3_SECRET_KEY",
        "SMTP_PASSWORD: is missing; SMTP_USERNAME is set and SMTP_ENABLED is true",
    ]


def test_the_key_pair(folder: Path) -> None:
    key_pair(folder, "other")
    (folder / "text.pub").write_text("hello\n")
    (folder / "secret.pub").write_bytes((folder / "other").read_bytes())
    (folder / "lonely.pub").write_bytes((folder / "other.pub").read_bytes())
    (folder / "mixed.pub").write_bytes((folder / "other.pub").read_bytes())
    (folder / "mixed").write_bytes((folder / "id_ed25519").read_bytes())

    def said(name: str) -> str:
        (line,) = mistakes(folder, SSH_PUBLIC_KEY=name)
        return line.removeprefix(f"SSH_PUBLIC_KEY ({name}): ")

    assert (
        said("none.pub")
        == f"cannot be read (No such file or directory); make one: ssh-keygen -t ed25519 -f {folder}/none"
    )
    assert said("other") == f"has to end in .pub; the public key is usually {folder}/other.pub"
    assert (
        said("text.pub")
        == "is not an SSH public key (ed25519, ecdsa or rsa); it is one line: ssh-ed25519 AAAA… you@host"
    )
    assert said("secret.pub") == "is a private key; put the path of its .pub file"
    assert said("lonely.pub").startswith(f"has no private key beside it: {folder}/lonely cannot be read")
    assert said("mixed.pub").startswith(f"does not belong to {folder}/mixed; make it again with: ssh-keygen -y")
    assert load(folder, SSH_PUBLIC_KEY=f"{folder}/other.pub").instance.ssh_private_key == folder / "other"


@pytest.mark.parametrize("form", ["PEM", "PKCS8"])
def test_a_private_key_in_an_older_form_says_how_it_is_written_anew(folder: Path, form: str) -> None:
    make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", form, "-N", "", "-f", "old"]
    subprocess.run(make, cwd=folder, check=True)
    assert mistakes(folder, SSH_PUBLIC_KEY="old.pub") == [
        f"SSH_PUBLIC_KEY (old.pub): has its private key in an older form; ssh-keygen -p -f {folder}/old writes it in"
        " OpenSSH's"
    ]
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "", "-f", "old"], cwd=folder, check=True)
    assert load(folder, SSH_PUBLIC_KEY="old.pub").instance.ssh_private_key == folder / "old"


def test_a_name_that_is_everybodys_is_none(folder: Path) -> None:
    assert mistakes(folder, INSTANCE_NAME="default") == [
        "INSTANCE_NAME (default): is the name of every project's own security group, which is not ours to change"
    ]


@pytest.mark.filterwarnings("error")
def test_keys_of_a_kind_that_does_not_serve(folder: Path) -> None:
    with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
        old = dsa.generate_private_key(1024)  # noqa: S505 - SSH has no longer ones of this kind
        private = old.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        public = old.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (folder / "old").write_bytes(private)
    (folder / "old.pub").write_bytes(public)
    (folder / "mixed").write_bytes(private)
    (folder / "mixed.pub").write_bytes((folder / "id_ed25519.pub").read_bytes())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ca"], cwd=folder, check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", "ca", "-I", "me", "id_ed25519.pub"], cwd=folder, check=True)
    (folder / "id_ed25519-cert").write_bytes((folder / "id_ed25519").read_bytes())
    serve = "which does not serve; put a plain public key (ed25519, ecdsa or rsa), as ssh-keygen -t ed25519 makes it"
    assert mistakes(folder, SSH_PUBLIC_KEY="old.pub") == [f"SSH_PUBLIC_KEY (old.pub): is of the kind ssh-dss, {serve}"]
    assert mistakes(folder, SSH_PUBLIC_KEY="id_ed25519-cert.pub") == [
        f"SSH_PUBLIC_KEY (id_ed25519-cert.pub): is of the kind ssh-ed25519-cert-v01@openssh.com, {serve}"
    ]
    assert mistakes(folder, SSH_PUBLIC_KEY="mixed.pub") == [
        f"SSH_PUBLIC_KEY (mixed.pub): does not belong to {folder}/mixed; make it again with:"
        f" ssh-keygen -y -f {folder}/mixed > {folder}/mixed.pub"
    ]


@pytest.mark.parametrize(
    "kind", [("-t", "ed25519"), ("-t", "ecdsa"), ("-t", "ecdsa", "-b", "521"), ("-t", "rsa", "-b", "1024")]
)
def test_keys_of_the_kinds_that_serve(folder: Path, kind: tuple[str, ...]) -> None:
    subprocess.run(["ssh-keygen", "-q", *kind, "-N", "", "-f", folder / "key"], check=True)
    assert load(folder, SSH_PUBLIC_KEY="key.pub").instance.ssh_private_key == folder / "key"


def test_a_file_that_is_not_there_or_is_no_text(folder: Path) -> None:
    with pytest.raises(
        settings.SettingsError, match=r"there is no such file; cp .*\.env\.example .*/none, then edit it"
    ):
        settings.load(folder / "none")
    (folder / "folder").mkdir()
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(folder / "folder")
    assert (
        str(caught.value)
        == f"{folder}/folder: is a folder and not a file; put the file there, or its path into ENV_FILE"
    )
    (folder / "latin").write_bytes("SMTP_FROM_NAME=Copropriété".encode("latin-1"))
    with pytest.raises(settings.SettingsError, match=r"is not UTF-8 text \(byte 24\); save it as UTF-8"):
        settings.load(folder / "latin")


def test_a_file_under_a_home_folder_that_is_not_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_FILE", "~nouser/.env")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load()
    assert str(caught.value) == "~nouser/.env: begins with a home folder that is not found; put the whole path"


def test_a_file_in_a_folder_that_may_not_be_entered(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0)
    me = os.geteuid()
    os.seteuid(me or 65534)  # root enters any folder
    try:
        with pytest.raises(settings.SettingsError) as caught:
            settings.load(closed / ".env")
    finally:
        os.seteuid(me)
    assert str(caught.value) == f"{closed}/.env: cannot be read (Permission denied)"


def test_text_that_looks_right_and_is_not(folder: Path) -> None:
    curly = "SMTP_HOST=\u201cmail.koprogo.com\u201d\n"
    assert mistakes(folder, curly + "SMTP_USERNAME=${USER}\nRUST_LOG\n") == [
        f"{folder}/.env: line 10: SMTP_HOST has curly quotes; write plain ones, or none",
        f"{folder}/.env: line 11: SMTP_USERNAME has ${{…}} in it, which is not replaced; write it out",
        f"{folder}/.env: line 12: RUST_LOG has no = after it; write RUST_LOG=value",
    ]


def test_the_example_documents_every_variable_and_its_default() -> None:
    lines = (settings.ROOT / ".env.example").read_text().splitlines()
    documented = {m[2]: (m[1] == "#", m[3]) for line in lines if (m := re.match(r"(#?)([A-Z][A-Z0-9_]*)=(.*)$", line))}
    assert sorted(documented) == sorted(settings.variables())
    derived = {"KOPROGO_FRONTEND_DOMAIN", "KOPROGO_API_DOMAIN"}
    for name, (commented, value) in documented.items():
        default = settings.variables()[name].get_default()
        if commented and name not in derived and "SecretStr" not in str(settings.variables()[name].annotation):
            shown = "" if default in (None, ()) else str(default).lower() if isinstance(default, bool) else str(default)
            assert value.strip('"') == shown, name


def test_the_example_itself_is_refused_line_by_line(folder: Path) -> None:
    (folder / ".env").write_bytes((settings.ROOT / ".env.example").read_bytes())
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_cloud(folder / ".env")
    wrong = [line.split(":")[0].split(" ")[0] for line in str(caught.value).splitlines()]
    assert [name for name in wrong if name != "SSH_PUBLIC_KEY"] == [
        "OS_USERNAME",
        "OS_PASSWORD",
        "OS_PROJECT_ID",
        "OVH_APPLICATION_KEY",
        "OVH_APPLICATION_SECRET",
        "OVH_CONSUMER_KEY",
        "KOPROGO_DOMAIN",
        "ACME_EMAIL",
    ]


@pytest.mark.parametrize("command", [["provision.py"], ["-m", "pyinfra", "inventory.py", "debug-inventory"]])
def test_the_commands_say_mistakes_without_a_traceback(folder: Path, command: list[str]) -> None:
    (folder / ".env").write_text("OS_PASSWORD=hushhush\n")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=settings.ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "ENV_FILE": str(folder / ".env")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "KOPROGO_DOMAIN: missing. Your domain, as in koprogo.com." in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "hushhush" not in done.stderr + done.stdout


MAIL = {"ALERT_EMAIL": "a@koprogo.com, b@koprogo.com"}


def test_alerts_by_mail_need_a_server_and_whom_they_come_from(folder: Path) -> None:
    missing = "missing; ALERT_EMAIL needs a mail server, as in smtp+starttls://USER:PASSWORD@HOST:587"
    assert mistakes(folder, **MAIL) == [f"ALERT_SMTP_URL: {missing}"]
    found = load(folder, **MAIL, ALERT_SMTP_URL="smtp+starttls://me%40ovh.net:pa%2Fss@ssl0.ovh.net:587").alerts
    assert (found.email, found.sender) == (("a@koprogo.com", "b@koprogo.com"), "me@ovh.net")
    assert "pa%2Fss" not in repr(found)
    said = "missing; the user of ALERT_SMTP_URL is no address that mails can come from"
    assert mistakes(folder, **MAIL, ALERT_SMTP_URL="smtps://apikey:s3cret@in.mailjet.com") == [f"ALERT_FROM: {said}"]
    for url, reason in (
        (
            "smtp://me%40ovh.net:s3cret@ssl0.ovh.net",
            "would send the password in clear; put smtp+starttls:// or smtps://",
        ),
        ("https://ssl0.ovh.net/s3cret", "is no smtp+starttls://USER:PASSWORD@HOST:587, smtps:// nor smtp://"),
        ("smtps://me:s3cret@ssl0.ovh.net:port", "is no smtp+starttls://USER:PASSWORD@HOST:587, smtps:// nor smtp://"),
    ):
        assert mistakes(folder, **MAIL, ALERT_SMTP_URL=url, ALERT_FROM="k@koprogo.com") == [f"ALERT_SMTP_URL: {reason}"]
    assert mistakes(folder, ALERT_EMAIL="you", ALERT_SMTP_URL="smtps://me%40ovh.net:x@ssl0.ovh.net") == [
        "ALERT_EMAIL (you): is not an e-mail address; put one like you@koprogo.com"
    ]
    nobody = "is set, and nobody is to get mails; put ALERT_EMAIL, or leave both out"
    assert mistakes(folder, ALERT_SMTP_URL="smtps://me%40ovh.net:x@ssl0.ovh.net") == [f"ALERT_SMTP_URL: {nobody}"]


def test_the_form_of_a_webhook_is_found_from_its_address(folder: Path) -> None:
    for url, kind in (
        ("https://hooks.slack.com/services/T0/B0/s3cret", "slack"),
        ("https://discord.com/api/webhooks/1/s3cret", "discord"),
        ("https://ntfy.sh/s3cret", "ntfy"),
        ("https://hooks.koprogo.com/s3cret", "json"),
    ):
        assert load(folder, ALERT_WEBHOOK_URL=url).alerts.webhook_kind == kind
    assert (
        load(folder, ALERT_WEBHOOK_URL="https://n.koprogo.com/x", ALERT_WEBHOOK_KIND="ntfy").alerts.webhook_kind
        == "ntfy"
    )
    room = "https://:syt_x@matrix.org/_matrix/client/v3/rooms/!a:matrix.org/send/m.room.message"
    assert load(folder, ALERT_WEBHOOK_URL=room, ALERT_WEBHOOK_KIND="matrix").alerts.webhook_kind == "matrix"
    assert mistakes(folder, ALERT_WEBHOOK_URL="http://h.koprogo.com/s3cret", ALERT_HEARTBEAT_URL="hc-ping.com/x") == [
        "ALERT_WEBHOOK_URL: is not an https:// address",
        "ALERT_HEARTBEAT_URL: is not an https:// address",
    ]
    assert mistakes(folder, ALERT_WEBHOOK_URL="https://matrix.org/x", ALERT_WEBHOOK_KIND="matrix") == [
        "ALERT_WEBHOOK_KIND (matrix): matrix wants https://:TOKEN@HOST/_matrix/client/v3/rooms/ROOM/send/m.room.message"
        " as the address"
    ]


def test_the_operator_says_when_somebody_is_told(folder: Path) -> None:
    usual = {"disk_percent": 90, "certificate_days": 14, "checks": 2, "remind_hours": 6}
    assert wanted.program_configuration(load(folder))["limits"] == usual
    found = wanted.program_configuration(load(folder, ALERT_DISK_PERCENT="80", ALERT_CHECKS="3"))["limits"]
    assert found == usual | {"disk_percent": 80, "checks": 3}
    assert mistakes(folder, ALERT_DISK_PERCENT="100", ALERT_CHECKS="0", ALERT_REMIND_HOURS="often") == [
        "ALERT_DISK_PERCENT (100): is above 99, the most",
        "ALERT_CHECKS (0): is below 1, the least",
        "ALERT_REMIND_HOURS (often): is not a whole number",
    ]
