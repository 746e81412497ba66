"""What stands in the way of a plan before anything is made, asked of a small cloud."""

import io
from pathlib import Path

import pytest
from openstack.connection import Connection
from rich.console import Console
from small_cloud import SmallCloud
from test_lease import ticket
from test_preflight import NEUTRON, NOVA, cloud, connection, quota
from test_settings import env_file, folder

import settings
from cloud.api.compute import Compute
from cloud.api.preflight import Needs
from cloud.planning import Planner
from cloud.trouble import CloudError

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
            {"id": str(number), "name": "koprogo-lease", "description": text, "security_group_rules": []}
            for number, text in enumerate(descriptions)
        ]
        cloud.answers_json("GET /v2.0/security-groups?name=koprogo-lease&project_id=p1", {"security_groups": groups})

    over, living = ticket(started="1000000000.00").description, ticket().description
    there(over, living)
    planner._room_for(Needs(groups=2))
    for lacking in (Needs(groups=3), Needs(groups=2, servers=9)):
        with pytest.raises(CloudError, match="The quota has no room: "):
            planner._room_for(lacking)
    there(living)
    with pytest.raises(CloudError, match="9 of 10 security groups in use, and 2 more needed"):
        planner._room_for(Needs(groups=2))
    assert "DELETE" not in "".join(cloud.done)  # a plan removes nothing
