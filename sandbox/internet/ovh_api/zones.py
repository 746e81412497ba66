"""/domain/zone: zones, their records, what is served of them."""

import hashlib
import uuid
from typing import Any

from .answers import NO_CONTENT
from .context import Context
from .errors import bad_request, no_object
from .records import Record, changed_record, matches, new_record
from .schema import check_body
from .zonefile import SOA, parse, render


def list_zones(call: Context) -> list[str]:
    """Return the zones' names; a service account sees those that a policy shows it."""
    names = call.store.names()
    if call.request.bearer is None:
        return names
    return [name for name in names if call.account.allows(call.caller, "dnsZone:apiovh:get", name)]


def show_zone(call: Context) -> dict[str, Any]:
    """Return domain.zone.ZoneWithIAM."""
    zone = call.store.zone(call.zone)
    return {
        "name": call.zone,
        "nameServers": _name_servers(zone["records"]),
        "dnssecSupported": True,
        "hasDnsAnycast": False,
        "lastUpdate": zone["lastUpdate"],
        "iam": {
            "id": str(uuid.UUID(hashlib.md5(call.zone.encode(), usedforsecurity=False).hexdigest())),
            "urn": f"urn:v1:eu:resource:dnsZone:{call.zone}",
            "displayName": call.zone,
            "state": "OK",
            "tags": None,
        },
    }


def list_records(call: Context) -> list[int]:
    """Return the ids of the records that both filters match; one that is absent matches all.

    Both are published as patterns, and of the type one is only taken if it is a type.
    """
    kind, sub = call.filter("fieldType"), call.filter("subDomain")
    return [
        record["id"]
        for record in call.store.zone(call.zone)["records"]
        if kind in (None, record["fieldType"]) and (sub is None or matches(sub, record["subDomain"]))
    ]


def create_record(call: Context) -> Record:
    """Return the new domain.zone.Record."""
    body = call.body
    return call.store.create(call.zone, lambda others: new_record(call.zone, body, others))


def show_record(call: Context) -> Record:
    """Return domain.zone.Record."""
    return call.store.record(call.zone, call.id)


def update_record(call: Context) -> None:
    """Change what the body names."""
    body = call.body
    call.store.update(call.zone, call.id, lambda old, others: changed_record(old, body, others))


def delete_record(call: Context) -> None:
    """Delete the record."""
    call.store.delete(call.zone, call.id)


def refresh(call: Context) -> Any:
    """Have the name servers serve what the API shows."""
    check_body("void", call.body)
    call.store.refresh(call.zone)
    return NO_CONTENT


def status(call: Context) -> dict[str, Any]:
    """Return domain.zone.Status: how the last deployment went, a refresh under way or not.

    So it was in 23 of 23 calls within four seconds after a refresh, in traffic with OVH that Lexicon's tests recorded
    (tests/fixtures/cassettes/ovh, 2018); Lexicon, and so certbot, do nothing in a zone that is not deployed.
    """
    errors = call.store.zone(call.zone)["errors"]
    return {"isDeployed": not errors, "errors": errors or None, "warnings": None}


def soa(call: Context) -> dict[str, Any]:
    """Return domain.zone.Soa."""
    zone = call.store.zone(call.zone)
    return {
        "server": f"{(_name_servers(zone['records']) or [call.zone])[0]}.",
        "email": f"tech.{call.zone}.",
        "serial": zone["serial"],
        **{name: value for name, value in SOA.items() if name != "retry"},
    }


def list_tasks(call: Context) -> list[int]:
    """Return the ids of the tasks of this function and status."""
    wanted = {name: value for name, value in call.request.query.items() if value}
    tasks: list[Any] = list(call.store.zone(call.zone)["tasks"])
    return [task["id"] for task in tasks if all(task[name] == value for name, value in wanted.items())]


def show_task(call: Context) -> Any:
    """Return domain.zone.Task."""
    for task in call.store.zone(call.zone)["tasks"]:
        if task["id"] == call.id:
            return task
    raise no_object(call.id)


def export(call: Context) -> str:
    """Return the zone file of what the API shows."""
    zone = call.store.zone(call.zone)
    server = (_name_servers(zone["records"]) or [call.zone])[0]
    return render(call.zone, zone["serial"], zone["records"], server)


def import_zone(call: Context) -> Any:
    """Replace all records by those of the zone file, which get new ids, and serve them; returns the task."""
    text = check_body("domain.zone.Import", call.body)["zoneFile"]
    records: list[Record] = []
    try:
        for body in parse(text):
            records.append(new_record(call.zone, body, records) | {"id": call.store.new_id()})
    except ValueError as error:
        raise bad_request(f"Invalid line in the zone file: {error}") from None
    with call.store.changing(call.zone) as zone:
        zone["records"] = records
        zone["redirections"], zone["dynhosts"] = [], []
    return call.store.refresh(call.zone, "ZoneImport")


def _name_servers(records: list[Record]) -> list[str]:
    apex = (record for record in records if record["subDomain"] == "" and record["fieldType"] == "NS")
    return [record["target"].rstrip(".") for record in apex]
