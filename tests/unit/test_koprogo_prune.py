"""Which images may go, and that nothing else does."""

from pathlib import Path

import pytest
from koprogo import history
from koprogo.deploys.work import Work
from koprogo.docker import prune
from koprogo.docker.engine import LocalImage
from koprogo.docker.prune import surplus
from koprogo.runner import Runner
from koprogo.state import Attempt, Deployed, Entry, Image, Outcome, Probation, State, Step
from koprogo_bench import lived
from test_koprogo_deploy import Bench

NONE = "<none>"


def version(number: int, postgres: str = "15") -> Deployed:
    images = {
        "backend": Image(f"ghcr.io/x/backend:main-{number}", f"sha256:b{number}", None),
        "postgres": Image(f"postgres:{postgres}", f"sha256:p{postgres}", None),
    }
    return Deployed(f"{number}" * 40, f"main-{number}", float(number), "hash", "production", images)


def here(*names: str, **others: str) -> list[LocalImage]:
    """Images by `repository:tag=id`."""
    found = []
    for name in names:
        ref, _, identity = name.partition("=")
        repository, _, tag = ref.rpartition(":")
        found.append(LocalImage(identity, repository, tag, others.get("digest", NONE)))
    return found


KEPT = [version(5), version(4), version(3)]


def surplus_of(images: list[LocalImage], dropped: list[Deployed], **more: set[str]) -> list[str]:
    return surplus(images, KEPT, dropped, used=more.get("used", set()), tags=more.get("tags", set()))


def test_what_is_older_than_the_last_three_goes() -> None:
    images = here(*(f"ghcr.io/x/backend:main-{n}=sha256:b{n}" for n in range(1, 6)))
    assert surplus_of(images, []) == ["ghcr.io/x/backend:main-1", "ghcr.io/x/backend:main-2"]


def test_a_failed_version_goes_and_one_under_way_stays() -> None:
    images = here("ghcr.io/x/backend:main-sick=sha256:s", "ghcr.io/x/backend:main-next=sha256:n")
    assert surplus_of(images, [], tags={"main-next"}) == ["ghcr.io/x/backend:main-sick"]


def test_what_belongs_to_others_stays() -> None:
    images = here(
        "postgres:16=sha256:theirs",
        "redis:7=sha256:r",
        "ghcr.io/x/backend-tools:main-1=sha256:t",
        "docker.io/ghcr.io/x/backend:main-1=sha256:u",
        "<none>:<none>=sha256:layer",
        "postgres:15=sha256:p15",
    )
    assert surplus_of(images, [version(2)]) == []


def test_a_database_that_is_too_old_goes_unless_somebody_else_calls_it_by_another_name() -> None:
    images = here("postgres:14=sha256:p14", "mine:14=sha256:p14", "postgres:15=sha256:p15", "postgres:13=sha256:p13")
    assert surplus_of(images, [version(2, postgres="14")]) == ["postgres:14"]


def test_what_a_container_needs_stays() -> None:
    images = here("ghcr.io/x/backend:main-1=sha256:b1")
    assert surplus_of(images, [], used={"sha256:b1"}) == []


def test_a_name_more_of_an_image_that_stays_goes() -> None:
    images = here("ghcr.io/x/backend:main-3=sha256:b3", "ghcr.io/x/backend:main-same=sha256:b3")
    assert surplus_of(images, [], used={"sha256:b3"}) == ["ghcr.io/x/backend:main-same"]


def test_what_lost_its_tag_goes_by_its_digest() -> None:
    moved = [
        LocalImage("sha256:old", "ghcr.io/x/backend", NONE, "sha256:d1"),
        LocalImage("sha256:b3", "ghcr.io/x/backend", NONE, "sha256:d2"),
        LocalImage("sha256:nameless", "ghcr.io/x/backend", NONE, NONE),
    ]
    assert surplus_of(moved, []) == ["ghcr.io/x/backend@sha256:d1"]


