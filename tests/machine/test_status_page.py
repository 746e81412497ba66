"""The status page as people see it: served by the application's Traefik on HTTPS, in Chromium, whatever their screen.

The server, its certificate and the browser are real. What takes days to come about is in the golden files of
tests/unit/test_koprogo_page.py. With --write-golden, the pictures in docs/ are taken anew.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import koprogo_server
import pytest
import small_world
from browser import Browser
from koprogo_server import Server

from sandbox import internet
from sandbox.world import World, wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

NAME = "page"
PAGE = "https://status.koprogo.test/"
DOMAIN = {"domain": "status.koprogo.test", "language": "en"}
TESTS = Path(__file__).parents[1]
GOLDEN = sorted((TESTS / "unit" / "golden").glob("page-*.html"))
DOCS = TESTS.parent / "docs"
CONTAINER = "koprogo-status-page"
ASK = "curl -sS -m 5 --cacert /etc/koprogo/tls-ca.pem"

# Asks the site until /tmp/enough is there, and writes down each time how that went.
_VISITOR = f"""
rm -f /tmp/enough
while [ ! -e /tmp/enough ]; do {ASK} -f -o /dev/null https://koprogo.test/ && echo ok || echo lost; done > /tmp/asked
"""


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A sandbox with the internet."""
    with small_world.with_internet(NAME, keep=request.config.getoption("--keep-sandbox")) as world:
        yield world


@pytest.fixture(scope="module")
def server(world: World) -> Server:
    """A server on which the application runs, and a page that was asked for; visitors lost nothing meanwhile."""
    server = koprogo_server.make(world)
    done = server.koprogo("deploy")
    assert done.returncode == 0, done.stderr
    server.configure(status_page=DOMAIN)
    server.sh(f"systemd-run --quiet --unit=visitor sh -c '{_VISITOR}'")
    wait_for(lambda: server.sh("cat /tmp/asked 2>/dev/null || true").stdout.count("ok") > 3, 20, "nobody visits")
    done = server.koprogo("page")
    assert (done.returncode, done.stdout[25:]) == (0, f"The status page is at {PAGE}\n"), done.stderr
    wait_for(lambda: server.sh(f"{ASK} {PAGE} || true").stdout.startswith("<!doctype"), 60, "there is no page")
    server.sh("touch /tmp/enough; while systemctl -q is-active visitor; do sleep 0.1; done")
    asked = server.sh("cat /tmp/asked").stdout.split()
    assert set(asked) == {"ok"}
    assert len(asked) > 10
    return server


@pytest.fixture(scope="module")
def browser(world: World) -> Iterator[Browser]:
    """A browser in a machine of its own, which trusts the sandbox's ACME server and has the golden pages."""
    with browsers.in_world(world, internet.acme_root(world)) as start:
        session = start()
        session.machine.run(["mkdir", "-p", "/golden"])
        for file in GOLDEN:
            session.machine.run(["sh", "-c", f"cat > /golden/{file.name}"], input=file.read_text())
        yield session


def page(server: Server) -> str:
    """The page as curl gets it, its certificate verified."""
    return server.sh(f"{ASK} {PAGE}").stdout.replace("\u00a0", " ")


def state(server: Server) -> str:
    """What it says in large letters."""
    found = re.search(r'<p class="state \w+">(.*?)</p>', page(server))
    assert found
    return found[1]


def test_the_page_tells_of_an_outage_while_it_lasts_and_afterwards(server: Server) -> None:
    server.koprogo("health")
    assert state(server) == "Everything works"
    server.sh("docker stop -t 1 koprogo-backend")
    server.koprogo("health")
    assert state(server) == "api.koprogo.test does not answer"
    server.sh("docker start koprogo-backend")
    wait_for(lambda: server.version() == "1", 30, "the API does not come back")
    server.koprogo("health")
    assert state(server) == "Everything works"
    text = page(server)
    assert "api.koprogo.test did not answer.<br>" in text
    assert "1 of 3 checks failed" in text or " up, 1 min down" in text
    assert "certificate is not valid" not in text
    assert re.search(r"Certificate valid until \d+ \w+ \d{4}\.", text)


