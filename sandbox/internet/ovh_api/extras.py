"""/domain/zone/{zone}/redirection and …/dynHost/record: objects that own rows of /record.

That they own rows is public (they show in zones of every customer); the texts of a redirection's TXT rows are those
seen in customers' zones, and which number stands for which type is not confirmed.
"""

from typing import Any

from .context import Context
from .errors import no_object
from .records import Record, matches, new_record
from .schema import check_body, is_ipv4
from .store import Store
from .zone import Zone

# What OVH's web redirections answer at.
REDIRECTION_ADDRESS = "213.186.33.5"
REDIRECTION_NUMBERS = {"visible": 1, "invisible": 2, "visiblePermanent": 4}
TITLE_NUMBER = 3
DYNHOST_TTL = 60


def list_redirections(call: Context) -> list[int]:
    """Return the ids; the filter on subDomain is an equality here."""
    sub = call.filter("subDomain")
    return [r["id"] for r in call.store.zone(call.zone)["redirections"] if sub is None or r["subDomain"] == sub.lower()]


def create_redirection(call: Context) -> dict[str, Any]:
    """Return the new domain.zone.Redirection."""
    empty = {"subDomain": "", "description": None, "keywords": None, "title": None}
    fields = empty | check_body("domain.zone.RedirectionCreate", call.body)
    with call.store.changing(call.zone) as zone:
        made = {"id": call.store.new_id(), "zone": call.zone, **fields, "rows": []}
        made["subDomain"] = made["subDomain"].lower()
        _write_rows(call.store, zone, made, _redirection_rows(made))
        zone["redirections"].append(made)
    return _shown(made)


def show_redirection(call: Context) -> dict[str, Any]:
    """Return domain.zone.Redirection."""
    return _shown(_find(call.store.zone(call.zone)["redirections"], call.id))


def update_redirection(call: Context) -> None:
    """Change what the body names, and the rows with it."""
    fields = check_body("domain.zone.RedirectionUpdate", call.body)
    with call.store.changing(call.zone) as zone:
        redirection = _find(zone["redirections"], call.id)
        _write_rows(call.store, zone, redirection, _redirection_rows(redirection | fields))
        redirection |= fields


def delete_redirection(call: Context) -> None:
    """Delete the redirection and its rows."""
    with call.store.changing(call.zone) as zone:
        redirection = _find(zone["redirections"], call.id)
        _write_rows(call.store, zone, redirection, [])
        zone["redirections"].remove(redirection)


def list_dynhosts(call: Context) -> list[int]:
    """Return the ids; the filter on subDomain is a pattern."""
    sub = call.filter("subDomain")
    return [d["id"] for d in call.store.zone(call.zone)["dynhosts"] if sub is None or matches(sub, d["subDomain"])]


def create_dynhost(call: Context) -> dict[str, Any]:
    """Return the new domain.zone.dynHost.Record."""
    fields = check_body("domain.zone.dynHost.Record", call.body)
    with call.store.changing(call.zone) as zone:
        made: dict[str, Any] = {
            "id": call.store.new_id(),
            "zone": call.zone,
            "subDomain": (fields.get("subDomain") or "").lower(),
            "ip": fields.get("ip", "127.0.0.1"),
            "ttl": DYNHOST_TTL,
            "rows": [],
        }
        _write_rows(call.store, zone, made, _dynhost_rows(made))
        zone["dynhosts"].append(made)
    return _shown(made)


def show_dynhost(call: Context) -> dict[str, Any]:
    """Return domain.zone.dynHost.Record."""
    return _shown(_find(call.store.zone(call.zone)["dynhosts"], call.id))


def update_dynhost(call: Context) -> None:
    """Change what the body names, and the row with it."""
    with call.store.changing(call.zone) as zone:
        dynhost = _find(zone["dynhosts"], call.id)
        fields = check_body("domain.zone.dynHost.Record", call.body, dynhost)
        _write_rows(call.store, zone, dynhost, _dynhost_rows(dynhost | fields))
        dynhost |= fields


def delete_dynhost(call: Context) -> None:
    """Delete the DynHost record and its row."""
    with call.store.changing(call.zone) as zone:
        dynhost = _find(zone["dynhosts"], call.id)
        _write_rows(call.store, zone, dynhost, [])
        zone["dynhosts"].remove(dynhost)


def _redirection_rows(redirection: dict[str, Any]) -> list[dict[str, Any]]:
    sub, number = redirection["subDomain"], REDIRECTION_NUMBERS[redirection["type"]]
    rows = [
        {"fieldType": "A", "subDomain": sub, "target": REDIRECTION_ADDRESS},
        {"fieldType": "TXT", "subDomain": sub, "target": f"{number}|{redirection['target']}"},
    ]
    if redirection["title"]:
        rows.append({"fieldType": "TXT", "subDomain": sub, "target": f"{TITLE_NUMBER}|{redirection['title']}"})
    return rows


def _dynhost_rows(dynhost: dict[str, Any]) -> list[dict[str, Any]]:
    kind = "A" if is_ipv4(dynhost["ip"]) else "AAAA"
    return [{"fieldType": kind, "subDomain": dynhost["subDomain"] or "", "target": dynhost["ip"], "ttl": DYNHOST_TTL}]


def _write_rows(store: Store, zone: Zone, owner: dict[str, Any], bodies: list[dict[str, Any]]) -> None:
    """Put these rows in the place of those that the owner has; ApiError, and nothing changed, if they may not be."""
    kept = [record for record in zone["records"] if record["id"] not in owner["rows"]]
    rows: list[Record] = []
    for body in bodies:
        rows.append(new_record(zone["name"], body, kept) | {"id": store.new_id()})
    zone["records"][:] = kept + rows
    owner["rows"] = [row["id"] for row in rows]


def _find(objects: list[dict[str, Any]], identifier: int) -> dict[str, Any]:
    for found in objects:
        if found["id"] == identifier:
            return found
    raise no_object(identifier)


def _shown(owner: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in owner.items() if name != "rows"}
