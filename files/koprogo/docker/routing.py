"""Two versions of a service side by side behind Traefik: whose requests go where. Pure; nothing here runs anything.

Traefik (3, Docker provider) reads labels, which cannot be changed on a container that runs, and names that two
containers define differently are an error for both. So each new container gets names of its own for its routers,
services and middlewares, and its routers a higher priority than those of the container that it takes over from: as soon
as it is healthy, Traefik knows its routers, and every new request is its. The old one then has only those left that it
was answering.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Spec = Mapping[str, Any]
"""A service as `docker compose config --format json` prints it."""

RELEASE = "koprogo.release"
"""Label: what the container was made from, as `release` tells it."""
GENERATION = "koprogo.generation"
"""Label: the how-manieth container of its service it is; the higher one is asked."""
SCHEMA = "koprogo.schema"
"""Label, of the compose file: a name for the form of the data; where it changes, there is no way back to old code."""
HEADER = "X-Koprogo-Generation"
"""With it a container's router marks what it answered."""

WEB_PORTS = frozenset({"80", "443"})

NO_HEALTH_CHECK = "it has no health check"

_SCALE = 1_000_000
"""Room for generations between two priorities that the compose file tells apart."""
_PREFIX = "traefik.http."
_ROUTER = re.compile(r"traefik\.http\.routers\.([^.]+)\.(.+)", re.IGNORECASE)
_DEFINED = re.compile(r"traefik\.http\.(routers|services|middlewares)\.([^.]+)\.", re.IGNORECASE)
_REFERENCES = re.compile(r"(\.middlewares|\.routers\.[^.]+\.service|\.errors\.service)$", re.IGNORECASE)


