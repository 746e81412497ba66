"""What preflight makes of the answers of Nova, Glance and Neutron: openstacksdk, and a small server in their place."""

from collections.abc import Iterator
from typing import Any

import pytest
from keystoneauth1.identity.v3 import Password
from openstack.connection import Connection
from small_cloud import SmallCloud, running

from cloud.api.patience import PatientSession
from cloud.api.preflight import Needs, flavor_only, lack_of_room, parts
from cloud.resources import Server
from cloud.trouble import CloudError


def flavor(name: str, vcpus: int, ram: int, disk: int, disabled: bool = False) -> dict[str, Any]:
    size = {"vcpus": vcpus, "ram": ram, "disk": disk, "OS-FLV-DISABLED:disabled": disabled}
    return {"id": f"f-{name}", "name": name, **size}


def image(name: str, created: str = "2026-01-01", visibility: str = "public", **more: int) -> dict[str, Any]:
    stamp = f"{created}T00:00:00Z"
    return {"id": f"{name} {created}", "name": name, "created_at": stamp, "visibility": visibility, **more}


FLAVORS = [flavor("d2-2", 1, 2000, 25), flavor("d2-4", 2, 4000, 50), flavor("old", 1, 2000, 25, disabled=True)]
IMAGES = [
    image("Ubuntu 22.04"),
    image("Ubuntu 24.04"),
    image("Ubuntu 22.04 - UEFI"),
    image("Debian 12"),
    image("Ubuntu 20.04 - deprecated 2025-05-31", "2020-05-01"),
]
NETWORKS = [{"id": "n1", "name": "Ext-Net"}, {"id": "n2", "name": "private"}]


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with running() as cloud:
        endpoints = {"compute": f"{cloud.url}/nova/v2.1", "image": f"{cloud.url}/glance", "network": cloud.url}
        catalog = [
            {"type": type_, "endpoints": [{"region": "GRA11", "interface": "public", "url": url, "id": type_}]}
            for type_, url in endpoints.items()
        ]
        token = {
            "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
            "project": {"id": "p1", "name": "p", "domain": {"id": "d", "name": "d"}},
            "methods": ["password"],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2100-01-01T00:00:00.000000Z",
            "catalog": catalog,
        }
        cloud.answers_json("POST /v3/auth/tokens", {"token": token}, 201, **{"X-Subject-Token": "t"})
        nova = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1", "links": []}
        cloud.answers_json(
            "GET /nova/v2.1", {"version": nova | {"links": [{"rel": "self", "href": endpoints["compute"]}]}}
        )
        glance = {"id": "v2.17", "status": "CURRENT", "links": [{"rel": "self", "href": f"{cloud.url}/glance/v2/"}]}
        cloud.answers_json("GET /glance", {"versions": [glance]}, 300)
        cloud.answers_json("GET /nova/v2.1/flavors/detail?is_public=None", {"flavors": FLAVORS})
        lists(cloud)
        yield cloud


def lists(cloud: SmallCloud, images: list[dict[str, Any]] = IMAGES, networks: list[dict[str, Any]] = NETWORKS) -> None:
    """Answer for all of these, and for each name, as MySQL does, in capitals or not."""
    for service, kind, path, ones in (
        ("glance/v2", "images", "images?{}status=active", images),
        ("v2.0", "networks", "networks?{}", networks),
    ):
        cloud.answers_json(f"GET /{service}/{path.format('').rstrip('?')}", {kind: ones})
        for name in (
            {"ubuntu 22.04"}
            | {one["name"] for one in ones}
            | {
                "ext-net",
                "Ubuntu 20.04",
                "Ubuntu 22",
                "Debian 11",
                "Windows",
                "Ubuntu 26.10",
            }
        ):
            query = path.format(f"name={name.replace(' ', '+')}&").rstrip("&")
            found = [one for one in ones if one["name"].lower() == name.lower()]
            cloud.answers_json(f"GET /{service}/{query}", {kind: found})


@pytest.fixture
def connection(cloud: SmallCloud) -> Connection:
    auth = Password(f"{cloud.url}/v3", username="u", password="p", user_domain_id="d", project_id="p1")
    return Connection(session=PatientSession(auth, lambda _: None), region_name="GRA11")


def server(flavor: str = "d2-2", image: str = "Ubuntu 22.04", network: str = "Ext-Net") -> Server:
    return Server("koprogo", flavor, image, network, "koprogo", "koprogo", "production")


def said(connection: Connection, want: Server) -> str:
    with pytest.raises(CloudError) as caught:
        parts(connection, want)
    return str(caught.value)


def test_parts_are_found_by_a_call_each(cloud: SmallCloud, connection: Connection) -> None:
    found = parts(connection, server())
    assert (found.flavor.id, found.image.id, found.network.id) == ("f-d2-2", "Ubuntu 22.04 2026-01-01", "n1")
    assert (found.flavor.vcpus, found.flavor.ram, found.flavor.disk) == (1, 2000, 25)
    assert cloud.done == [
        "POST /v3/auth/tokens",
        "GET /nova/v2.1",
        "GET /nova/v2.1/flavors/detail?is_public=None",
        "GET /glance",
        "GET /glance/v2/images?name=Ubuntu+22.04&status=active",
        "GET /v2.0/networks?name=Ext-Net",
    ]