def test_a_tag_that_moved_since_it_ran_stays() -> None:
    """Whoever goes back to that version finds the image by its ID, and gives it its name again."""
    images = here("ghcr.io/x/backend:main-3=sha256:other")
    assert surplus_of(images, []) == []


class Server(Bench):
    """A server whose images are listed in a file, and whose `docker` writes down what it is told to do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls, self.listed = folder / "calls", folder / "images"
        self.calls.touch()
        self.listed.write_text("".join(f"sha256:b{n} ghcr.io/x/backend main-{n} <none>\n" for n in range(1, 6)))
        self.answer("exit 0")

    def answer(self, removal: str) -> None:
        """Make `docker`, with this to say to a removal."""
        self.docker(
            f"""echo "$*" >> {self.calls}
case "$*" in
'ps --all'*) echo c1; echo c2 ;;
'container inspect'*) echo sha256:b5; echo sha256:b1 ;;
'image ls'*) /bin/cat {self.listed} ;;
'image rm'*) {removal} ;;
*) exit 9 ;;
esac"""
        )

    def run(self, *numbers: int) -> Work:
        """Deploy these versions, one after the other."""
        for number in numbers:
            self.store.save(State(deployed=version(number)))
            work = Work(self.config, Runner(), asked=False)
            prune.after(work)
            lived(self.config.state_dir, version(number))
        return work

    def removals(self) -> list[str]:
        """What was to be removed."""
        calls = self.calls.read_text().splitlines()
        assert not any("prune" in call or "volume" in call or "--force" in call for call in calls)
        return [call.removeprefix("image rm ") for call in calls if call.startswith("image rm")]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


def test_nothing_goes_before_three_versions_are_known(server: Server) -> None:
    server.run(4, 5)
    assert server.calls.read_text() == ""
    server.run(3)
    assert server.removals() == ["ghcr.io/x/backend:main-2"]


def test_the_last_versions_are_those_of_the_history(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    work = server.run(1, 2, 3, 4, 5, 4)
    assert [one.tag for one in prune.last(work)] == ["main-4", "main-5", "main-3", "main-2", "main-1"]
    assert "Removed 1 old images." in capsys.readouterr().out
    assert "ghcr.io/x/backend:main-2" in server.removals()
    work.save(deployed=None)
    assert prune.last(work) == []


def test_the_version_to_go_back_to_stays_however_many_were_undone_since(server: Server) -> None:
    server.run(1, 2)
    for number in (3, 4, 5):
        if number > 3:
            undone = version(number - 1).commit
            history.append(server.config.state_dir, [Entry(f"undone {number}", 1.0, undone, Outcome.UNDONE)])
        server.run(number)
    assert server.calls.read_text()
    assert not any("main-2" in call for call in server.removals())


def test_the_version_that_a_probation_goes_back_to_stays_though_the_history_lacks_it(server: Server) -> None:
    work = server.run(3, 4, 5)
    server.calls.write_text("")
    work.save(probation=Probation(1.0, version(2), {}, {}))
    prune.images(work)
    assert server.removals() == []


def test_a_deploy_under_way_keeps_its_images(server: Server) -> None:
    work = server.run(3, 4, 5)
    server.calls.write_text("")
    server.listed.write_text("sha256:b6 ghcr.io/x/backend main-6666666 <none>\n")
    work.save(attempt=Attempt("6" * 40, Step.CHECKED, 1.0))
    prune.images(work)
    assert server.removals() == []
    work.save(attempt=None)
    prune.images(work)
    assert server.removals() == ["ghcr.io/x/backend:main-6666666"]


def test_a_failure_is_one_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer("echo 'Error response from daemon: conflict: unable to delete' >&2; exit 1")
    server.run(3, 4, 5)
    out, err = capsys.readouterr()
    assert out.split(" ", 1)[1] == "Old images were not removed: docker image rm: conflict: unable to delete.\n"
    assert err == ""
