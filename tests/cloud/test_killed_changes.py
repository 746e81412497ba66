"""provision.py killed (SIGKILL) while it changes a server that is there; what the next run makes of it.

Each run is killed at each of its calls that change something: before it is carried out, and after that, while its
answer is on its way, unless both come to the same. And once when all is done but to note it beside `.env`.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cloud_project import EVERYTHING, as_admin, set_variable, there_is
from conftest import Operator, Server
from fault_proxy import FaultProxy
from killing import BEFORE_FILES, CONSOLE, Moment, after, before, calls, changing, killed_at, side_by_side
from openstack.connection import Connection

from sandbox.world import World

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1200)]

NAME = "halfway"
APPLY, ADOPT = ("apply", "--yes"), ("adopt", "--yes")
TAKES_THE_LEASE, GIVES_IT_BACK = "POST security-groups", "DELETE security-groups"
CHANGED = "The cloud has changed since the plan was shown; above is the new one. Nothing was done: run again.\n"
OURS = {"project": "koprogo", "environment": "production"}


def rebuild(operator: Operator) -> tuple[str, ...]:
    """The command that makes the operator's server anew."""
    return "rebuild", "--yes", "--name", operator.server_name, "--no-backup"


def make_servers(operators: list[Operator]) -> None:
    """A server for each."""

    def make(operator: Operator, _: None) -> None:
        operator.provision(*APPLY)

    side_by_side(operators, [None] * len(operators), make)


def server_of(operator: Operator, api: Connection) -> Any:
    """The operator's one server, as the API has it."""
    (server,) = api.compute.servers(name=f"^{operator.server_name}$")
    return server


def inside(operator: Operator, command: str) -> int:
    """How a command on the server ends, to which one logs in with the pinned keys."""
    entry = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]
    done = Server(entry["ipv4"], entry["ipv6"], "ubuntu", operator.folder).run(command, check=False)
    assert done.returncode != 255, done.stderr  # ssh's own
    return done.returncode


def completed(operator: Operator, *command: str) -> None:
    """Run what completes it, once.

    It may be refused once, and only because Nova got on with what was begun between its two looks at it; never again.
    """
    # far less than the 15 minutes for which it would wait for what does not come
    done = operator.run("timeout", "120", sys.executable, "provision.py", *command, check=False)
    if done.returncode:
        assert (done.returncode, done.stderr) == (1, CHANGED), done.stdout
        operator.provision(*command)


def assert_is_in_place(operator: Operator, api: Connection, server_id: str) -> None:
    """That there is this one server and all that belongs to it, and that nothing is left to do."""
    assert there_is(api, operator.server_name) == EVERYTHING
    assert server_of(operator, api).id == server_id
    assert operator.provision("plan").returncode == 0


def test_a_resize_that_is_killed_at_any_change_is_completed_by_the_next_apply(
    operators: list[Operator], api: Connection
) -> None:
    """Between two sizes with one size of disk, which can be left both ways: .env has the new one once it is good."""
    other = {"d2-4": "d2-8", "d2-8": "d2-4"}
    for operator in operators:
        set_variable(operator, FLAVOR="d2-4")
    make_servers(operators)
    every = changing(calls(operators[0], "resize", "d2-8", "--yes"))
    assert [call.words for call in every] == [TAKES_THE_LEASE, "resize", "confirmResize", GIVES_IT_BACK]

    def work(operator: Operator, moment: Moment | None) -> None:
        server_id, former = server_of(operator, api).id, operator.setting("FLAVOR")
        killed_at(operator, moment, "resize", other[former], "--yes")
        well = moment is BEFORE_FILES or moment.call.words in ("confirmResize", GIVES_IT_BACK)
        assert operator.setting("FLAVOR") == (other[former] if well else former), f"killed at {moment}"
        completed(operator, *APPLY)
        assert server_of(operator, api).flavor.original_name == operator.setting("FLAVOR"), f"killed at {moment}"
        assert_is_in_place(operator, api, server_id)

    side_by_side(operators, [*before(every), *after(every), BEFORE_FILES], work)


def test_a_rebuild_that_is_killed_at_any_change_is_completed_by_the_next_apply(
    operators: list[Operator], api: Connection
) -> None:
    """And then the pinned keys are those of the server."""
    make_servers(operators)
    every = changing(calls(operators[0], *rebuild(operators[0])))
    assert [call.words for call in every] == [TAKES_THE_LEASE, "rebuild", GIVES_IT_BACK]
    lease, asked, end = every
    # moment → how `ls` of a file that was on the disk before ends
    found, lost = 0, 2
    moments: dict[Moment | None, int] = {
        Moment(lease): found, Moment(asked): found, Moment(end): lost,
        Moment(lease, carried_out=True): found, Moment(asked, carried_out=True): lost,
        Moment(end, carried_out=True): lost, BEFORE_FILES: lost,
    }  # fmt: skip

    def work(operator: Operator, moment: Moment | None) -> None:
        server_id = server_of(operator, api).id
        assert inside(operator, "sudo touch /etc/before") == 0
        killed_at(operator, moment, *rebuild(operator))
        completed(operator, *APPLY)
        assert inside(operator, "ls /etc/before") == moments[moment], f"killed at {moment}"
        assert_is_in_place(operator, api, server_id)

    side_by_side(operators, list(moments), work)


