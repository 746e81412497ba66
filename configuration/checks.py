"""Checks of single values. Each returns the value to use, or raises ValueError saying what to put instead."""

import base64
import ipaddress
import re
import warnings
import zoneinfo
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import load_pem_x509_certificates
from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KEYS_THAT_SERVE = re.compile(rb"ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)")
"""Kinds of SSH keys that Nova takes and one can log in with."""
NO_DOMAIN = "is not a domain name; put one like koprogo.com"
NO_WEB_ADDRESS = "is not a web address; it begins with https:// and a host name"


def domain(value: str) -> str:
    """A public host name of two labels or more, in lower case."""
    name = value.strip().lower().removesuffix(".")
    if "://" in name or "/" in name:
        raise ValueError("is an address; put the bare name, as in koprogo.com")
    if not name.isascii():
        try:
            ascii_form = name.encode("idna").decode()
        except UnicodeError:
            raise ValueError(NO_DOMAIN) from None
        raise ValueError(f"has letters outside a-z; put its ASCII form, {ascii_form}")
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or not all(LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004
        raise ValueError(NO_DOMAIN)
    if labels[-1].isdigit():
        raise ValueError("is an IP address; certificates are made for names, put one like koprogo.com")
    return name


def email(value: str) -> str:
    """An address with one @ and a domain name behind it."""
    local, _, host = value.strip().rpartition("@")
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+", local):
        raise ValueError("is not an e-mail address; put one like you@koprogo.com")
    try:
        return f"{local}@{domain(host)}"
    except ValueError:
        raise ValueError("is not an e-mail address; put one like you@koprogo.com") from None


LETTERS_OF_A_LABEL = 63
"""Letters at most between two dots of a name (RFC 1035, 2.3.4)."""


def http_url(value: str) -> str:
    """An http or https address, without credentials, query or a slash at the end."""
    url = value.strip().rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:  # its message can hold the password
        raise ValueError(NO_WEB_ADDRESS) from None
    named = parts.hostname and all(
        0 < len(label) <= LETTERS_OF_A_LABEL for label in parts.hostname.removesuffix(".").split(".")
    )
    if parts.scheme not in ("http", "https") or not named or re.search(r"\s", url):
        raise ValueError(NO_WEB_ADDRESS)
    if parts.username or parts.password:
        raise ValueError("holds a user name or a password, which would be copied to places that others read")
    if parts.query or parts.fragment:
        raise ValueError("has a ? or # in it; put the plain address")
    return url


def auth_url(value: str) -> str:
    """The address of Keystone, version 3."""
    url = http_url(value)
    if not url.endswith("/v3"):
        raise ValueError("has to end in /v3; for OVH it is https://auth.cloud.ovh.net/v3")
    return url


def ovh_endpoint(value: str) -> str:
    """One of OVH's endpoints by name, or the base address of another."""
    names = ("ovh-eu", "ovh-ca", "ovh-us")
    if value in names:
        return value
    if "://" in value:
        return http_url(value)
    raise ValueError(f"is not an endpoint of OVH; put one of {', '.join(names)}")


def no_key_beside(account: str | None, key: object) -> None:
    """Hold who we are for OVH's API to one of two kinds: a service account or application keys. Raises ValueError."""
    if account and key:
        raise ValueError("is set and so is OVH_CLIENT_ID; keep the service account or the three keys")


def ovh_key(value: SecretStr) -> SecretStr:
    """A key or secret of OVH's API. It goes into the headers of requests, which hold printable ASCII only."""
    if not re.fullmatch(r"[ -~]*", value.get_secret_value()):
        raise ValueError("holds a letter that no key of OVH has; copy it once more")
    return value


def ca_issuer(value: str) -> str:
    """The domain that a CA goes by in CAA records, or nothing."""
    return domain(value) if value else value


def repository_url(value: str) -> str:
    """A Git address that a server without any key can read."""
    if value.startswith(("git@", "ssh://")):
        raise ValueError(
            "needs an SSH key, and the server has none; put the https form, https://github.com/owner/name.git"
        )
    return http_url(value)


def branch(value: str) -> str:
    """A branch, by the rules of git-check-ref-format."""
    wrong = r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|^[-/]|[./]$"
    if not value or re.search(wrong, value):
        raise ValueError("is not a name that Git allows for a branch; put one like main")
    return value


def compose_file(value: str) -> str:
    """A path inside the repository."""
    if value.startswith(("/", "~")) or ".." in Path(value).parts or not value.endswith((".yml", ".yaml")):
        raise ValueError(
            "is no YAML file inside the repository; put a relative path: deploy/production/docker-compose.yml"
        )
    return value


def url_path(value: str) -> str:
    """The path part of an address."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/%-]*", value):
        raise ValueError("is not a path; it begins with a slash, as in /api/v1/health")
    return value


def github_repository(value: str) -> str:
    """owner/name, in lower case because image names are."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?/[a-z0-9]([a-z0-9._-]*[a-z0-9])?", value):
        raise ValueError("is not owner/name in lower case (as image names are); put one like gilmry/koprogo")
    return value


