"""The machine of the object store: its template, its start, and what tests do to it."""

import json
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

from sandbox import ca, templates
from sandbox.errors import SandboxError
from sandbox.files import write_whole
from sandbox.internet import names
from sandbox.machine import Machine, load
from sandbox.world import World, within

NAME = "storage"
HOST = names.STORAGE_HOST
BUCKET = "koprogo-offsite"
SERVER, OWNER = "server", "owner"
"""Users of the store: the one whose key lies on a server, and the one whose key stays with the operator."""

PACKAGES = ["swift-proxy", "swift-account", "swift-container", "swift-object", "nginx-light"]
ETC = "/etc/sandbox-storage"
DISK, DISK_SIZE = "/srv/node/disk", "1G"
"""In memory: a file system whose size can be changed, on a host that need not have room for it."""
SECONDS = 60
_HERE = Path(__file__).parent

_SET_UP = """
chmod -R a+rX /etc/nginx /etc/swift /usr/lib/python3/dist-packages/sandbox_storage.py
install -d -m 0755 /etc/sandbox-storage
install -d -o swift -g swift /srv/node/disk
echo 'tmpfs /srv/node/disk tmpfs size=1G,uid=swift,gid=swift,mode=0755 0 0' >> /etc/fstab
cd /etc/swift
for ring in account:6202 container:6201 object:6200; do
    swift-ring-builder ${ring%:*}.builder create 2 1 1
    swift-ring-builder ${ring%:*}.builder add r1z1-127.0.0.1:${ring#*:}/disk 1
    swift-ring-builder ${ring%:*}.builder rebalance
done >/dev/null
chmod a+r *.ring.gz
systemctl disable --quiet ssh.service ssh.socket || true
for unit in $(cd /lib/systemd/system; ls swift-*.service); do systemctl mask --quiet $unit; done
systemctl enable --quiet swift@account swift@container swift@object swift@proxy nginx
"""


def layers() -> list[Path]:
    """Return the templates that the machine is made of, top first."""
    base = templates.base()
    packages = templates.apt_layer("storage-packages", [base], PACKAGES)
    return [templates.layer("storage", [packages, base], _SET_UP, files={"/": _HERE / "files"}), packages, base]


def endpoint() -> str:
    """Return the address of the store, as OVH writes those of its regions."""
    return f"https://{names.STORAGE}"


def start(world: World) -> Machine:
    """Run the machine; returns it once it answers. One that runs already is left alone. Raises SandboxError."""
    machine = Machine(world, NAME, layers=layers(), ipv4=world.ipv4(HOST), ipv6=world.ipv6(HOST))
    machine.start(prepare=lambda root: _configure(world, root))
    machine.wait_boot()
    if not within(SECONDS, lambda: _answers(machine), pause=0.2):
        raise SandboxError(f"swift on {NAME} did not answer within {SECONDS} s; see {machine.console}")
    try:
        objects(world)
    except SandboxError:
        ask(world, f"-X PUT {endpoint()}/{BUCKET}")
    return machine


def credentials(world: World, user: str) -> tuple[str, str]:
    """Return the id and the secret of a user's key, made on first use."""
    file = world.state / "storage-secrets.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    if user not in known:
        known[user] = secrets.token_hex(16), secrets.token_hex(16)
        write_whole(file, json.dumps(known), 0o600)
    key_id, secret = known[user]
    return key_id, secret


def set_policy(world: World, user: str, policy: Any) -> None:
    """Let a user do what a policy (as OVH imports it) allows and nothing else."""
    _put(world, "policies.json", {user: policy})


def fault(world: World, **kinds: Any) -> None:
    """Let writes below a folder go wrong from now on; without any, none does. The kinds are in sandbox_storage.py."""
    _put(world, "faults.json", {kind: {"data": value} for kind, value in kinds.items()})


def revoke(world: World, user: str, *, again: bool = False) -> None:
    """Make the key of a user worth nothing, or what it was before."""
    _, secret = credentials(world, user)
    secrets_of = {SERVER: credentials(world, SERVER)[1], OWNER: credentials(world, OWNER)[1]}
    machine = load(world.name, NAME)
    text = _proxy(secrets_of | {user: secret if again else secrets.token_hex(16)})
    machine.run(["sh", "-c", "cat > /etc/swift/proxy-server.conf && systemctl restart swift@proxy"], input=text)
    if not within(SECONDS, lambda: _answers(machine), pause=0.2):
        raise SandboxError(f"swift on {NAME} did not come back within {SECONDS} s")


def limit(world: World, room: int | None) -> None:
    """Leave so many bytes on the disk of the store, or, with None, as many as there were."""
    size = f"$(( $(df --output=used -B1 {DISK} | tail -1) + {room} ))" if room is not None else DISK_SIZE
    load(world.name, NAME).run(["sh", "-c", f"mount -o remount,size={size} {DISK}"])


def objects(world: World, below: str = "") -> list[str]:
    """Return the keys in the bucket, in order."""
    listed = ask(world, f"'{endpoint()}/{BUCKET}?prefix={below}'")
    return re.findall("<Key>([^<]+)", listed)


def ask(world: World, request: str) -> str:
    """Return what the store answers its owner; `request` is for curl. Raises SandboxError."""
    key, secret = credentials(world, OWNER)
    sign = f"--user {shlex.quote(f'{key}:{secret}')} --aws-sigv4 aws:amz:{names.STORAGE_REGION}:s3"
    return load(world.name, NAME).run(["sh", "-c", f"curl -sf {sign} {request}"]).stdout


def _answers(machine: Machine) -> bool:
    if not machine.alive:
        raise SandboxError(f"{machine.name} ended; see {machine.console}")
    return machine.run(["curl", "-sf", f"{endpoint()}/healthcheck"], check=False).returncode == 0


def _configure(world: World, root: Path) -> None:
    certificate, key = ca.issue([names.STORAGE])
    both = {user: credentials(world, user)[1] for user in (SERVER, OWNER)}
    for path, content, mode in (
        (f"{ETC}/tls.crt", certificate, 0o644),
        (f"{ETC}/tls.key", key, 0o600),
        ("/etc/swift/proxy-server.conf", _proxy(both).encode(), 0o644),
        (f"{ETC}/users.json", json.dumps({credentials(world, user)[0]: user for user in both}).encode(), 0o644),
    ):
        file = root / path.lstrip("/")
        file.touch(mode=mode)
        file.write_bytes(content)
        file.chmod(mode)
    with (root / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {names.STORAGE}\n")


def _proxy(users: dict[str, str]) -> str:
    """Return the configuration of swift's front with these users, who share one account."""
    template = (_HERE / "proxy-server.conf").read_text()
    return template + "".join(f"user_offsite_{user} = {secret} .admin\n" for user, secret in users.items())


def _put(world: World, name: str, data: Any) -> None:
    load(world.name, NAME).run(["sh", "-c", f"cat > {ETC}/new && mv {ETC}/new {ETC}/{name}"], input=json.dumps(data))