def release(spec: Spec, image_id: str | None, given: Mapping[str, Any] | None = None) -> str:
    """Return a short name for exactly this definition with exactly this image, and what is `given` beside that."""
    text = json.dumps([spec, image_id, given] if given else [spec, image_id], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_place(spec: Spec, image: Mapping[str, Any]) -> str | None:
    """Return why two containers of a service cannot run side by side; None when they can.

    `image` is what its image says (`Healthcheck`, `Volumes`).
    """
    labels = _labels(spec)
    reasons = {
        "Traefik does not route to it": not any(_is_rule(name) for name in labels),
        "it publishes ports": bool(spec.get("ports")),
        "it has the network of something else": bool(spec.get("network_mode")),
        "it has a fixed address": any(_fixed(net) for net in (spec.get("networks") or {}).values()),
        # One more container would have an empty one; Compose hands it on to one that takes the place of another.
        "it has a volume without a name": _has_unnamed_volume(spec, image.get("Volumes") or {}),
        NO_HEALTH_CHECK: not has_health_check(spec, image.get("Healthcheck")),
        "it has more than one replica": replicas(spec) != 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def closes_fast(spec: Spec) -> bool:
    """Whether a service is what everybody comes in by, and the compose file says nothing of how it has to end."""
    return is_door(spec) and not spec.get("stop_grace_period")


def is_door(spec: Spec) -> bool:
    """Whether a service is what everybody comes in by."""
    return any(str(port.get("published")) in WEB_PORTS for port in spec.get("ports") or ())


def has_health_check(spec: Spec, image: Mapping[str, Any] | None) -> bool:
    """Whether Docker will say when a container is healthy; `image` is the image's own `Healthcheck`, if it has one."""
    own = spec.get("healthcheck") or {}
    if own.get("disable") or (own.get("test") or [""])[0] == "NONE":
        return False
    return bool(own.get("test")) or bool(image)


def beside(spec: Spec, generation: int, made_from: str, shared: Iterable[str] = ()) -> dict[str, Any]:
    """Return the service as it can run beside an older container of itself; `shared` as `shared_names` tells them."""
    labels = _labels(spec)
    own = _own(labels)
    renamed = {
        _renamed(name, own, generation): _referring(name, text, own, generation) for name, text in labels.items()
    }
    kept = {name: text for name, text in labels.items() if _defines(name) in {*shared}}
    mark = f"koprogo-{generation}"
    extra = {f"{_PREFIX}middlewares.{mark}.headers.customresponseheaders.{HEADER}": str(generation)}
    for router in sorted(own["routers"]):
        base = f"{_PREFIX}routers.{router}-{generation}"
        extra[f"{base}.priority"] = str(priority(labels, router, generation))
        listed = renamed.get(f"{base}.middlewares", "")
        extra[f"{base}.middlewares"] = f"{listed},{mark}" if listed else mark
        if f"{base}.service" not in renamed:
            extra |= _service(base, router, own["services"], generation)
    made = {key: value for key, value in spec.items() if key != "container_name"}
    made["labels"] = {**kept, **renamed, **extra, RELEASE: made_from, GENERATION: str(generation)}
    return made


def alone(spec: Spec, made_from: str) -> dict[str, Any]:
    """Return the service as it is replaced in place: its routers keep their rank among those of `beside`."""
    labels = _labels(spec)
    extra = {
        f"{_PREFIX}routers.{router}.priority": str(priority(labels, router, 0)) for router in _own(labels)["routers"]
    }
    return {**spec, "labels": {**labels, **extra, RELEASE: made_from}}


def priority(labels: Mapping[str, str], router: str, generation: int) -> int:
    """Return the priority of a router: first what the compose file says (else Traefik's own), then the generation."""
    said = labels.get(f"{_PREFIX}routers.{router}.priority")
    rule = labels.get(f"{_PREFIX}routers.{router}.rule", "")
    # Where nothing is said, Traefik takes the length of the rule.
    rank = int(said) if said and said.isdigit() else len(rule.replace("$$", "$"))
    return rank * _SCALE + generation


def shared_names(services: Mapping[str, Spec]) -> set[str]:
    """Return the middlewares and services that one service defines and another one refers to."""
    defined = {name: set().union(*_own(_labels(spec)).values()) for name, spec in services.items()}
    used = {name: _used(_labels(spec)) for name, spec in services.items()}
    return {
        word for name, words in used.items() for other, own in defined.items() if other != name for word in words & own
    }


def wants(spec: Spec, name: str, volumes: Mapping[str, Any]) -> set[str]:
    """Return what a service's container, of this name, takes for itself: `volumes` are those of the compose file.

    A container of a service that there is no more may have them, as where a service was renamed.
    """
    mounted = (v for v in spec.get("volumes") or () if v.get("type") == "volume" and v.get("source"))
    named = {f"volume {(volumes.get(v['source']) or {}).get('name', v['source'])}" for v in mounted}
    published = (port for port in spec.get("ports") or () if port.get("published"))
    ports = {f"port {port['published']}/{port.get('protocol', 'tcp')}" for port in published}
    return {f"name {name}", *named, *ports, *(f"router {router}" for router in routers_of(_labels(spec)))}


def routers_of(labels: Mapping[str, str]) -> set[str]:
    """Return the names of the routers that labels define."""
    return _own(labels)["routers"]


def schema(spec: Spec) -> str:
    """Return what a service calls the form of its data; "" if it says nothing."""
    return _labels(spec).get(SCHEMA, "")


def hosts(spec: Spec) -> set[str]:
    """Return the names that the service's routers answer for."""
    rules = [text for name, text in _labels(spec).items() if _is_rule(name)]
    found = (re.findall(r"Host\(([^)]*)\)", rule) for rule in rules)
    return {host.lower() for calls in found for call in calls for host in re.findall(r"[`\"']([^`\"']+)[`\"']", call)}


def order(services: Mapping[str, Spec]) -> list[str]:
    """Return the services so that each comes after those that it depends on, and whoever has ports 80 and 443 last."""
    done: list[str] = []
    doors = {name for name, spec in services.items() if is_door(spec)}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in done or name in above or name not in services:
            return
        for other in sorted(services[name].get("depends_on") or {}):
            visit(other, above | {name})
        done.append(name)

    for name in sorted(services, key=lambda each: (each in doors, each)):
        visit(name, frozenset())
    return [name for name in done if name not in doors] + [name for name in done if name in doors]


def replicas(spec: Spec) -> int:
    """Return how many containers a service shall have."""
    return int((spec.get("deploy") or {}).get("replicas") or spec.get("scale", 1))


def _has_unnamed_volume(spec: Spec, of_image: Mapping[str, Any]) -> bool:
    mounts = spec.get("volumes") or ()
    named = {mount.get("target") for mount in mounts if mount.get("type") != "volume" or mount.get("source")}
    temporary = {str(entry).partition(":")[0] for entry in spec.get("tmpfs") or ()}
    unnamed = {mount.get("target") for mount in mounts} - named
    return bool(unnamed or {*of_image} - named - temporary)


def _fixed(network: Any) -> bool:
    return bool(network) and bool(network.get("ipv4_address") or network.get("ipv6_address"))


def _labels(spec: Spec) -> Mapping[str, str]:
    return spec.get("labels") or {}


def _is_rule(label: str) -> bool:
    found = _ROUTER.fullmatch(label)
    return found is not None and found[2].lower() == "rule"


def _defines(label: str) -> str | None:
    found = _DEFINED.match(label)
    return found[2] if found else None


def _own(labels: Mapping[str, str]) -> dict[str, set[str]]:
    """What the labels define: "routers", "services", "middlewares" → names."""
    own: dict[str, set[str]] = {"routers": set(), "services": set(), "middlewares": set()}
    for label in labels:
        if found := _DEFINED.match(label):
            own[found[1].lower()].add(found[2])
    return own


def _used(labels: Mapping[str, str]) -> set[str]:
    lists = (text for label, text in labels.items() if _REFERENCES.search(label))
    return {word.strip().removesuffix("@docker") for text in lists for word in text.split(",")}


def _renamed(label: str, own: Mapping[str, set[str]], generation: int) -> str:
    found = _DEFINED.match(label)
    if found is None or found[2] not in own[found[1].lower()]:
        return label
    return f"{_PREFIX}{found[1].lower()}.{found[2]}-{generation}.{label[found.end() :]}"


def _referring(label: str, text: str, own: Mapping[str, set[str]], generation: int) -> str:
    if not _REFERENCES.search(label):
        return text
    names = own["services"] | own["middlewares"]
    words = (word.strip() for word in text.split(","))
    bare = ((word, word.removesuffix("@docker")) for word in words)
    return ",".join(f"{name}-{generation}" if name in names else word for word, name in bare)


def _service(base: str, router: str, services: set[str], generation: int) -> dict[str, str]:
    """The service of a router that names none: the only one there is, else one by the image's own port."""
    if len(services) == 1:
        return {f"{base}.service": f"{next(iter(services))}-{generation}"}
    name = f"{router}-{generation}"
    return {f"{base}.service": name, f"{_PREFIX}services.{name}.loadbalancer.passhostheader": "true"}
