"""The first start of the control plane, while its template is built: schemas, accounts, flavors, images, network.

It runs in a chroot with a network and processes of its own and without systemd, so it starts by itself what the units
start.
"""

import configparser
import contextlib
import json
import os
import shlex
import shutil
import signal
import socketserver
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openstack

REGION = "GRA11"
PASSWORD = "sandbox"  # noqa: S105  # of accounts that exist in this machine only
DATABASES = ("keystone", "placement", "glance", "neutron", "nova_api", "nova", "nova_cell0")
PORTS = {
    ("identity", "keystone"): ":5000/v3",
    ("placement", "placement"): ":8778",
    ("compute", "nova"): ":8774/v2.1",
    ("network", "neutron"): ":9696",
    ("image", "glance"): ":9292",
}
# Name, vCPU, MB of memory, GB of disk: as OVH offers them (its catalogue of 2026).
FLAVORS = (("d2-2", 1, 2000, 25), ("d2-4", 2, 4000, 50), ("d2-8", 4, 8000, 50), ("b3-8", 2, 8000, 50))
# Name and the user of its first login, in the property in which OVH says it.
IMAGES = (("Ubuntu 22.04", "ubuntu"), ("Debian 12", "debian"), ("Debian 13", "debian"))
STARTED = time.monotonic()
RUNNING: dict[str, subprocess.Popen[bytes]] = {}


def say(text: str) -> None:
    """Print what was done, with the seconds since the start."""
    line = f"{time.monotonic() - STARTED:6.1f} s  {text}"
    print(line, flush=True)
    with Path("/var/log/first-start.log").open("a") as log:
        log.write(line + "\n")


