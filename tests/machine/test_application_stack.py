"""The application's images on a real Docker: what they owe their users, and what CI publishes on a push."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import small_world

from sandbox import application
from sandbox.machine import Machine, load
from sandbox.world import World, wait_for

pytestmark = pytest.mark.machine

NAME = "images"
BACKEND = "ghcr.io/gilmry/koprogo/backend"
API = "http://127.0.0.1:8080/api/v1"
POSTGRES = (
    "-e POSTGRES_USER=koprogo -e POSTGRES_PASSWORD=sesame -e POSTGRES_DB=koprogo_db"
    " -e 'POSTGRES_INITDB_ARGS=--encoding=UTF8 --locale=en_US.UTF-8'"
)
DATABASE_URL = "postgresql://koprogo:sesame@postgres:5432/koprogo_db"
READY = "docker exec {} pg_isready -q -h 127.0.0.1 -U koprogo -d koprogo_db"
PSQL = "docker exec -i postgres psql -qAt -U koprogo -d koprogo_db -c"


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with small_world.with_internet(NAME) as world:
        yield world


@pytest.fixture(scope="module")
def docker(made: World) -> Machine:
    machine = small_world.docker_machine(made)
    sh(machine, "docker network create app")
    return machine


def sh(machine: Machine, script: str, *, check: bool = True) -> str:
    """What a script prints on its standard output."""
    return machine.run(["sh", "-ec", script], check=check).stdout.strip()


def succeeds(machine: Machine, script: str) -> Callable[[], bool]:
    return lambda: machine.run(["sh", "-ec", script], check=False).returncode == 0


@pytest.fixture(scope="module")
def postgres(docker: Machine) -> Machine:
    """The machine with a database on it."""
    sh(docker, f"docker run -d --network app --name postgres {POSTGRES} postgres:15")
    wait_for(succeeds(docker, READY.format("postgres")), 60, "the database is not ready")
    return docker


@pytest.fixture(scope="module")
def made_api(postgres: Machine) -> Machine:
    """The machine with the API, in version 2, on that database."""
    sh(postgres, f"docker run -d --network app --name api -p 127.0.0.1:8080:8080 --memory 384M"
                 f" -e SERVER_HOST=0.0.0.0 -e DATABASE_URL={DATABASE_URL} {BACKEND}:2")  # fmt: skip
    return postgres


@pytest.fixture
def api(made_api: Machine) -> Machine:
    """The machine with the API running and healthy, and no buildings."""
    sh(made_api, "docker start postgres api")
    wait_for(succeeds(made_api, f"curl -fsS {API}/health"), 30, "the API is not healthy")
    sh(made_api, f"{PSQL} 'TRUNCATE buildings RESTART IDENTITY'")
    return made_api


def test_images_of_docker_hub_and_ghcr_share_their_lowest_layer(docker: Machine) -> None:
    images = ["postgres:15", f"{BACKEND}:1", f"{BACKEND}:sick", BACKEND.replace("backend", "frontend") + ":3"]
    lowest = set()
    for image in images:
        sh(docker, f"docker pull -q {image}")
        lowest.add(sh(docker, f"docker image inspect -f '{{{{index .RootFS.Layers 0}}}}' {image}"))
    assert len(lowest) == 1


def test_the_database_has_one_role_and_asks_for_its_password(postgres: Machine) -> None:
    roles = sh(postgres, f"{PSQL} \"SELECT rolname, rolsuper FROM pg_roles WHERE rolname !~ '^pg_'\"")
    assert roles == "koprogo|t"
    assert sh(postgres, f"{PSQL} 'SHOW lc_collate'") == "en_US.UTF-8"
    assert sh(postgres, "docker exec postgres stat -c %u:%a /var/lib/postgresql/data") == "999:700"
    over_network = "docker run --rm --network app --entrypoint psql -e PGPASSWORD={} postgres:15 {} -Atc 'SELECT 42'"
    assert sh(postgres, over_network.format("sesame", DATABASE_URL)) == "42"
    wrong = over_network.format("open", DATABASE_URL.replace(":sesame", ""))
    assert not succeeds(postgres, wrong)()


def test_a_first_start_that_is_cut_short_is_done_again(docker: Machine) -> None:
    new = "/var/lib/docker/volumes/cut/_data/.new"
    # Killed as soon as its files appear, in the middle, and with the server of the first start running.
    for moment in (f"test -e {new}", f"test -e {new}/pg_hba.conf", f"test -e {new}/postmaster.pid"):
        sh(docker, "docker volume create cut")
        sh(docker, f"docker run -d --name cut -v cut:/var/lib/postgresql/data {POSTGRES} postgres:15")
        wait_for(succeeds(docker, moment), 30, f"never: {moment}")
        sh(docker, "docker kill cut")
        assert sh(docker, f"test -e {new} && echo incomplete") == "incomplete"
        sh(docker, "docker start cut")
        wait_for(succeeds(docker, READY.format("cut")), 60, f"no database after a cut at: {moment}")
        assert not succeeds(docker, f"test -e {new}")()
        sh(docker, "docker rm -f cut; docker volume rm cut")


def test_files_that_are_no_database_are_left_alone(docker: Machine) -> None:
    sh(docker, "docker volume create other; echo dear > /var/lib/docker/volumes/other/_data/letter")
    done = docker.run(
        ["sh", "-c", f"docker run --rm -v other:/var/lib/postgresql/data {POSTGRES} postgres:15"], check=False
    )
    assert done.returncode == 1
    assert "holds files but no database; it is left alone" in done.stderr
    assert sh(docker, "cat /var/lib/docker/volumes/other/_data/letter; docker volume rm -f other") == "dear\nother"


def test_a_database_without_a_password_is_not_made(docker: Machine) -> None:
    done = docker.run(["docker", "run", "--rm", "postgres:15"], check=False)
    assert done.returncode == 1
    assert "set POSTGRES_PASSWORD" in done.stderr


def test_the_api_keeps_what_it_acknowledged(api: Machine) -> None:
    assert json.loads(sh(api, f"curl -fsS {API}/health")) == {"status": "healthy", "version": "2"}
    added = sh(api, f"""curl -fsS -d '{{"name": "Les Lilas"}}' {API}/buildings""")
    assert json.loads(added) == {"id": 1, "name": "Les Lilas"}
    # A restart costs no request: the connections that it broke are replaced, not used.
    sh(api, "docker restart -t 10 postgres")
    wait_for(succeeds(api, READY.format("postgres")), 30, "the database is not back")
    assert json.loads(sh(api, f"curl -fsS {API}/buildings")) == {
        "count": 1,
        "buildings": [{"id": 1, "name": "Les Lilas"}],
    }


def test_the_api_says_that_its_database_is_away(api: Machine) -> None:
    sh(api, "docker stop -t 10 postgres")
    assert sh(api, f"curl -sS -w '%{{http_code}}' -o /dev/null {API}/health") == "503"
    sh(api, "docker start postgres")
    wait_for(succeeds(api, f"curl -fsS {API}/health"), 30, "the API is not healthy again")


def test_the_api_finishes_its_requests_before_it_stops(api: Machine) -> None:
    answers: list[str] = []
    locked = "SELECT 1/count(*) FROM pg_locks WHERE mode = '{}' AND {} granted"
    let_go = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation IS NOT NULL"

    def lock_is(mode: str, state: str) -> Callable[[], bool]:
        query = locked.format(mode, state)
        return succeeds(api, f'{PSQL} "{query}"')

    def hold() -> None:
        sh(api, f"{PSQL} 'BEGIN; LOCK TABLE buildings IN EXCLUSIVE MODE; SELECT pg_sleep(60)'", check=False)

    def add() -> None:
        answers.append(sh(api, f"""curl -fsS -d '{{"name": "Late"}}' {API}/buildings""", check=False))

    with ThreadPoolExecutor() as pool:
        done = [pool.submit(hold)]
        wait_for(lock_is("ExclusiveLock", "relation IS NOT NULL AND"), 10, "the table is not locked")
        done.append(pool.submit(add))
        wait_for(lock_is("RowExclusiveLock", "NOT"), 10, "the request does not wait for the table")
        # in one go, for a statement has five seconds
        until_deaf = f"while curl -fsS -m 1 -o /dev/null {API}/health; do :; done"
        code = sh(
            api, f'docker kill -s TERM api >/dev/null; {until_deaf}; {PSQL} "{let_go}" >/dev/null; docker wait api'
        )
        for one in done:
            one.result()
    assert [json.loads(answer) for answer in answers] == [{"id": 1, "name": "Late"}]
    assert code == "0"


def test_the_api_is_small_under_load(api: Machine) -> None:
    ask = f"""curl -fsS -o /dev/null -d '{{"name": "x"}}' {API}/buildings"""
    sh(api, f"seq 300 | xargs -P 12 -I{{}} {ask}")
    assert json.loads(sh(api, f"curl -fsS {API}/buildings"))["count"] == 300
    peak = sh(api, "docker exec api grep VmHWM /proc/1/status").split()  # VmHWM: … kB
    assert int(peak[1]) < 60 * 1024


def test_the_sick_version_starts_and_never_becomes_healthy(postgres: Machine) -> None:
    sh(postgres, f"docker run -d --network app --name sick -e DATABASE_URL={DATABASE_URL} {BACKEND}:sick")
    health = "docker exec sick curl -s -m 4 http://127.0.0.1:8080/api/v1/health"
    wait_for(succeeds(postgres, health), 20, "it does not answer")
    assert json.loads(sh(postgres, health)) == {"status": "unhealthy", "version": "sick"}
    sh(postgres, "docker rm -f sick")


def test_a_push_publishes_the_images_of_its_version(made: World) -> None:
    registry = load(made.name, "internet")
    tags = "https://ghcr.io/v2/gilmry/koprogo/{}/tags/list"

    def published(commit: str) -> list[str]:
        lists = {p: json.loads(sh(registry, f"curl -fsS {tags.format(p)}"))["tags"] for p in ("backend", "frontend")}
        return [part for part, found in lists.items() if f"main-{commit[:7]}" in found]

    assert published(application.push(made, "2", "Release 2")) == ["backend", "frontend"]
    # A version that was never built, as when its build failed in CI: the commit is there, its images are not.
    broken = application.push(made, "unbuilt", "Release what has no images")
    assert published(broken) == []
    served = sh(registry, "git ls-remote https://git.sandbox.test/gilmry/koprogo.git refs/heads/main")
    assert served == f"{broken}\trefs/heads/main"
