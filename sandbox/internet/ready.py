"""Whether the services of the internet machine answer."""

from sandbox.errors import SandboxError
from sandbox.machine import Machine
from sandbox.world import within

SECONDS = 60

# Service -> a command inside the machine that succeeds once it answers.
CHECKS = {
    "knot": "kdig +short +timeout=1 +retry=0 @127.0.0.1 ghcr.io A | grep -q .",
    "ovh-api": "curl -sf http://127.0.0.1:8090/1.0/auth/time"
    " && kdig +short +timeout=1 +retry=0 @127.0.0.1 koprogo.test MX | grep -q .",
    "pebble": "curl -sf https://acme-v02.api.letsencrypt.org/directory && test -s /var/lib/pebble/roots.pem",
    "docker-registry": "curl -sf https://ghcr.io/v2/",
    "nginx": "curl -sf https://auth.docker.io/token && curl -sf https://eu.api.ovh.com/1.0/auth/time",
    "fcgiwrap": "test -S /run/fcgiwrap.socket",
    "webhook": "curl -sf https://hooks.sandbox.test/",
    "mail-sink": "curl -sf -m 2 smtp://127.0.0.1:25 -X NOOP && curl -sf -m 2 smtp://127.0.0.1:587 -X NOOP",
}


def wait(machine: Machine) -> None:
    """Return once every service answers. Raises SandboxError that names those that do not, and where to look."""
    missing = list(CHECKS)

    def complete() -> bool:
        if not machine.alive:
            raise SandboxError(f"{machine.name} ended; see {machine.console}")
        missing[:] = [name for name in missing if machine.run(["sh", "-c", CHECKS[name]], check=False).returncode]
        return not missing

    if not within(SECONDS, complete):
        raise SandboxError(
            f"{', '.join(missing)} on {machine.name} did not answer within {SECONDS} s;"
            f" see: python -m sandbox exec {machine.world.name} {machine.name} journalctl -u {missing[0]}"
        )