def test_all_unknown_names_are_said_at_once(connection: Connection) -> None:
    assert said(connection, server("d2-3", "Ubuntu 22", "ext-net")).splitlines() == [
        "FLAVOR: the cloud has no 'd2-3' here. It has: d2-4, d2-2.",
        "IMAGE: the cloud has no 'Ubuntu 22' here. It has: Ubuntu 22.04, Ubuntu 24.04, Ubuntu 22.04 - UEFI, Debian 12.",
        "NETWORK: the cloud has no 'ext-net' here. It has: Ext-Net.",
    ]


def test_capitals_count(connection: Connection) -> None:
    assert said(connection, server(image="ubuntu 22.04")).startswith("IMAGE: the cloud has no 'ubuntu 22.04' here.")


def test_a_flavor_that_is_disabled_is_none(connection: Connection) -> None:
    assert said(connection, server("old")) == "FLAVOR: the cloud has no 'old' here. It has: d2-2, d2-4."


@pytest.mark.parametrize(
    ("more", "want", "line"),
    [
        ([], "Ubuntu 20.04", "'Ubuntu 20.04' is deprecated here. Take Ubuntu 22.04 or Ubuntu 24.04 instead."),
        (
            [image("Debian 11 deprecated"), image("Debian 10")],
            "Debian 11",
            "'Debian 11' is deprecated here. Take Debian 12 instead.",
        ),
        (
            [image("Ubuntu 26.10 deprecated")],
            "Ubuntu 26.10",
            "'Ubuntu 26.10' is deprecated here. Take Ubuntu 24.04 instead.",
        ),
        (
            [image("Windows Deprecated")],
            "Windows",
            "the cloud has no 'Windows' here. It has: Debian 12, Ubuntu 22.04, Ubuntu 22.04 - UEFI, Ubuntu 24.04.",
        ),
    ],
)
def test_a_deprecated_image_has_successors(
    cloud: SmallCloud, connection: Connection, more: list[dict[str, Any]], want: str, line: str
) -> None:
    lists(cloud, [*IMAGES, *more])
    assert said(connection, server(image=want)) == f"IMAGE: {line}"


def test_of_images_with_one_name_the_newest_of_the_clouds_own_is_taken(
    cloud: SmallCloud, connection: Connection
) -> None:
    name = "Ubuntu 22.04"
    lists(cloud, [image(name, "2026-01-01"), image(name, "2026-03-01"), image(name, "2026-02-01")])
    assert parts(connection, server()).image.id == "Ubuntu 22.04 2026-03-01"
    lists(cloud, [image(name, "2026-01-01"), image(name, "2026-03-01", "private")])
    assert parts(connection, server()).image.id == "Ubuntu 22.04 2026-01-01"
    lists(cloud, [image(name, "2026-03-01", "private")])
    assert parts(connection, server()).image.id == "Ubuntu 22.04 2026-03-01"


def test_an_image_may_be_too_large_for_a_flavor(cloud: SmallCloud, connection: Connection) -> None:
    lists(cloud, [image("Ubuntu 22.04", min_disk=30, min_ram=2048)])
    assert said(connection, server()).splitlines() == [
        "FLAVOR: d2-2 has a disk of 25 GB, and Ubuntu 22.04 needs 30.",
        "FLAVOR: d2-2 has 2000 MB of memory, and Ubuntu 22.04 needs 2048.",
    ]
    assert parts(connection, server("d2-4")).flavor.name == "d2-4"
    cloud.answers_json("GET /nova/v2.1/flavors/detail?is_public=None", {"flavors": [flavor("any-disk", 2, 4000, 0)]})
    assert parts(connection, server("any-disk")).flavor.name == "any-disk"


def test_for_a_flavor_alone_image_and_network_do_not_matter(cloud: SmallCloud, connection: Connection) -> None:
    found = flavor_only(connection, "d2-4")
    assert (found.id, found.vcpus, found.ram, found.disk) == ("f-d2-4", 2, 4000, 50)
    assert not [one for one in cloud.done if "images" in one or "networks" in one]
    with pytest.raises(CloudError) as caught:
        flavor_only(connection, "old")
    assert str(caught.value) == "FLAVOR: the cloud has no 'old' here. It has: d2-2, d2-4."


def test_two_networks_of_one_name_are_one_too_many(cloud: SmallCloud, connection: Connection) -> None:
    lists(cloud, networks=[{"id": "n2", "name": "Ext-Net"}, {"id": "n1", "name": "Ext-Net"}])
    assert said(connection, server()) == "NETWORK: there are 2 networks named 'Ext-Net' (n1, n2). Rename all but one."


