"""Which images there are, and what is in each."""

from collections.abc import Iterator
from pathlib import Path

from sandbox import ca
from sandbox.application import oci, system

HERE = Path(__file__).parent
SOURCE = HERE / "repository"
VERSIONS = ("1", "2", "3", "sick")
"""The versions that backend and frontend exist in."""

_USER = 1000  # the applications run as nobody in particular
_POSTGRES = 999  # see system.py
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(folder: Path) -> Iterator[tuple[str, str, oci.Image]]:
    """Make all the images: (repository, tag, image). Their small layers are written into `folder`."""
    debian = system.debian()
    yield "library/postgres", "15", _postgres(debian, folder)
    yield "library/traefik", "v3.7", _traefik(folder)
    for part, port in (("backend", 8080), ("frontend", 80)):
        program = oci.pack(_program(part), folder / f"{part}.tar.gz")
        for version in VERSIONS:
            label = oci.File("app/VERSION", f"{version}\n".encode())
            layers = (debian, program, oci.pack([label], folder / f"{part}-{version}.tar.gz"))
            settings = {
                "Env": [f"PATH={_PATH}", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"],
                "WorkingDir": "/app",
                "User": f"{_USER}:{_USER}",
                "Entrypoint": ["python3", "/app/server.py"],
                "ExposedPorts": {f"{port}/tcp": {}},
            }
            yield f"gilmry/koprogo/{part}", version, oci.image(layers, settings)


def _program(part: str) -> Iterator[oci.File | oci.Folder]:
    """The files of backend or frontend, and the folders that their volumes are mounted on."""
    for file in sorted([*(SOURCE / part).iterdir(), *(SOURCE / "common").iterdir()]):
        if file.is_file():
            yield oci.File(f"app/{file.name}", file)
    if part == "backend":
        yield oci.Folder("app/uploads", owner=_USER)
        yield oci.Folder("app/logs", owner=_USER)


def _postgres(debian: oci.Layer, folder: Path) -> oci.Image:
    entrypoint = "usr/local/bin/docker-entrypoint.sh"
    layer = oci.pack(
        [
            oci.File(entrypoint, HERE / "images/postgres/docker-entrypoint.sh", 0o755),
            oci.Folder("run/postgresql", 0o3777, owner=_POSTGRES),
        ],
        folder / "postgres.tar.gz",
    )
    settings = {
        "Env": [
            f"PATH=/usr/lib/postgresql/15/bin:{_PATH}",
            "LANG=en_US.utf8",
            "PG_MAJOR=15",
            "PGDATA=/var/lib/postgresql/data",
        ],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "ExposedPorts": {"5432/tcp": {}},
        "Volumes": {"/var/lib/postgresql/data": {}},
        # A "smart" shutdown, the answer to SIGTERM, would wait for every client to leave.
        "StopSignal": "SIGINT",
    }
    return oci.image((debian, layer), settings)


def _traefik(folder: Path) -> oci.Image:
    certificate, _ = ca.authority()
    trusted = system.authorities() + certificate.read_bytes()
    layer = oci.pack(
        [oci.File("etc/ssl/certs/ca-certificates.crt", trusted), oci.Folder("tmp", 0o1777)],
        folder / "traefik.tar.gz",
    )
    settings = {
        "Env": [f"PATH={_PATH}"],
        "Entrypoint": ["/usr/local/bin/traefik"],
        "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
    }
    return oci.image((system.traefik(), layer), settings)