def test_a_deploy_is_told_at_once(server: Server) -> None:
    commit = server.push("2", "A secret in a message")
    assert server.koprogo("deploy").returncode == 0
    text = page(server)
    assert f"main-{commit[:7]} runs since" in text
    assert f"main-{commit[:7]} was deployed" in text
    assert not re.search("secret|/home|/var|/etc|koprogo-backend|postgres", text)


def test_browsers_are_told_to_load_nothing_and_to_ask_again(server: Server) -> None:
    heard = server.sh(f"{ASK} -D - -o /dev/null {PAGE}").stdout.lower()
    assert heard.startswith("http/2 200")
    assert "content-security-policy: default-src 'none'; style-src 'sha256-" in heard
    for header in (
        "content-type: text/html", "cache-control: no-cache", "x-content-type-options: nosniff",
        "referrer-policy: no-referrer", "strict-transport-security: max-age=31536000",
    ):  # fmt: skip
        assert header in heard
    assert server.sh(f"{ASK} -o /dev/null -w '%{{http_code}}' {PAGE}../state.json").stdout == "404"
    moved = server.sh("curl -sS -o /dev/null -w '%{redirect_url}' http://status.koprogo.test/").stdout
    assert moved == PAGE


def test_what_serves_it_is_small_may_do_nothing_and_reaches_nobody(server: Server) -> None:
    page(server)
    used = server.sh(f"docker stats --no-stream --format '{{{{.MemUsage}}}}' {CONTAINER}").stdout
    found = re.match(r"([\d.]+)(KiB|MiB) / 16MiB", used)
    assert found, used
    assert float(found[1]) / (1024 if found[2] == "KiB" else 1) < 4
    addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    database = server.sh(f"docker inspect -f '{addresses}' koprogo-postgres").stdout.strip()
    inside = server.sh(
        f"""
        docker exec {CONTAINER} /busybox id -u
        docker exec {CONTAINER} /busybox touch /page/x /x 2>&1 || true
        for there in "{database} 5432" "koprogo-backend 8080" "{server.world.ipv4(3)} 53"; do
            docker exec {CONTAINER} /busybox nc -w 2 $there < /dev/null > /dev/null 2>&1 || continue
            echo "reached $there"
        done
        """
    ).stdout
    assert inside.splitlines() == [
        "65534", "touch: /page/x: Read-only file system", "touch: /x: Read-only file system",
    ]  # fmt: skip


def test_a_container_or_network_that_was_taken_away_is_back_with_the_next_check(server: Server) -> None:
    server.sh(f"docker rm -f {CONTAINER}; docker network disconnect {CONTAINER} koprogo-traefik")
    assert server.status()["status_page"] is None
    server.koprogo("health")
    assert server.status()["status_page"] == "status.koprogo.test"
    wait_for(lambda: server.sh(f"{ASK} -f {PAGE} || true").stdout, 20, "the page is not back")
    before = server.sh(f"docker inspect -f '{{{{.Id}}}}' {CONTAINER}").stdout
    server.koprogo("health")
    assert server.sh(f"docker inspect -f '{{{{.Id}}}}' {CONTAINER}").stdout == before


def test_a_browser_that_knows_the_authority_shows_it_without_a_complaint(server: Server, browser: Browser) -> None:
    server.koprogo("health")
    browser.look(375)
    browser.open(PAGE)
    assert browser.title.startswith("Status of koprogo.test: Everything works")
    assert browser.evaluate("return location.href + ' ' + document.compatMode") == f"{PAGE} CSS1Compat"
    assert browser.evaluate("return getComputedStyle(document.querySelector('.bars')).display") == "flex"
    assert browser.violations() == []
    # A browser asks for an icon by itself, and its absence is no fault of the page.
    assert [line for line in browser.complaints() if "favicon.ico" not in line] == []


