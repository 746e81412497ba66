"""The internet machine: its template, its start, and what others ask of it."""

import email
import email.policy
import json
import secrets
from dataclasses import asdict, fields
from email.message import EmailMessage
from pathlib import Path

from sandbox import ca, templates
from sandbox.files import write_whole
from sandbox.internet import configuration, names, ready
from sandbox.internet.configuration import ETC, Secrets
from sandbox.machine import Machine, load
from sandbox.resolver import upstream
from sandbox.world import World

NAME = "internet"
HOST = 3
"""Last number of its addresses."""

HOOK_KEY = "kZ3mWq8T"
"""What whoever posts to the webhook receiver has to know (see etc/webhook.conf)."""

PACKAGES = [
    "knot",
    "knot-dnsutils",
    "nginx",
    "fcgiwrap",
    "git",
    "docker-registry",
    "pebble",
    "python3-aiosmtpd",
    "webhook",
]
_HERE = Path(__file__).parent

_SET_UP = """
rm -f /etc/nginx/sites-enabled/default
install -d -m 0755 /etc/sandbox-internet /srv/git
# Whatever the umask of the checkout was.
chmod -R a+rX /etc/nginx /etc/pebble /etc/docker /etc/default /etc/systemd/system /usr/local/lib/sandbox
systemctl disable --quiet ssh.service ssh.socket || true
systemctl enable --quiet knot nginx fcgiwrap.socket docker-registry pebble ovh-api mail-sink webhook
"""


def layers() -> list[Path]:
    """Return the templates that the machine is made of, top first."""
    base = templates.base()
    packages = templates.apt_layer("internet-packages", [base], PACKAGES)
    own = templates.layer(
        "internet",
        [packages, base],
        _SET_UP,
        files={"/": _HERE / "files", "/usr/local/lib/sandbox/ovh_api": _HERE / "ovh_api"},
    )
    return [own, packages, base]


def start(world: World, application_layers: list[Path]) -> None:
    """Run the machine, `application_layers` on top of its own; returns once everything in it answers.

    A machine that runs already is left alone. Raises SandboxError saying which service does not answer.
    """
    machine = Machine(
        world,
        NAME,
        layers=[*application_layers, *layers()],
        ipv4=world.ipv4(HOST),
        ipv6=world.ipv6(HOST),
    )
    machine.start(prepare=lambda root: _configure(world, root))
    machine.wait_boot()
    ready.wait(machine)


def _configure(world: World, root: Path) -> None:
    """Write what differs from one sandbox to the next."""
    storage = world.ipv4(names.STORAGE_HOST), world.ipv6(names.STORAGE_HOST)
    texts = configuration.files(_secrets(world), world.ipv4(HOST), world.ipv6(HOST), upstream(), storage)
    for path, (content, mode) in texts.items():
        _write(root, path, content.encode(), mode)
    certificate, key = ca.issue(names.TLS_NAMES)
    _write(root, f"{ETC}/tls.crt", certificate, 0o644)
    _write(root, f"{ETC}/tls.key", key, 0o600)


def _write(root: Path, path: str, content: bytes, mode: int) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=mode)
    file.write_bytes(content)
    file.chmod(mode)


def _secrets(world: World) -> Secrets:
    """Return the sandbox's keys, made on first use; an older sandbox lacks some."""
    file = world.state / "internet-secrets.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    made = Secrets(**{field.name: known.get(field.name) or secrets.token_hex(16) for field in fields(Secrets)})
    if asdict(made) != known:
        write_whole(file, json.dumps(asdict(made)), 0o600)
    return made


def credentials(world: World) -> dict[str, str]:
    """Return the variables with which the operator's commands reach this sandbox's OVH account."""
    made = _secrets(world)
    return {
        "OVH_ENDPOINT": f"http://{world.ipv4(HOST)}:{configuration.OVH_API_PORT}/1.0",
        "OVH_APPLICATION_KEY": made.application_key,
        "OVH_APPLICATION_SECRET": made.application_secret,
        "OVH_CONSUMER_KEY": made.consumer_key,
    }


def service_account(world: World) -> dict[str, str]:
    """Return the variables of a service account of this sandbox's OVH account; OAuth2 needs OVH's https names."""
    return {
        "OVH_ENDPOINT": "ovh-eu",
        "OVH_CLIENT_ID": configuration.OVH_SERVICE_ACCOUNT,
        "OVH_CLIENT_SECRET": _secrets(world).client_secret,
    }


def ovh_login(world: World) -> dict[str, str]:
    """Return what the customer types on the page that validates consumer keys."""
    return {"login": configuration.OVH_CUSTOMER, "password": _secrets(world).customer_password}


def fault_token(world: World) -> str:
    """Return what opens the side door (`/_faults`) of the stand-in for OVH's API."""
    return _secrets(world).fault_token


def acme_root(world: World) -> str:
    """Return the roots (PEM) of the public certificates: pebble's present one first, then those before a restart."""
    return load(world.name, NAME).run(["cat", "/var/lib/pebble/roots.pem"]).stdout


def git_push_url(world: World) -> str:
    """Return the address, password included, at which the Git server takes pushes; append `owner/name.git`."""
    return f"https://{configuration.GIT_USER}:{_secrets(world).git_password}@git.{names.DOMAIN}/"


def mails(world: World) -> list[EmailMessage]:
    """Return every mail that arrived, oldest first; its envelope is in X-Envelope-From and X-Envelope-To."""
    folder = load(world.name, NAME).rootdir / "var/lib/mail-sink"
    found = sorted(folder.glob("*.eml"), key=lambda file: float(file.name.split("-")[0]))
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in found]


def hooks(world: World, name: str) -> list[str]:
    """Return what was posted to https://hooks.sandbox.test/hooks/NAME?key=HOOK_KEY, oldest first."""
    folder = load(world.name, NAME).rootdir / "var/lib/hooks" / name
    return [file.read_text() for file in sorted(folder.glob("*"))]
