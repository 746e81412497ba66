"""What a service is given beside its definition, against real repositories: what of it makes another release."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from koprogo.config import Config
from koprogo.deploys import mounted, wanted
from koprogo.deploys.work import Work
from koprogo.docker import routing
from koprogo.docker.compose import Project
from koprogo.docker.engine import Docker, ImageHere
from koprogo.runner import Runner
from test_koprogo_git import Upstream, clone, git

FILES = {"web/nginx.conf": "1", "init/1.sql": "1", "init/2/3.sql": "1", "real": "1", "token": "1", "other": "o"}


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit({"deploy/production/docker-compose.yml": "", ".gitignore": "data\n", **FILES})
    (made.folder / "web/link").symlink_to("../real")
    (made.folder / "dead").symlink_to("/nowhere")
    made.commit({})
    return made


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Config:
    made = clone(upstream, tmp_path)
    made.env_file.write_text("TOKEN=1\n")
    return made


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Docker, "image", lambda *_: ImageHere("sha256:1", {}))


def project(config: Config, config_text: str = "a") -> Project:
    def bind(*paths: str) -> dict[str, Any]:
        return {"image": "x", "volumes": [{"type": "bind", "source": str(config.checkout / path)} for path in paths]}

    services = {
        "file": bind("web/nginx.conf"),
        "folder": bind("init"),
        "link": bind("web/link"),
        "all": bind(""),
        "secret": {"image": "x", "secrets": [{"source": "token"}]},
        "config": {"image": "x", "configs": [{"source": "inline", "target": "/x"}]},
        "variable": {"image": "x", "secrets": [{"source": "of_variable"}]},
        "none": {
            "image": "x",
            "volumes": [
                {"type": "bind", "source": "/var/run/docker.sock"},
                {"type": "bind", "source": str(config.checkout / "data")},
                {"type": "bind", "source": str(config.checkout / "dead")},
                {"type": "volume", "source": "other"},
                {"type": "tmpfs"},
            ],
        },
        "plain": {"image": "x"},
    }
    more = {
        "secrets": {
            "token": {"file": str(config.checkout / "token")},
            "of_variable": {"name": "p_of_variable", "environment": "TOKEN"},
        },
        "configs": {"inline": {"content": config_text}},
    }
    return Project("p", dict.fromkeys(services, "x"), {"name": "p", "services": services, **more})


def releases(config: Config, commit: str, config_text: str = "a") -> dict[str, str]:
    work = Work(config, Runner(), asked=False)
    work.repository.fetch()
    found = mounted.as_in(work, commit, project(config, config_text))
    return {target.service: target.release for target in wanted.targets(work, found)}


@pytest.mark.parametrize(
    ("script", "changed"),
    [
        ("echo 2 > web/nginx.conf", {"file"}),
        ("chmod +x web/nginx.conf", {"file"}),
        ("rm web/nginx.conf", {"file"}),
        ("echo 2 > init/1.sql", {"folder"}),
        ("echo 2 > init/2/3.sql", {"folder"}),
        ("echo 2 > init/new.sql", {"folder"}),
        ("echo 2 > real", {"link"}),
        ("ln -s -f ../other web/link", {"link"}),
        ("echo 2 > token", {"secret"}),
        ("echo 2 > other", set()),
        ("echo 2 > web/index", set()),
    ],
)
def test_only_who_is_given_something_else_has_another_release(
    upstream: Upstream, config: Config, script: str, changed: set[str]
) -> None:
    before = releases(config, git(upstream.folder, "rev-parse", "HEAD"))
    subprocess.run(["/bin/sh", "-ec", script], cwd=upstream.folder, env={"PATH": os.defpath}, check=True)
    after = releases(config, upstream.commit({}))
    assert {name for name in after if after[name] != before[name]} == changed | {"all"}


def test_a_config_that_the_compose_file_holds_itself(upstream: Upstream, config: Config) -> None:
    commit = git(upstream.folder, "rev-parse", "HEAD")
    before, after = releases(config, commit), releases(config, commit, "b")
    assert {name for name in after if after[name] != before[name]} == {"config"}


def test_a_secret_that_a_variable_gives(upstream: Upstream, config: Config) -> None:
    commit = git(upstream.folder, "rev-parse", "HEAD")
    before = releases(config, commit)
    config.env_file.write_text("TOKEN=2\n")
    after = releases(config, commit)
    assert {name for name in after if after[name] != before[name]} == {"variable"}


def test_what_lies_here_and_is_in_no_commit_counts_for_nothing(upstream: Upstream, config: Config) -> None:
    commit = git(upstream.folder, "rev-parse", "HEAD")
    before = releases(config, commit)
    (config.checkout / "data").mkdir()
    for name in ("data/1", "init/written", "web/nginx.conf"):
        (config.checkout / name).write_text("of a container")
    assert releases(config, commit) == before
    # Nor are all services replaced because this program has become another one.
    services = project(config).services
    for name in ("plain", "none"):
        assert before[name] == routing.release(services[name], "sha256:1")
