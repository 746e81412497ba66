"""Root file systems: the base of every machine, and layers on top of it."""

import inspect
import re
import shutil
import subprocess
from pathlib import Path

from sandbox import ca, cache
from sandbox.errors import SandboxError

_SUITE = "trixie"

BASE_PACKAGES = [
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "ca-certificates",
    "curl",
    "gnupg",
    "iproute2",
    "procps",
    "iputils-ping",
    "locales",
    "tzdata",
    "less",
    "openssl",
    "kmod",
    "unattended-upgrades",
]

# Every start of a service inside a layer's build is refused: there is no init in a chroot.
_POLICY = "#!/bin/sh\nexit 101\n"

_CHROOT = """
set -e
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/run"
mount -t tmpfs tmpfs "$ROOT/tmp"
touch "$ROOT/tmp/resolv.conf"
cat /etc/resolv.conf > "$ROOT/tmp/resolv.conf"
[ -e "$ROOT/etc/resolv.conf" ] || : > "$ROOT/etc/resolv.conf"
mount --bind "$ROOT/tmp/resolv.conf" "$ROOT/etc/resolv.conf"
exec chroot "$ROOT" /bin/sh -e -c "$SCRIPT"
"""


def mirror() -> str:
    """The address of the Debian mirror that this host uses, from its own apt configuration."""
    done = subprocess.run(["apt-cache", "policy"], capture_output=True, text=True, check=False)
    found = re.findall(r"\d+ (https?://\S+) \S+/main ", done.stdout)
    debian = [url for url in found if "debian" in url and "security" not in url]
    return str(debian[0]) if debian else "http://deb.debian.org/debian"


def run_quiet(command: list[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command of a build; if it fails, raise SandboxError with the end of what it printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=cwd, env=env,
        preexec_fn=cache.enter_build(),  # it only writes its number into files made before
    )  # fmt: skip
    if done.returncode:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-12:])
        raise SandboxError(f"{Path(str(command[0])).name} failed ({done.returncode}):\n  {tail}")


def debootstrap(folder: Path, suite: str, packages: list[str]) -> None:
    """Make a minimal Debian root file system of `suite` with these packages in `folder`."""
    run_quiet(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=output/dev",
         "--aptopt=Acquire::Languages \"none\"", "--dpkgopt=path-exclude=/usr/share/man/*",
         "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=force-unsafe-io", "--format=directory",
         f"--include={','.join(packages)}", suite, folder, f"deb {mirror()} {suite} main"],
    )  # fmt: skip


def _finish_base(folder: Path) -> None:
    """What a cloud image has beyond its packages: a locale, the sandbox's authority, no identity of its own."""
    certificate, _ = ca.authority()
    shutil.copy(certificate, folder / "usr/local/share/ca-certificates/koprogo-sandbox.crt")
    script = (
        "update-ca-certificates >/dev/null; echo 'en_US.UTF-8 UTF-8' > /etc/locale.gen; locale-gen >/dev/null;"
        "rm -f /etc/ssh/ssh_host_*; : > /etc/machine-id; rm -f /var/lib/dbus/machine-id /etc/hostname;"
        "systemctl mask systemd-networkd-wait-online.service systemd-resolved.service >/dev/null 2>&1 || true;"
        "sed -i 's/^path-exclude.*//' /etc/dpkg/dpkg.cfg.d/* 2>/dev/null || true"
    )
    run_quiet(["chroot", folder, "/bin/sh", "-c", script])


def base() -> Path:
    """The root file system that every machine starts from: Debian 13 with systemd, sshd, sudo and Python."""
    certificate, _ = ca.authority()

    def build(folder: Path) -> None:
        debootstrap(folder, _SUITE, BASE_PACKAGES)
        _finish_base(folder)

    recipe = (inspect.getsource(debootstrap), inspect.getsource(_finish_base))
    return cache.template(f"base-{_SUITE}", cache.key_of(_SUITE, " ".join(BASE_PACKAGES), certificate, *recipe), build)


def layer(name: str, below: list[Path], script: str, key: str = "", files: dict[str, Path] | None = None) -> Path:
    """An upper directory: what `script` changes on top of `below` (top first).

    It is run by sh, as root, chrooted, with the host's network and without services. `files` are copied in before: path
    inside → file or folder here. `key` names what else the result depends on.
    """
    files = files or {}
    parts = [*(str(path) for path in below), script, key, _CHROOT]
    materials = [f"{inside}={cache.key_of(path)}" for inside, path in sorted(files.items())]

    def build(folder: Path) -> None:
        scratch = cache.scratch(folder)
        for part in ("work", "root"):
            (scratch / part).mkdir(parents=True)
        for inside, path in files.items():
            target = folder / inside.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target, dirs_exist_ok=True) if path.is_dir() else shutil.copy(path, target)
        policy = folder / "usr/sbin/policy-rc.d"
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text(_POLICY)
        policy.chmod(0o755)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
            "LOWER": ":".join(str(path) for path in below), "UPPER": str(folder), "WORK": str(scratch / "work"),
            "ROOT": str(scratch / "root"), "SCRIPT": script,
        }  # fmt: skip
        run_quiet(["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", _CHROOT], env=environment)
        policy.unlink()

    return cache.template(name, cache.key_of(*parts, *materials), build)


def apt_layer(name: str, below: list[Path], packages: list[str], then: str = "true") -> Path:
    """A layer with these Debian packages installed, and `then` run (sh) after them."""
    script = (
        "apt-get -qq update && apt-get -qq -y -o Dpkg::Options::=--force-unsafe-io --no-install-recommends install "
        f"{' '.join(packages)} >/tmp/apt.log 2>&1 || {{ tail -n 20 /tmp/apt.log; exit 1; }}\n{then}\n"
        "apt-get clean"
    )
    return layer(name, below, script)
