"""What `koprogo diff` says that the next deploy would change."""

from dataclasses import replace
from pathlib import Path

import pytest
from koprogo.deploys import diff, operate, wanted
from koprogo.deploys.session import alone
from koprogo.deploys.work import Work
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.docker.routing import NO_HEALTH_CHECK
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Bad
from koprogo_bench import Bench
from test_koprogo_git import COMPOSE, git

MEMBER = Container("1", "app", "app", "x/app:1", "sha256:1", "running", "healthy", 0, 0, "t", "", "", release="r1")


def shown(bench: Bench, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert diff.run(bench.config) == 0
    return capsys.readouterr().out.splitlines()


def test_commits_files_and_services_and_nothing_is_touched(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fourth = bench.push("Fourth")
    fifth = bench.upstream.commit({COMPOSE: "services: {}\n# new\n"}, "Fifth")
    before, head = bench.store.path.read_bytes(), git(bench.config.checkout, "rev-parse", "HEAD")
    containers = (bench.docker / "containers").read_text()
    assert shown(bench, capsys) == [
        f"{bench.third[:7]} → {fifth[:7]}: 2 commits of main",
        f"  {fifth[:7]} Fifth",
        f"  {fourth[:7]} Fourth",
        "  in deploy/production: docker-compose.yml",
        "",
        f"~ backend   in place  backend:main-{bench.third[:7]} → backend:main-{fifth[:7]} (Traefik does",
        "          not route to it)",
        "~ postgres  in place  postgres:15, defined otherwise (Traefik does not route to",
        "          it)",
        "! images to pull first: 1",
        "! the database is dumped first",
    ]
    assert bench.store.path.read_bytes() == before
    assert git(bench.config.checkout, "rev-parse", "HEAD") == head
    assert (bench.docker / "containers").read_text() == containers
    verbs = {call.split()[0] for call in bench.calls()}
    assert verbs == {"compose", "image", "ps", "container"}
    assert not (bench.config.state_dir / "candidate").exists()


def test_no_more_commits_than_fit(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(17):
        bench.push(f"Number {number} {'x' * 90}")
    lines = shown(bench, capsys)
    assert lines[0].endswith(": 17 commits of main")
    assert lines[10].split()[2] == "7"
    assert lines[11:13] == ["  and 7 before these", "  in deploy/production: no file changes"]
    assert max(map(len, lines)) == 80
    assert len(lines) <= 24


def test_what_a_commit_calls_its_files_cannot_write_to_the_terminal(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.upstream.commit({"deploy/production/\x1b[2Jx": ""}, "Fourth")
    assert "  in deploy/production:  [2Jx" in shown(bench, capsys)


def test_a_remark_has_two_lines_at_most(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bad = Bad(bench.third, "backend: " + "it does not become healthy " * 20, 1.0)
    bench.store.save(replace(bench.state, quarantine=(bad,)))
    lines = shown(bench, capsys)
    at = next(index for index, line in enumerate(lines) if line.startswith("! in quarantine"))
    assert lines[at + 1].startswith(" " * 10) and lines[at + 1].endswith(" …")
    assert not any(line.startswith(" " * 10) for line in lines[at + 2 : at + 3])


def test_nothing_new(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(bench, capsys)
    assert lines[0] == f"{bench.third[:7]} is the newest commit of main, and runs."
    bench.config.env_file.write_text("RUST_LOG=debug\n")
    assert shown(bench, capsys)[-1] == "! the settings (.env) are not those that it was started with"


def test_what_stops_a_deploy_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.sick = {bench.push("Sick")}
    bench.check()
    operate.pause(bench.config, "audit")
    (bench.config.checkout / "README").write_text("mine")
    remarks = [line for line in shown(bench, capsys) if line.startswith("!")]
    assert remarks[0].startswith("! no deploys since 20")
    assert remarks[0].endswith("(audit): koprogo resume")
    assert remarks[1:3] == [
        "! in quarantine, until koprogo retry: backend: unhealthy",
        "! changed on this server, which stops it: README",
    ]
    git(bench.config.checkout, "checkout", "-q", ".")
    bench.upstream.git("reset", "--hard", "--quiet", bench.second)
    bench.push("Rewritten")
    assert f"! the history was rewritten: it does not follow {bench.third[:7]}" in shown(bench, capsys)


def test_a_compose_file_that_is_wrong(bench: Bench) -> None:
    newer = bench.push("Wrong")
    (bench.docker / "invalid").touch()
    with pytest.raises(Problem, match=f"{newer[:7]} would be refused: docker compose config: yaml"):
        diff.run(bench.config)
    assert bench.state.quarantine == ()


def test_while_a_deploy_is_at_work_it_does_not_wait(bench: Bench) -> None:
    with alone(bench.config, asked=True), pytest.raises(Problem, match="A deploy is at work; see `koprogo status`"):
        diff.run(bench.config)


def test_before_the_first_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, monkeypatch)
    lines = shown(bench, capsys)
    assert lines[0] == f"Nothing runs → {bench.first[:7]} First"
    assert f"+ backend   new       backend:main-{bench.first[:7]}" in lines


def target(**changes: object) -> wanted.Target:
    made = wanted.Target("app", "app", {"image": "x/app:1"}, "r1", None)
    return replace(made, **changes)  # type: ignore[arg-type] # of a Target


@pytest.mark.parametrize(
    ("changes", "members", "here", "expected"),
    [
        ({}, [MEMBER], True, ("=", "keep", "app:1")),
        ({}, [], True, ("+", "new", "app:1")),
        ({"release": "r2"}, [MEMBER], True, ("~", "beside", "app:1, defined otherwise")),
        ({"release": "r2", "spec": {"image": "x/app:2"}}, [MEMBER], True, ("~", "beside", "app:1 → app:2")),
        (
            {"release": "r2", "in_place": "it publishes ports"}, [MEMBER], True,
            ("~", "in place", "app:1, defined otherwise (it publishes ports)"),
        ),
        (
            {"release": "r2", "in_place": "it has no health check"}, [MEMBER], False,
            ("~", "?", "app:1, defined otherwise (its image is not here, and may have a health check)"),
        ),
    ],
)  # fmt: skip
def test_moves(
    changes: dict[str, object], members: list[Container], here: bool, expected: tuple[str, str, str]
) -> None:
    assert diff.move(target(**changes), members, here=here) == expected


def test_an_image_that_is_not_here_may_have_a_health_check(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        wanted.Target(service, service, {"image": image}, "r", NO_HEALTH_CHECK)
        for service, image in (("backend", "x/backend:not-here"), ("postgres", "postgres:15"))
    ]
    monkeypatch.setattr(diff.wanted, "targets", lambda *_: found)
    lines = shown(bench, capsys)
    assert [line.split()[2] for line in lines if line.startswith("~ ")] == ["?", "in"]


def test_of_many_services_those_that_stay_as_they_are_share_a_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"service-{number}" for number in range(20)]
    project = Project("production", dict.fromkeys(names, "x"))
    found = [wanted.Target(name, name, {"image": "x"}, "r", None) for name in names]
    monkeypatch.setattr(diff, "read_project", lambda *_: project)
    monkeypatch.setattr(diff.wanted, "targets", lambda *_: found)
    monkeypatch.setattr(diff.wanted, "new_schema", lambda *_: "")
    monkeypatch.setattr(
        diff, "move", lambda target, *_, **__: ("~" if target.service == names[7] else "=", "beside", "1 → 2")
    )
    for number in range(12):
        bench.push(f"Commit {number}")
    assert diff.run(bench.config) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "~ service-7   beside    1 → 2" in lines
    (kept,) = [line for line in lines if line.startswith("= ")]
    assert kept.startswith("= keep 19: service-0, service-1, ")
    assert len(lines) <= 24


def test_a_service_that_the_compose_file_has_no_more(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.containers({"backend": "x/backend:1", "worker": "x/worker:1"})
    assert "- worker    gone" in shown(bench, capsys)


def test_what_is_mounted_from_the_checkout_is_no_difference(bench: Bench) -> None:
    script = bench.programs / "docker"
    volumes = ",".join(f'{{"type": "bind", "source": "\'"{part}"\'"}}' for part in ("${5%/*}", "${5%/deploy/*}"))
    answer = f'{{"name": "p", "services": {{"a": {{"image": "x", "volumes": [{volumes}]}}}}}}'
    mounted = f"compose*config*) echo '{answer}' ;;"
    script.write_text(script.read_text().replace("info*) echo / ;;", f"info*) echo / ;;\n{mounted}"))
    work = Work(bench.config, Runner(), asked=True)
    project = diff.read_project(work, bench.third, "main-1")
    sources = [volume["source"] for volume in project.services["a"]["volumes"]]
    assert sources == [str(bench.config.compose_file.parent), str(bench.config.checkout)]


@pytest.mark.parametrize(
    ("image", "short"),
    [("ghcr.io/x/backend:main-1", "backend:main-1"), ("postgres:15", "postgres:15"),
     ("ghcr.io/x/b@sha256:0123456789abcdef0123", "b@sha256:0123456789ab")],
)  # fmt: skip
def test_short_names_of_images(image: str, short: str) -> None:
    assert diff.short(image) == short
