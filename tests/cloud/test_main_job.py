"""The main job on real parts: plan, provision, deploy, HTTPS, new versions, backup, reboot."""

import json
import re

import pytest
from conftest import Deployed, Operator, Server

from sandbox import application
from sandbox.machine import Machine, load
from sandbox.world import World, wait_for

pytestmark = [pytest.mark.machine, pytest.mark.cloud]

NAME = "spare"
API = "https://api.koprogo.test/api/v1/health"
SITE = "https://koprogo.test"
DEPLOY_SECONDS = 180 + 90
"""The check comes every 3 minutes; a deploy takes up to 90 s more on a busy host."""


@pytest.fixture
def outside(world: World, deployed: Deployed) -> Machine:
    """Another machine, with the root certificate of the public names."""
    machine = load(world.name, "internet")
    root = (deployed.operator.folder / "public-ca.crt").read_text()
    machine.run(["sh", "-c", "cat > /run/public-ca.crt"], input=root)
    return machine


def ask(outside: Machine, url: str) -> str:
    """What the URL answers, "" if it does not or its certificate does not verify."""
    return outside.run(["curl", "-fsS", "-m", "5", "--cacert", "/run/public-ca.crt", url], check=False).stdout


def version(outside: Machine) -> str:
    answer = ask(outside, API)
    return str(json.loads(answer)["version"]) if answer else ""


def running(server: Server) -> str:
    """The commit that the server says is live."""
    return str(json.loads(server.run("sudo koprogo status --json").stdout)["running_commit"])


def test_plan_names_what_provision_makes_and_makes_nothing(deployed: Deployed) -> None:
    plan = deployed.said["plan"]
    assert re.search(r"\+ server +koprogo", plan)
    assert re.search(r"\+ key pair", plan)
    assert re.search(r"\+ security group", plan)


def test_provision_again_finds_everything_in_place(deployed: Deployed) -> None:
    assert "Nothing to do" in deployed.operator.provision("--yes").stdout


def test_dry_run_on_a_virgin_machine_lists_what_the_apply_changes(deployed: Deployed) -> None:
    assert len(deployed.changed) > 10
    assert deployed.planned == deployed.changed


def test_second_apply_and_the_dry_run_after_it_change_nothing(deployed: Deployed) -> None:
    assert deployed.operator.apply() == []
    assert deployed.operator.planned() == []


def test_both_names_answer_on_https_from_another_machine(outside: Machine) -> None:
    assert json.loads(ask(outside, API))["status"] == "healthy"
    assert "<html" in ask(outside, SITE)


def test_http_redirects_to_https(outside: Machine) -> None:
    for name in ("koprogo.test", "api.koprogo.test"):
        head = outside.run(["curl", "-sI", "-m", "5", f"http://{name}/"]).stdout
        assert head.split()[1] in {"301", "308"}
        assert f"https://{name}/" in head


def test_names_resolve_in_both_families(outside: Machine, server: Server, world: World) -> None:
    for name in ("koprogo.test", "api.koprogo.test"):
        for kind, address in (("A", server.ipv4), ("AAAA", server.ipv6)):
            assert outside.run(["kdig", "+short", f"@{world.ipv4(3)}", name, kind]).stdout.strip() == address


def test_env_is_private_and_its_secrets_survive(deployed: Deployed, server: Server) -> None:
    file = "/home/koprogo/koprogo/deploy/production/.env"
    assert server.run(f"sudo stat -c '%a %U' {file}").stdout.split() == ["600", "koprogo"]
    before = server.run(f"sudo sha256sum {file}").stdout
    deployed.operator.apply()
    assert server.run(f"sudo sha256sum {file}").stdout == before


def test_commands_of_the_real_thing_work_with_another_env_file(deployed: Deployed) -> None:
    env = f"ENV_FILE={deployed.operator.folder / '.env'}"
    assert "Nothing to do" in deployed.operator.run("make", "plan", env).stdout
    done = deployed.operator.run("make", "setup-infra", "YES=1", env)
    assert "Nothing to do" in done.stdout


def test_pushed_versions_go_live_and_a_sick_one_does_not(world: World, server: Server, outside: Machine) -> None:
    second = application.push(world, "2", "Second version")
    wait_for(lambda: running(server) == second, DEPLOY_SECONDS, "version 2 does not run by itself")
    assert version(outside) == "2"

    # `systemctl restart koprogo-gitops` looks for a commit at once: the rest need not wait for the timer.
    sick = application.push(world, "sick", "A version that never becomes healthy")
    server.run("sudo systemctl restart koprogo-gitops", check=False)
    said = server.run("sudo tail -n 1 /var/log/koprogo-gitops.log").stdout
    assert f"{sick[:7]} was rolled back" in said
    assert "runs again and is healthy" in said
    assert version(outside) == "2"

    application.push(world, "3", "Third version")
    server.run("sudo systemctl restart koprogo-gitops")
    assert version(outside) == "3"


def _postgres_rows(server: Server, container: str) -> str:
    query = "select count(*), md5(string_agg(name, ',' order by id)) from buildings"
    return server.run(f'sudo docker exec {container} psql -U koprogo -d koprogo_db -Atc "{query}"').stdout.strip()


def test_backup_restores_into_an_empty_postgres(server: Server) -> None:
    for name in ("Résidence du Parc", "Les Tilleuls", "Gravelines 7"):
        insert = f"insert into buildings (name) values ('{name}')"
        server.run(f'sudo docker exec koprogo-postgres psql -U koprogo -d koprogo_db -qc "{insert}"')
    rows = _postgres_rows(server, "koprogo-postgres")
    assert int(rows.split("|")[0]) >= 3
    server.run("sudo -u koprogo koprogo backup")
    newest = server.run("sudo sh -c 'ls -t /home/koprogo/backups/postgres_*.sql.zst'").stdout.split()[0]
    server.run(
        "sudo docker run -d --rm --name restore -e POSTGRES_USER=koprogo -e POSTGRES_DB=koprogo_db "
        "-e POSTGRES_PASSWORD=restore postgres:15"
    )
    try:
        ready = "sudo docker exec restore pg_isready -h 127.0.0.1 -U koprogo -d koprogo_db"
        wait_for(lambda: server.run(ready, check=False).returncode == 0, 60, "the empty database is not ready")
        server.run(f"sudo sh -c 'zstd -dc < {newest} | docker exec -i restore psql -q -U koprogo -d postgres'")
        assert _postgres_rows(server, "restore") == rows
    finally:
        server.run("sudo docker rm -f restore")


def test_server_comes_back_after_a_reboot(server: Server, outside: Machine, deployed: Deployed) -> None:
    boot = "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic --value"
    before = server.run(boot).stdout
    live = version(outside)
    server.run("sudo systemctl --no-block reboot", check=False)
    wait_for(lambda: server.run(boot, check=False).stdout not in (before, ""), 120, "it did not reboot")
    wait_for(lambda: version(outside) == live, 120, "the API does not answer again")
    assert "Status: active" in server.run("sudo ufw status").stdout
    health = "sudo docker inspect -f '{{.State.Health.Status}}' koprogo-backend koprogo-frontend koprogo-postgres"
    wait_for(lambda: set(server.run(health).stdout.split()) == {"healthy"}, 120, "a container is not healthy")
    assert deployed.operator.planned() == []


def test_operator_without_an_inventory_gets_one_line(operator_env: Operator) -> None:
    done = operator_env.pyinfra("--dry", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "provision.py" in done.stdout + done.stderr
