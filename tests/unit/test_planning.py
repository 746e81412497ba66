"""What stands in the way of a plan before anything is made, asked of a small cloud."""

import io
from pathlib import Path

from openstack.connection import Connection
from rich.console import Console
from small_cloud import SmallCloud
from test_lease import ticket
from test_preflight import NEUTRON, NOVA, cloud, connection, quota
from test_settings import env_file, folder

import settings
from cloud.api.compute import Compute
from cloud.api.preflight import Needs
from cloud.plan import Action
from cloud.planning import Planner

__all__ = ["cloud", "connection", "folder"]  # the fixtures


def test_a_lease_that_is_over_counts_as_room_for_the_next(
    cloud: SmallCloud, connection: Connection, folder: Path
) -> None:
    quota(cloud, NOVA, NEUTRON | {"security_group": (9, 0, 10)})
    planner = Planner(
        settings.load_cloud(env_file(folder)), Compute(connection, lambda _: None), Console(file=io.StringIO())
    )

    def there(*descriptions: str) -> None:
        groups = [
            {"id": str(number), "name": f"koprogo-lease-{number:012x}", "description": text, "security_group_rules": []}
            for number, text in enumerate(descriptions)
        ]
        cloud.answers_json("GET /v2.0/security-groups?project_id=p1", {"security_groups": groups})

    over, living = ticket(started="1").description, ticket().description
    there(over, living)
    assert planner._lack_of_room(Needs(groups=2)) == []
    for lacking in (Needs(groups=3), Needs(groups=2, servers=9)):
        assert planner._lack_of_room(lacking)[0].startswith("The quota has no room: ")
    there(living)
    (line,) = planner._lack_of_room(Needs(groups=2))
    assert "9 of 10 security groups in use, and 2 more needed" in line
    assert "DELETE" not in "".join(cloud.done)  # a plan removes nothing


NOTHING: dict[str, dict[str, list[str]]] = {
    "GET /v2.0/security-groups?name=koprogo&project_id=p1": {"security_groups": []},
    "GET /nova/v2.1/servers/detail?name=%5Ekoprogo%24": {"servers": []},
}


def test_every_mistake_is_in_the_plan_at_once(cloud: SmallCloud, connection: Connection, folder: Path) -> None:
    for call, answer in NOTHING.items():
        cloud.answers_json(call, answer)
    cloud.answers_json("GET /nova/v2.1/os-keypairs/koprogo", {"itemNotFound": {"message": "no"}}, 404)
    loaded = settings.load_cloud(env_file(folder, FLAVOR="d2-3", IMAGE="Ubuntu 22"))
    planned = Planner(loaded, Compute(connection, lambda _: None), Console(file=io.StringIO())).plan()
    assert planned.plan.problems == (
        "FLAVOR: the cloud has no 'd2-3' here. It has: d2-4, d2-2.",
        "IMAGE: the cloud has no 'Ubuntu 22' here. It has: Ubuntu 22.04, Ubuntu 24.04, Ubuntu 22.04 - UEFI, Debian 12.",
    )
    assert [change.action for change in planned.plan.changes if change.action is Action.CREATE] != []
    assert planned.have.size is None