@pytest.mark.parametrize("name", [file.name for file in GOLDEN])
def test_it_is_accessible_in_every_theme_on_every_screen(browser: Browser, name: str) -> None:
    browser.complaints()
    for theme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(15, 19, 23)")):
        for width in (320, 375, 1280):
            browser.look(width, theme=theme)
            browser.open(f"file:///golden/{name}")
            assert browser.overflow() == 0
            assert browser.evaluate("return getComputedStyle(document.body).backgroundColor") == background
        assert browser.violations() == []
    assert browser.complaints() == []


def test_a_phone_shows_what_a_bar_means_within_its_screen(browser: Browser) -> None:
    browser.look(320)
    browser.open("file:///golden/page-well.html")
    for number, said in ((1, "26 August: not watched"), (80, "13 November: 87.50 % up, 3 h down")):
        place = browser.evaluate(
            "const box = document.querySelectorAll('.bars li')[arguments[0] - 1].getBoundingClientRect();"
            "return [box.x + box.width / 2, box.bottom - 2]",
            number,
        )
        browser.devtools("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        shown = browser.evaluate(
            "return [...document.querySelectorAll('.bars span')].filter(s => s.offsetHeight > 10).map(s => s.innerText)"
        )
        assert [text.replace("\u00a0", " ") for text in shown] == [said]
        assert browser.overflow() == 0


def test_it_is_the_same_without_javascript(browser: Browser) -> None:
    browser.look(375)
    browser.open("file:///golden/page-down.html")
    with_it = browser.picture()
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open("file:///golden/page-down.html")
        assert browser.picture() == with_it
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)


def test_a_page_that_has_been_open_for_long_says_so(browser: Browser) -> None:
    browser.look(375)
    browser.open("file:///golden/page-well.html")
    shown = (
        "document.getAnimations()[0].currentTime = arguments[0]; const late = document.querySelector('.late');"
        "return [getComputedStyle(late).visibility, late.offsetHeight > 10]"
    )
    assert browser.evaluate(shown, 1000) == browser.evaluate(shown, 599000) == ["hidden", False]
    assert browser.evaluate(shown, 602000) == ["visible", True]


def test_it_can_be_printed(browser: Browser) -> None:
    browser.look(794, media="print")
    browser.open("file:///golden/page-down.html")
    assert browser.overflow() == 0
    bar = "return getComputedStyle(document.querySelector('.bars li.bad'))"
    assert browser.evaluate(f"{bar}.printColorAdjust") == "exact"
    assert browser.evaluate(f"{bar}.backgroundColor") == "rgb(196, 35, 28)"


@pytest.mark.parametrize(
    ("picture", "name", "theme", "width", "height"),
    [
        ("light", "page-well", "light", 800, 1500),
        ("dark", "page-down", "dark", 800, 1100),
        ("phone", "page-down-fr", "light", 375, 812),
    ],
)
def test_the_pictures_in_the_documentation(  # noqa: PLR0913, PLR0917 - one of them is pytest's
    request: pytest.FixtureRequest, browser: Browser, picture: str, name: str, theme: str, width: int, height: int
) -> None:
    browser.look(width, height, theme)
    browser.open(f"file:///golden/{name}.html")
    taken, file = browser.picture(), DOCS / f"status-page-{picture}.png"
    if request.config.getoption("--write-golden"):
        file.write_bytes(taken)
    size = file.read_bytes()[16:24]
    assert (int.from_bytes(size[:4], "big"), int.from_bytes(size[4:], "big")) == (width, height)
    assert len(file.read_bytes()) < 200_000


def test_without_the_setting_there_is_no_page_and_the_application_does_not_notice(server: Server) -> None:
    server.configure()
    done = server.koprogo("page")
    assert done.stdout[25:] == "There is no status page: STATUS_PAGE_DOMAIN is not set.\n"
    left = server.sh("docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'").stdout
    assert CONTAINER not in left
    assert server.version() == "2"
    networks = server.sh("docker inspect -f '{{json .NetworkSettings.Networks}}' koprogo-traefik").stdout
    assert list(json.loads(networks)) == ["production_koprogo-network"]
