"""A browser: Debian's Chromium without a screen, in a machine of a sandbox, driven by WebDriver; and axe-core."""

import base64
import functools
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from sandbox import cache, templates
from sandbox.machine import Machine
from sandbox.world import World, wait_for

PACKAGES = ["chromium", "chromium-driver", "libnss3-tools", "fonts-liberation", "fonts-dejavu-core"]
_PORT = 9515
_OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
_TRIES = 5

# Chromium trusts what the database of its user trusts.
_TRUST = """
cat > /tmp/ca.pem; mkdir -p /root/.pki/nssdb
certutil -N -d sql:/root/.pki/nssdb --empty-password
certutil -A -d sql:/root/.pki/nssdb -t C,, -n ca -i /tmp/ca.pem
"""

# axe-core 4.12.1 as Deque publishes it, in a package that has it for another way of driving a browser.
_AXE = "axe-playwright-python==0.1.8"
_AXE_SHA256 = "fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8"
_AXE_MEMBER = "axe_playwright_python/axe.min.js"


@functools.cache
def axe() -> str:
    """The program of axe-core."""

    def build(folder: Path) -> None:
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{_AXE} --hash=sha256:{_AXE_SHA256}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--dest", folder, "--requirement", wanted],
            check=True,
        )  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (folder / "axe.min.js").write_bytes(archive.read(_AXE_MEMBER))
        wheel.unlink()

    return (cache.template("axe", f"{_AXE} {_AXE_SHA256}", build) / "axe.min.js").read_text()


class Refused(Exception):
    """It did not do what it was told."""


class Browser:
    """One session of it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._address = f"http://{machine.ipv4}:{_PORT}/session"
        options = {"binary": "/usr/bin/chromium", "args": _OPTIONS}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._address += f"/{answer['sessionId']}"

    def _ask(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        # Not by way of a proxy that this host may have for the internet.
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, self._address + path, json=data, timeout=60)
        value = answer.json()["value"]
        if not answer.ok:
            raise Refused(f"{path}: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def close(self) -> None:
        """End it."""
        self._ask("DELETE", "")

    def open(self, url: str) -> None:
        """Load a page."""
        self._ask("POST", "/url", {"url": url})

    @property
    def title(self) -> str:
        """That of the page."""
        return str(self._ask("GET", "/title"))

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns in the page."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def violations(self) -> list[str]:
        """What axe-core finds wrong: rules, and where."""
        script = f"{axe()}; axe.run(document).then(arguments[arguments.length - 1])"
        found = self._ask("POST", "/execute/async", {"script": script, "args": []})
        assert len(found["passes"]) > 10
        return [f"{rule['id']}: {node['html']}" for rule in found["violations"] for node in rule["nodes"]]

    def complaints(self) -> list[str]:
        """What the console got since the last time that it was asked."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def devtools(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Tell the browser something that WebDriver has no words for."""
        found: dict[str, Any] = self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})
        return found

    def look(self, width: int, height: int = 800, theme: str = "light", media: str = "screen") -> None:
        """Be a screen of this size, or paper, of somebody who prefers this theme."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True
        )
        preference = {"name": "prefers-color-scheme", "value": theme}
        self.devtools("Emulation.setEmulatedMedia", media=media, features=[preference])

    def overflow(self) -> int:
        """How many pixels of the page are beyond the right edge."""
        page = "document.documentElement"
        return int(self.evaluate(f"return {page}.scrollWidth - {page}.clientWidth"))

    def picture(self) -> bytes:
        """What is to be seen, as PNG."""
        for _ in range(_TRIES):
            with suppress(Refused):  # on a busy machine: it is still changing from the page of before
                return base64.b64decode(self._ask("GET", "/screenshot"))
        raise Refused(f"{_TRIES} times there was no picture to take")


@contextmanager
def in_world(world: World, authority: str) -> Iterator[Callable[[], Browser]]:
    """A machine with the browser, which trusts `authority` (PEM); what is given starts a session."""
    layers = [templates.apt_layer("browser", [templates.base()], PACKAGES), templates.base()]
    machine = Machine(world, "browser", layers, world.ipv4(60), world.ipv6(60))
    machine.start()
    machine.wait_boot()
    machine.run(["sh", "-ec", _TRUST], input=authority)
    driver = ["chromedriver", f"--port={_PORT}", "--allowed-ips=", "--allowed-origins=*"]
    machine.run(["systemd-run", "--quiet", "--unit=chromedriver", "--setenv=HOME=/root", *driver])
    sessions = list[Browser]()

    def start() -> Browser:
        sessions.append(Browser(machine))
        return sessions[-1]

    ready = ["bash", "-c", f"exec 3<>/dev/tcp/{machine.ipv4}/{_PORT}"]
    wait_for(lambda: machine.run(ready, check=False).returncode == 0, 30, "chromedriver does not listen")
    yield start
    for session in sessions:
        session.close()
    machine.destroy()