def image_tag(value: str) -> str:
    """A tag of an image; {sha7} and {sha} stand for the commit that is deployed."""
    tag = value.replace("{sha7}", "0123456").replace("{sha}", "0123456789" * 4)
    if "{" in tag or "}" in tag:
        raise ValueError("knows only {sha7} and {sha} between braces; put main-{sha7}, or a fixed tag as v1.4.2")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
        raise ValueError("is not a tag of an image (letters, digits, _ . -); put main-{sha7}, or a fixed v1.4.2")
    return value


def host_label(value: str) -> str:
    """One label of a host name."""
    if not LABEL.fullmatch(value):
        raise ValueError("becomes a host name: a-z, 0-9 and - only, 63 at most; put one like koprogo")
    return value


def plain_name(value: str) -> str:
    """An identifier that no shell, SQL or YAML reads as anything else."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", value):
        raise ValueError("may hold letters, digits, _ and - only, and begins with a letter")
    return value


def timezone(value: str) -> str:
    """A name of the tz database."""
    known = zoneinfo.available_timezones()
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value) or (known and value not in known):
        raise ValueError("is not a time zone; put one like Europe/Brussels or UTC")
    return value


def volume_names(value: object) -> object:
    """Names of volumes between commas, as a compose file has them."""
    if not isinstance(value, str):
        return value
    found = [part.strip() for part in value.split(",") if part.strip()]
    for part in found:
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", part):
            raise ValueError(f"has {part!r}, which is no name of a volume; put names as in backend_uploads")
    return tuple(found)


def emails(value: object) -> object:
    """E-mail addresses between commas."""
    if not isinstance(value, str):
        return value
    return tuple(email(part) for part in value.split(",") if part.strip())


def addresses(value: object) -> object:
    """IP addresses between commas."""
    if not isinstance(value, str):
        return value
    found = [part.strip() for part in value.split(",") if part.strip()]
    for part in found:
        try:
            ipaddress.ip_address(part)
        except ValueError:
            raise ValueError(f"has {part!r}, which is no IP address; put addresses between commas") from None
    return tuple(found)


def env_value(value: str) -> str:
    """A value that every reader of a .env file understands alike when it stands between single quotes."""
    if "'" in value or not value.isprintable():
        raise ValueError("holds a single quote or a line break, which a .env file cannot carry safely")
    return value


def at_home(path: Path) -> Path:
    """The path with the home folder that its ~ or ~user stands for."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with a home folder that is not found; put the whole path") from None


def public_key(path: Path) -> Path:
    """The file of an SSH public key that can be given to the server, with its private key beside it."""
    if path.suffix != ".pub":
        raise ValueError(f"has to end in .pub; the public key is usually {path}.pub")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot be read ({error.strerror}); make one: ssh-keygen -t ed25519 -f {path.with_suffix('')}"
        ) from None
    if b"PRIVATE KEY" in content:
        raise ValueError("is a private key; put the path of its .pub file")
    _serves(content)
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            "is not an SSH public key (ed25519, ecdsa or rsa); it is one line: ssh-ed25519 AAAA… you@host"
        ) from None
    _private_key_beside(path.with_suffix(""), key)
    return path