def run(command: str) -> None:
    """Run a command; if it fails, end with what it printed."""
    done = subprocess.run(
        shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    say(command)


def service(name: str) -> None:
    """Start what the unit openstack-<name> starts."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys as written
    unit.read(f"/etc/systemd/system/openstack-{name}.service")
    words = shlex.split(unit["Service"].get("Environment", ""))
    environment = {**os.environ, **dict(word.split("=", 1) for word in words)}
    with Path(f"/tmp/{name}.log").open("ab") as log:  # noqa: S108  # a file system of this build alone
        RUNNING[name] = subprocess.Popen(
            shlex.split(unit["Service"]["ExecStart"]), stdout=log, stderr=log, env=environment
        )


def stop(name: str, number: int) -> None:
    """End a service and wait for it."""
    RUNNING[name].send_signal(number)
    try:
        RUNNING[name].wait(30)
    except subprocess.TimeoutExpired:
        RUNNING[name].kill()


def until(what: str, condition: object, seconds: float = 120) -> None:
    """Wait until the callable `condition` is true; errors count as not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if condition():  # type: ignore[operator]  # a callable
                say(what)
                return
        time.sleep(0.2)
    for name in RUNNING:
        log = Path(f"/tmp/{name}.log").read_text(errors="replace")  # noqa: S108  # see service
        print(f"--- {name}\n{log[-3000:]}")
    raise SystemExit(f"not in {seconds:.0f} s: {what}")


def sql(statement: str) -> str:
    """Run a statement as the database's root."""
    command = ["mariadb", "--socket=/run/mysqld/mysqld.sock", "-N", "-e", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def database_url(name: str) -> str:
    """How a service connects to one of the databases."""
    return f"mysql+pymysql://root@localhost/{name}?unix_socket=/run/mysqld/mysqld.sock"


def keystone() -> None:
    """Make the database, the keys and the first account of Keystone, and its own entries in the catalogue."""
    run("keystone-manage db_sync")
    for kind in ("fernet", "credential"):
        run(f"keystone-manage {kind}_setup --keystone-user root --keystone-group root")
    here = "http://127.0.0.1:5000/v3"
    run(
        f"keystone-manage bootstrap --bootstrap-password {PASSWORD} --bootstrap-region-id {REGION} "
        f"--bootstrap-internal-url {here} --bootstrap-public-url http://control:5000/v3 --bootstrap-admin-url {here}"
    )


def nova() -> None:
    """Make the databases of Nova and its one cell."""
    run("nova-manage api_db sync")
    run(f"nova-manage cell_v2 map_cell0 --database_connection {database_url('nova_cell0')}")
    run("nova-manage db sync")
    run("nova-manage cell_v2 create_cell --name cell1")


def schemas() -> None:
    """Make all databases, as many at once as there are processors; the longest first."""
    for name in DATABASES:
        sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb3")
    neutron = "neutron-db-manage --config-file /etc/neutron/neutron.conf upgrade heads"
    jobs = (
        nova,
        lambda: run(neutron),
        keystone,
        lambda: run("glance-manage db_sync"),
        lambda: run("placement-manage db sync"),
    )
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def connection(project: str = "admin", user: str = "admin") -> openstack.connection.Connection:
    """Log in; anew after every change of the catalogue, since a token carries the catalogue."""
    return openstack.connection.Connection(
        auth_url="http://127.0.0.1:5000/v3", username=user, password=PASSWORD, project_name=project,
        user_domain_name="Default", project_domain_name="Default", region_name=REGION, interface="internal",
    )  # fmt: skip


def accounts() -> dict[str, str]:
    """Make the accounts of services and operator, and the catalogue; return what the operator logs in with."""
    cloud = connection()
    identity: Any = cloud.identity  # of version 3, which its type does not say
    service_project = identity.create_project(name="service", domain_id="default")
    account = identity.create_user(name="service", password=PASSWORD, domain_id="default")
    project = identity.create_project(name="koprogo-sandbox", domain_id="default")
    user = identity.create_user(name="demo", password=PASSWORD, domain_id="default")
    roles = {role.name: role for role in identity.roles()}
    roles.setdefault("service", identity.find_role("service") or identity.create_role(name="service"))
    for name in ("admin", "service"):
        identity.assign_project_role_to_user(service_project, account, roles[name])
    identity.assign_project_role_to_user(project, user, roles["member"])
    for (kind, name), place in PORTS.items():
        if kind == "identity":
            continue
        entry = identity.create_service(name=name, type=kind)
        for interface, host in (("public", "control"), ("internal", "127.0.0.1")):
            url = f"http://{host}{place}"
            identity.create_endpoint(service_id=entry.id, interface=interface, url=url, region_id=REGION)
    say("accounts and catalogue")
    return {
        "OS_USERNAME": "demo", "OS_PASSWORD": PASSWORD, "OS_PROJECT_ID": project.id,
        "OS_PROJECT_NAME": project.name, "OS_TENANT_NAME": project.name, "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": REGION, "OS_IDENTITY_API_VERSION": "3",
    }  # fmt: skip


def network(cloud: openstack.connection.Connection, project: str) -> None:
    """Make Ext-Net as at OVH, with addresses that each sandbox writes its own over (see addresses.py)."""
    net = cloud.network.create_network(
        name="Ext-Net", provider_network_type="flat", provider_physical_network="public",
        is_router_external=True, is_shared=True,
    )  # fmt: skip
    for version, prefix, length in ((4, "10.77.0.", "0/24"), (6, "fd77:77:77::", "/64")):
        cloud.network.create_subnet(
            network_id=net.id, name=f"Ext-Net-ipv{version}", ip_version=version, is_dhcp_enabled=False,
            cidr=f"{prefix}{length}", gateway_ip=f"{prefix}1",
            allocation_pools=[{"start": f"{prefix}100", "end": f"{prefix}199"}],
        )  # fmt: skip
    # OVH's default group lets everything in.
    default = next(iter(cloud.network.security_groups(project_id=project, name="default")))
    for ether in ("IPv4", "IPv6"):
        cloud.network.create_security_group_rule(
            security_group_id=default.id, project_id=project, direction="ingress", ether_type=ether
        )
    say("Ext-Net")


def seed(project: str) -> None:
    """Make flavors, images and the network through the public API."""
    cloud = connection()
    for name, vcpus, memory, disk in FLAVORS:
        cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=memory, disk=disk)
    say("flavors")
    for name, user in IMAGES:
        cloud.create_image(
            name, data=b"The disk is the sandbox's own root file system.", container_format="bare",
            disk_format="raw", visibility="public", min_disk=0, wait=True,
            meta={"image_original_user": user, "stand_in": "Debian 13 of the sandbox, whatever the name says"},
        )  # fmt: skip
    say("images")
    network(cloud, project)


class NoServers(socketserver.StreamRequestHandler):
    """Answers in place of the host: there are no servers yet."""

    def handle(self) -> None:
        """Read the request and answer it."""
        self.rfile.readline()
        self.wfile.write(b'{"result": {}}\n')


def hypervisor() -> None:
    """Let nova-compute and Neutron start, which ask the host what runs and tell it what is allowed."""
    Path("/hypervisor").mkdir(exist_ok=True)
    server = socketserver.ThreadingUnixStreamServer("/hypervisor/socket", NoServers)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def answers(port: str) -> bool:
    """Whether an API answers, even if only that one has to log in."""
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", f"http://127.0.0.1{port}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout not in {"000", "500", "503"}


def main() -> None:
    """Everything, and a clean stop at the end."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/run/mysqld").mkdir(exist_ok=True)
    shutil.chown("/run/mysqld", "mysql", "mysql")
    for folder in ("nova/lock", "neutron/lock", "glance/images", "keystone"):
        Path("/var/lib", folder).mkdir(parents=True, exist_ok=True)
    service("database")
    service("queue")
    until("the database answers", lambda: sql("SELECT 1"))
    schemas()
    hypervisor()
    service("api")
    until("Keystone answers", lambda: answers(":5000/v3"))
    variables = accounts()
    service("nova")
    for place in PORTS.values():
        until(f"{place} answers", lambda place=place: answers(place))
    seed(variables["OS_PROJECT_ID"])
    until("nova-compute is there", lambda: sql("SELECT id FROM nova.compute_nodes"))
    run("nova-manage cell_v2 discover_hosts")
    Path("/etc/openstack").mkdir(exist_ok=True)
    Path("/etc/openstack/credentials.json").write_text(json.dumps(variables, indent=1))
    stop("nova", signal.SIGTERM)
    stop("api", signal.SIGQUIT)
    stop("queue", signal.SIGTERM)
    stop("database", signal.SIGTERM)
    Path("/hypervisor/socket").unlink()
    say("stopped")


if __name__ == "__main__":
    main()