def quota(
    cloud: SmallCloud, nova: dict[str, int], neutron: dict[str, tuple[int, int, int]], key_pairs: int = 0
) -> None:
    cloud.answers_json("GET /nova/v2.1/limits", {"limits": {"absolute": nova, "rate": []}})
    pairs = [{"keypair": {"name": f"k{number}", "fingerprint": "x"}} for number in range(key_pairs)]
    cloud.answers_json("GET /nova/v2.1/os-keypairs", {"keypairs": pairs})
    counted = {name: dict(zip(("used", "reserved", "limit"), counts, strict=True)) for name, counts in neutron.items()}
    cloud.answers_json("GET /v2.0/quotas/p1/details", {"quota": counted})


NOVA = {
    "maxTotalInstances": 10, "totalInstancesUsed": 9, "maxTotalCores": 20, "totalCoresUsed": 18,
    "maxTotalRAMSize": 51200, "totalRAMUsed": 47200, "maxTotalKeypairs": 100,
}  # fmt: skip
NEUTRON = {"security_group": (8, 1, 10), "security_group_rule": (90, 0, 100), "port": (499, 0, 500)}
JUST_FITS = Needs(servers=1, vcpus=2, memory_mb=4000, key_pairs=1, groups=1, rules=10, ports=1)


def no_room(connection: Connection, needs: Needs) -> str:
    (line,) = lack_of_room(connection, needs)
    return line


def test_what_just_fits_fits(cloud: SmallCloud, connection: Connection) -> None:
    quota(cloud, NOVA, NEUTRON, key_pairs=99)
    assert lack_of_room(connection, JUST_FITS) == []


@pytest.mark.parametrize(
    ("needs", "lack"),
    [
        (Needs(servers=2), "9 of 10 servers in use, and 2 more needed"),
        (Needs(vcpus=3), "18 of 20 vCPUs in use, and 3 more needed"),
        (Needs(memory_mb=4001), "47200 of 51200 MB of memory in use, and 4001 more needed"),
        (Needs(key_pairs=2), "99 of 100 key pairs in use, and 2 more needed"),
        (Needs(groups=2), "9 of 10 security groups in use, and 2 more needed"),
        (Needs(rules=11), "90 of 100 rules of security groups in use, and 11 more needed"),
        (Needs(ports=2), "499 of 500 network ports in use, and 2 more needed"),
    ],
)
def test_what_is_one_too_many_does_not(cloud: SmallCloud, connection: Connection, needs: Needs, lack: str) -> None:
    quota(cloud, NOVA, NEUTRON, key_pairs=99)
    assert no_room(connection, needs) == (
        f"The quota has no room: {lack}. Ask OVH for more (console: Public Cloud > Quota), or free some."
    )


def test_all_that_is_missing_is_said_at_once(cloud: SmallCloud, connection: Connection) -> None:
    quota(cloud, NOVA | {"maxTotalInstances": 0, "totalInstancesUsed": 0}, NEUTRON | {"port": (0, 0, 0)})
    assert no_room(connection, JUST_FITS) == (
        "The quota has no room: 0 of 0 servers in use, and 1 more needed; 0 of 0 network ports in use, and 1 more"
        " needed. Ask OVH for more (console: Public Cloud > Quota), or free some."
    )


def test_a_full_quota_is_no_matter_where_nothing_is_made(cloud: SmallCloud, connection: Connection) -> None:
    quota(cloud, NOVA | {"maxTotalInstances": 9, "maxTotalCores": 10}, NEUTRON | {"port": (600, 0, 500)})
    assert lack_of_room(connection, Needs(groups=1)) == []  # what is over the limit already is not ours to say
    before = len(cloud.done)
    assert lack_of_room(connection, Needs()) == []
    assert cloud.done[before:] == []


def test_minus_one_is_no_limit(cloud: SmallCloud, connection: Connection) -> None:
    limits = {name: -1 for name in NOVA if name.startswith("max")}
    quota(cloud, NOVA | limits, {name: (used, 0, -1) for name, (used, _, _) in NEUTRON.items()}, 99)
    assert lack_of_room(connection, Needs(99, 99, 99999, 99, 99, 99, 99)) == []
    assert "GET /nova/v2.1/os-keypairs" not in cloud.done


@pytest.mark.parametrize("status", [403, 404])
def test_a_quota_that_we_may_not_read_is_left_out(cloud: SmallCloud, connection: Connection, status: int) -> None:
    quota(cloud, NOVA, NEUTRON)
    cloud.answers_json("GET /v2.0/quotas/p1/details", {"NeutronError": {"message": "no"}}, status)
    assert lack_of_room(connection, Needs(ports=99)) == []
    assert no_room(connection, Needs(servers=2, ports=99)).startswith("The quota has no room: 9 of 10 servers in use,")


def test_a_page_of_somebody_else_is_no_answer(cloud: SmallCloud, connection: Connection) -> None:
    cloud.answers["GET /nova/v2.1/flavors/detail?is_public=None"] = 200, {"Content-Type": "text/html"}, b"<html>Log in!"
    assert said(connection, server()) == (
        "Reading flavors, images and networks: what answered is not the cloud. Check HTTP_PROXY, and whether this"
        " network wants a login of its own."
    )