def _serves(content: bytes) -> None:
    """Refuse other kinds before they are loaded: cryptography takes a certificate for its key, and warns of DSA."""
    kind = re.match(rb"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]{1,50}(?=[ \t])", content)
    if kind and not KEYS_THAT_SERVE.fullmatch(kind[0]):
        raise ValueError(
            f"is of the kind {kind[0].decode()}, which does not serve; put a plain public key (ed25519, ecdsa or rsa),"
            " as ssh-keygen -t ed25519 makes it"
        )


def _private_key_beside(path: Path, public: serialization.SSHPublicKeyTypes) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"has no private key beside it: {path} cannot be read ({error.strerror}); logging in needs both"
        ) from None
    if re.match(rb"-----BEGIN (?!OPENSSH)[A-Z ]*PRIVATE KEY-----", content):
        raise ValueError(f"has its private key in an older form; ssh-keygen -p -f {path} writes it in OpenSSH's")
    try:
        with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):  # of DSA
            private = serialization.load_ssh_private_key(content, password=None)
    except TypeError:
        return  # protected by a passphrase: ssh and ssh-agent deal with it, and it cannot be compared here
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"has something beside it that is not an SSH private key: {path}") from None
    if private.public_key() != public:
        raise ValueError(f"does not belong to {path}; make it again with: ssh-keygen -y -f {path} > {path}.pub")


def pem_file(path: Path) -> Path:
    """A file of certificates."""
    try:
        load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); put the path of a PEM file, or leave it out") from None
    except ValueError:
        raise ValueError("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    return path


def signers_file(path: Path) -> Path:
    """A list of those who may sign commits, in the form that ssh-keygen(1) calls ALLOWED SIGNERS."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); put the path of a file, or leave it out") from None
    except UnicodeDecodeError:
        raise ValueError("is no text; each line of it is: you@koprogo.com ssh-ed25519 AAAA…") from None
    if any("PRIVATE KEY" in line for line in lines):
        raise ValueError("holds a private key, and would be copied to the server; put public keys only")
    entries = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"}
    for number, line in entries.items():
        found = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]{32,}=*)(?:\s|$)", line)
        if found is None or not _is_key(found[1], found[2]):
            raise ValueError(f"has no SSH public key in line {number}; it is like: you@koprogo.com ssh-ed25519 AAAA…")
        if not line[: found.start()].strip():
            raise ValueError(f"does not say in line {number} whose key it is; put you@koprogo.com before {found[1]}")
    if not entries:
        raise ValueError("names nobody: every new commit would be refused; add who may sign, or leave the setting out")
    return path


def _is_key(kind: str, text: str) -> bool:
    """Whether a key is whole, and of the kind that it is said to be: fields, each behind its length (RFC 4253, 6.6)."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    fields = list[bytes]()
    while content:
        length = int.from_bytes(content[:4], "big")
        field, content = content[4 : 4 + length], content[4 + length :]
        if len(field) != length:
            return False
        fields.append(field)
    return len(fields) > 1 and fields[0] == kind.encode()


Domain = Annotated[str, AfterValidator(domain)]
Email = Annotated[str, AfterValidator(email)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
AuthUrl = Annotated[str, AfterValidator(auth_url)]
CaIssuer = Annotated[str, AfterValidator(ca_issuer)]
OvhEndpoint = Annotated[str, AfterValidator(ovh_endpoint)]
OvhKey = Annotated[SecretStr, AfterValidator(ovh_key)]
RepositoryUrl = Annotated[str, AfterValidator(repository_url)]
Branch = Annotated[str, AfterValidator(branch)]
ComposeFile = Annotated[str, AfterValidator(compose_file)]
UrlPath = Annotated[str, AfterValidator(url_path)]
GithubRepository = Annotated[str, AfterValidator(github_repository)]
ImageTag = Annotated[str, AfterValidator(image_tag)]
HostLabel = Annotated[str, AfterValidator(host_label)]
PlainName = Annotated[str, AfterValidator(plain_name)]
Timezone = Annotated[str, AfterValidator(timezone)]
EnvValue = Annotated[str, AfterValidator(env_value)]
VolumeNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(volume_names)]
Emails = Annotated[tuple[str, ...], NoDecode, BeforeValidator(emails)]
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(addresses)]