def test_keys_from_before_a_rebuild_do_not_count_though_it_was_killed_before_the_new_ones_were_seen(
    operator: Operator, api: Connection
) -> None:
    """The console shows none yet when the next run looks: a server that was rebuilt has printed nothing."""
    operator.provision(*APPLY)
    server_id = server_of(operator, api).id
    every = calls(operator, *rebuild(operator))
    done = next(place for place, call in enumerate(every) if call.action == "rebuild")
    look = next(call for call in every[done:] if call.action == CONSOLE)
    killed_at(operator, Moment(look), *rebuild(operator))
    with FaultProxy() as proxy:
        sent = b'^{"%s"' % CONSOLE.encode()
        proxy.rule("answer", "POST", "/action$", sent=sent, times=2, status=200, body=b'{"output": ""}')
        operator.provision(*APPLY, HTTP_PROXY=proxy.url)
    assert inside(operator, "true") == 0
    assert_is_in_place(operator, api, server_id)


def test_an_adoption_that_is_killed_at_any_change_is_completed_by_the_next(
    operators: list[Operator], api: Connection
) -> None:
    make_servers(operators)

    def disown(operator: Operator) -> None:
        """Let everything that is adopted look like somebody else's, by hand."""
        server, name = server_of(operator, api), operator.server_name
        (group,) = api.network.security_groups(name=name)
        api.compute.delete_server_metadata(server, ["project", "environment"])
        api.compute.add_security_group_to_server(server, "default")
        api.compute.remove_security_group_from_server(server, name)
        api.network.update_security_group(group, description="web servers")
        (http,) = (rule for rule in group.security_group_rules if rule["port_range_min"] == 80 and _is_v4(rule))
        api.network.delete_security_group_rule(http["id"])
        api.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", ether_type="IPv4", protocol="tcp",
            port_range_min=5432, port_range_max=5432,
        )  # fmt: skip
        api.compute.delete_keypair(name)
        api.compute.create_keypair(name=name)

    disown(operators[0])
    every = changing(calls(operators[0], *ADOPT))
    assert [call.words for call in every] == [
        TAKES_THE_LEASE, "DELETE os-keypairs", "POST os-keypairs", "PUT security-groups", "POST security-group-rules",
        "DELETE security-group-rules", "POST metadata", "addSecurityGroup", "removeSecurityGroup", GIVES_IT_BACK,
    ]  # fmt: skip

    def work(operator: Operator, moment: Moment | None) -> None:
        server_id = server_of(operator, api).id
        disown(operator)
        killed_at(operator, moment, *ADOPT)
        operator.provision(*ADOPT)
        server = server_of(operator, api)
        assert server.metadata.items() >= OURS.items(), f"killed at {moment}"
        assert [group["name"] for group in server.security_groups] == [operator.server_name], f"killed at {moment}"
        assert_is_in_place(operator, api, server_id)

    # none of it goes on by itself: before a call all is as it was after the one before
    side_by_side(operators, [*after(every), BEFORE_FILES], work)


@pytest.fixture
def too_large(world: World) -> Iterator[str]:
    """A flavor that no host has room for: Nova takes the order, and the server ends in ERROR without having run."""
    name = "too-large"
    as_admin(world, f"cloud.compute.create_flavor(name={name!r}, vcpus=1, ram=2000, disk=100_000_000)")
    yield name
    as_admin(world, f"cloud.delete_flavor({name!r})")


def test_a_replacement_of_a_server_that_never_ran_is_completed_by_the_next_apply_though_killed_at_any_change(
    operators: list[Operator], api: Connection, too_large: str
) -> None:
    def fail(operator: Operator) -> str:
        """Leave what an apply leaves that Nova could not give a server; its id."""
        name = operator.server_name
        for server in api.compute.servers(name=f"^{name}$"):
            api.delete_server(server.id, wait=True)
        for file in ("inventory.json", "known_hosts"):
            (operator.folder / file).unlink(missing_ok=True)
        (group,) = api.network.security_groups(name=name)
        failed = api.create_server(
            name, flavor=too_large, image="Ubuntu 22.04", network="Ext-Net", auto_ip=False, key_name=name,
            security_groups=[group.id], meta=OURS,
        )  # fmt: skip
        return str(api.compute.wait_for_server(failed, "ERROR", failures=[], interval=0.3).id)

    make_servers(operators)
    fail(operators[0])
    every = changing(calls(operators[0], *APPLY))
    assert [call.words for call in every] == [TAKES_THE_LEASE, "DELETE servers", "POST servers", GIVES_IT_BACK]
    _, removal, creation, _ = every

    def work(operator: Operator, moment: Moment | None) -> None:
        failed = fail(operator)
        killed_at(operator, moment, *APPLY)
        completed(operator, *APPLY)
        server = server_of(operator, api)
        assert server.id != failed
        assert inside(operator, "true") == 0, f"killed at {moment}"
        assert_is_in_place(operator, api, server.id)

    # these two Nova goes on with by itself; after the others all is as it is before the next
    side_by_side(operators, [*before(every), *after([removal, creation]), BEFORE_FILES], work)


def _is_v4(rule: dict[str, Any]) -> bool:
    return bool(rule["ethertype"] == "IPv4")
