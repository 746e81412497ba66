"""What a commit puts into the checkout: files that containers get to see, and things in the place of the settings.

Each test leaves a version that is well.
"""

from collections.abc import Iterator

import koprogo_server
import pytest
import small_world
from koprogo_server import ENV_FILE, Server, bad, good

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

COMPOSE = "deploy/production/docker-compose.yml"
FILE = "deploy/production/tuning.conf"
VOLUME = "      - postgres_data:/var/lib/postgresql/data\n"

# $1 is what the commit does.
_COMMIT = """
sh -ec "$1"
git add --all --force
git commit -q -m "$1"
git push -q origin HEAD:main >&2
git rev-parse HEAD
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("checkout") as world:
        made = koprogo_server.make(world)
        deploys = f"{koprogo_server.LIBRARY}/deploys"
        made.sh(f"sed -i 's/^FAILING_PATIENCE = .*/FAILING_PATIENCE = 3.0/' {deploys}/gate.py")
        made.sh(f"sed -i 's/^DRAIN = .*/DRAIN = 1.0/' {deploys}/rollout.py")
        text = made.in_clone(f"cat {COMPOSE}") + "\n"
        assert VOLUME in text
        text = text.replace(VOLUME, f"{VOLUME}      - ./tuning.conf:/etc/tuning.conf:ro\n")
        for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
            text = text.replace(old, new)
        made.push("1", files={COMPOSE: text, FILE: "first\n"})
        good(made.koprogo("deploy"))
        yield made


def seen(server: Server) -> str:
    """What the database's container sees in the file."""
    return server.sh("docker exec koprogo-postgres cat /etc/tuning.conf").stdout.strip()


def test_a_mounted_file_that_changes_replaces_who_sees_it_and_so_does_the_way_back(server: Server) -> None:
    before = server.containers()
    first = server.push("2")
    assert "Left postgres, traefik alone." in good(server.koprogo("deploy", "--check"))
    assert server.containers()["koprogo-postgres"] == before["koprogo-postgres"]

    second = server.push("2", files={FILE: "second\n"})
    assert "~ postgres  in place" in good(server.koprogo("diff"))
    said = good(server.koprogo("deploy", "--check"))
    assert "Replaced postgres (" in said
    assert "Left traefik alone." in said
    assert (seen(server), server.containers()["koprogo-traefik"]) == ("second", before["koprogo-traefik"])

    server.push("sick", files={FILE: "third\n"})
    done = server.koprogo("deploy", "--check")
    said = bad(done)
    assert done.stdout.count("Replaced postgres (") == 2
    assert f"{second[:7]} (main-{second[:7]}) runs again and is healthy." in said
    assert (seen(server), server.version()) == ("second", "2")

    assert "Replaced postgres (" in good(server.koprogo("rollback", first))
    assert (seen(server), server.version()) == ("first", "2")
    server.push("2", files={FILE: "second\n"})
    good(server.koprogo("resume"))
    good(server.koprogo("deploy", "--check"))
    assert (seen(server), server.version()) == ("second", "2")


def test_a_link_in_the_place_of_the_settings_is_refused_and_they_stay(server: Server) -> None:
    settings, before = server.sh(f"cat {ENV_FILE}").stdout, (server.containers(), server.head(), server.version())
    scripts = (
        "git mv deploy/production deploy/other; ln -s other deploy/production",
        "rm deploy/production; git mv deploy/other deploy/production; ln -s /etc/passwd deploy/production/.env",
    )
    for script in scripts:
        commit = server.in_clone(_COMMIT, script).splitlines()[-1]
        assert f"Cannot deploy {commit[:7]}: " in bad(server.koprogo("deploy", "--check"))
        assert server.koprogo("deploy", "--check").returncode == 0
        assert (server.containers(), server.head(), server.version()) == before
        assert server.sh(f"cat {ENV_FILE}").stdout == settings
        assert server.sh("find /var/lib/koprogo -type l").stdout == ""
        assert server.state()["quarantine"][-1]["commit"] == commit
    commit = server.in_clone(_COMMIT, "rm deploy/production/.env").splitlines()[-1]
    good(server.koprogo("deploy", "--check"))
    assert (server.head(), server.sh(f"cat {ENV_FILE}").stdout) == (commit, settings)
