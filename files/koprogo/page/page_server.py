"""Serving the status page: a container with nothing in it but one program of this server, which reads one folder.

Traefik, which the application brings, gives it a name and a certificate the way it does for the application's own
containers: the same entry points, the same resolver. It is no part of the compose project: no deploy touches it, and
its network has nobody else in it but Traefik, and no way out. The program is the static busybox of the distribution,
which keeps it up to date; it is bound into an image of no bytes, so that nothing has to be pulled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from koprogo.docker.complaints import complaint
from koprogo.docker.containers import PROJECT_LABEL
from koprogo.page.page_style import POLICY
from koprogo.problem import Problem
from koprogo.runner import Result, Runner
from koprogo.state import Deployed

NAME = "koprogo-status-page"
"""Of the container, its network, and all that Traefik knows of it."""
IMAGE = "koprogo-nothing"
MADE_FROM = "koprogo.page"
"""Label: what the container was made from; another one is made where that differs."""
DOMAIN = "koprogo.page.page.domain"
PORT = 8080
USER = "65534:65534"
"""nobody, whatever the number is called here."""

_EMPTY_ARCHIVE = "\0" * 10240
"""A tar archive without a file."""
_RESOLVER = re.compile(r"traefik\.http\.routers\.([^.]+)\.tls\.certresolver", re.IGNORECASE)

Inspected = Mapping[str, Any]
"""A container as `docker inspect` describes it."""


def ensure(runner: Runner, deployed: Deployed | None, domain: str, folder: Path) -> None:
    """See to it that `folder` is served at `domain`. Raises Problem where it cannot be."""
    if deployed is None:
        raise Problem("nothing was deployed so far, and Traefik comes with the application.")
    containers = _project(runner, deployed.project)
    front = traefik(containers)
    manner = routing(containers)
    busybox = shutil.which("busybox", path="/usr/bin:/bin")
    if front is None:
        raise Problem("no container of the application publishes port 443: nobody could serve it.")
    if manner is None:
        raise Problem("no router of the application names a certresolver: there would be no certificate.")
    if busybox is None:
        raise Problem("busybox is not there. Run deploy.py again from the operator's machine: it installs it.")
    network = _network(runner)
    if NAME not in front["NetworkSettings"]["Networks"]:
        _must(runner, "network", "connect", NAME, front["Id"])
    command = definition(domain, manner, folder=folder, busybox=busybox, network=network)
    mark = hashlib.sha256(json.dumps(command).encode()).hexdigest()[:16]
    present = _container(runner)
    if present is not None and present["State"]["Running"] and present["Config"]["Labels"].get(MADE_FROM) == mark:
        return
    if present is not None:
        _must(runner, "rm", "--force", NAME)
    if not runner.run(["docker", "image", "inspect", "--format", "ok", IMAGE]).ok:
        _must(runner, "import", "-", IMAGE, text=_EMPTY_ARCHIVE)
    _must(runner, "run", "--detach", f"--label={MADE_FROM}={mark}", *command)


def served(runner: Runner) -> str | None:
    """Return the name that the page is served at; None if it is not."""
    present = _container(runner)
    if present is None or not present["State"]["Running"]:
        return None
    name: str | None = present["Config"]["Labels"].get(DOMAIN)
    return name


def remove(runner: Runner) -> None:
    """Take the container and its network away, if they are there."""
    runner.run(["docker", "rm", "--force", NAME])
    found = runner.run(["docker", "network", "inspect", NAME])
    if not found.ok:
        return
    for member in json.loads(found.out)[0]["Containers"]:
        _must(runner, "network", "disconnect", "--force", NAME, member)
    _must(runner, "network", "rm", NAME)


def traefik(containers: Sequence[Inspected]) -> Inspected | None:
    """Return the container that answers on port 443 of this server."""
    for container in containers:
        published = (container["NetworkSettings"].get("Ports") or {}).values()
        if any(binding["HostPort"] == "443" for bindings in published for binding in bindings or ()):
            return container
    return None


def routing(containers: Sequence[Inspected]) -> tuple[str, str] | None:
    """Return the entry points and the certificates' resolver of the application's routers; the first by its name."""
    for container in sorted(containers, key=lambda each: str(each["Name"])):
        labels = container["Config"].get("Labels") or {}
        for name, resolver in sorted(labels.items()):
            found = _RESOLVER.fullmatch(name)
            points = found and labels.get(f"traefik.http.routers.{found[1]}.entrypoints")
            if points:
                return points, resolver
    return None


def definition(domain: str, manner: tuple[str, str], *, folder: Path, busybox: str, network: str) -> list[str]:
    """Return what `docker run` is told: options, image, command. `manner` is as `routing` tells it."""
    points, resolver = manner
    router, headers = f"traefik.http.routers.{NAME}", f"traefik.http.middlewares.{NAME}.headers"
    labels = {
        DOMAIN: domain,
        "traefik.enable": "true",
        "traefik.docker.network": NAME,
        f"{router}.rule": f"Host(`{domain}`)",
        f"{router}.entrypoints": points,
        f"{router}.tls.certresolver": resolver,
        f"{router}.middlewares": NAME,
        f"traefik.http.services.{NAME}.loadbalancer.server.port": str(PORT),
        f"{headers}.contentsecuritypolicy": f"{POLICY}; frame-ancestors 'none'",
        f"{headers}.contenttypenosniff": "true",
        f"{headers}.referrerpolicy": "no-referrer",
        f"{headers}.stsseconds": "31536000",
        # Whoever looks wants to see what is now.
        f"{headers}.customresponseheaders.Cache-Control": "no-cache",
    }
    return [
        f"--name={NAME}",
        *(f"--label={name}={text}" for name, text in labels.items()),
        f"--network={network}",
        "--restart=unless-stopped",
        # It takes no signal but this one, as the first process of its container.
        "--stop-signal=SIGKILL",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--user={USER}",
        "--memory=16m",
        "--memory-swap=16m",
        "--pids-limit=32",
        "--cpus=0.2",
        f"--mount=type=bind,src={busybox},dst=/busybox,readonly",
        f"--mount=type=bind,src={folder},dst=/page,readonly",
        IMAGE,
        *("/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/page"),
    ]


def _project(runner: Runner, project: str) -> list[Inspected]:
    listed = _must(runner, "ps", "--quiet", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={project}")
    ids = listed.out.split()
    return _inspected(runner.run(["docker", "container", "inspect", *ids])) if ids else []


def _container(runner: Runner) -> Inspected | None:
    return next(iter(_inspected(runner.run(["docker", "container", "inspect", NAME]))), None)


def _inspected(result: Result) -> list[Inspected]:
    # One that went away in between makes it fail: it prints the others all the same.
    found: list[Inspected] = json.loads(result.out or "[]")
    return found


def _network(runner: Runner) -> str:
    """Return the ID of the network; it is made if it is not there."""
    found = runner.run(["docker", "network", "inspect", "--format", "{{.Id}}", NAME])
    result = found if found.ok else _must(runner, "network", "create", "--internal", NAME)
    return result.out.strip()


def _must(runner: Runner, *arguments: str, text: str | None = None) -> Result:
    result = runner.run(["docker", *arguments], text=text)
    if not result.ok:
        raise Problem(f"docker {arguments[0]} {NAME}: {complaint(result)}.")
    return result
