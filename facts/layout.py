"""Where things live on a server."""

from pathlib import PurePosixPath

USER = "koprogo"
HOME = PurePosixPath("/home/koprogo")
CHECKOUT = HOME / "koprogo"
BACKUPS = HOME / "backups"
LIBRARY = PurePosixPath("/usr/local/lib/koprogo/koprogo")
PROGRAM = PurePosixPath("/usr/local/bin/koprogo")
ETC = PurePosixPath("/etc/koprogo")
CONFIG = ETC / "config.json"
SECRETS = ETC / "secrets.json"
"""Root's own copy of the secrets made on this server: a lost .env does not lose them."""
AUTHORITY = "/etc/koprogo/tls-ca.pem"
SIGNERS = "/etc/koprogo/allowed_signers"
OFFSITE = "/etc/koprogo/offsite.json"
"""Where copies of the backups go, with the keys for that."""
ALERTS = "/etc/koprogo/alerts.json"
"""Whom to tell when something is wrong, with the keys for that."""
STATE = PurePosixPath("/var/lib/koprogo")
OFFSITE_READY = "/var/lib/koprogo/offsite-ready.json"
"""What the program has set up there; no secrets."""
GITOPS_LOG = PurePosixPath("/var/log/koprogo-gitops.log")
BACKUP_LOG = PurePosixPath("/var/log/koprogo-backup.log")
HEALTH_LOG = PurePosixPath("/var/log/koprogo-health.log")
LOGS = (GITOPS_LOG, BACKUP_LOG, HEALTH_LOG)

APT = "/etc/apt/apt.conf.d/90koprogo"
UNATTENDED = "/etc/apt/apt.conf.d/91koprogo-unattended"
DOCKER_SOURCE = "/etc/apt/sources.list.d/docker.sources"
DAEMON = "/etc/docker/daemon.json"
UFW_AFTER = "/etc/ufw/after.rules"
UFW_AFTER6 = "/etc/ufw/after6.rules"
JAIL = "/etc/fail2ban/jail.d/koprogo.local"
SSHD = "/etc/ssh/sshd_config.d/00-koprogo.conf"
TMPFILES = "/etc/tmpfiles.d/koprogo.conf"
LOGROTATE = "/etc/logrotate.d/koprogo"
SERVICE = "/etc/systemd/system/koprogo-gitops.service"
TIMER = "/etc/systemd/system/koprogo-gitops.timer"
CRON = "/etc/cron.d/koprogo"

FILES = (
    APT, UNATTENDED, DOCKER_SOURCE, DAEMON, UFW_AFTER, UFW_AFTER6, JAIL, SSHD, TMPFILES, LOGROTATE, SERVICE, TIMER,
    CRON, str(PROGRAM), str(CONFIG), AUTHORITY, SIGNERS, OFFSITE_READY,
)  # fmt: skip
"""Files whose text is compared. Only these may be written with operations.files."""

HASHED = (OFFSITE, ALERTS)
"""Files with secrets: only a keyed hash of them leaves the server."""

FOLDERS_AND_LOGS = (str(STATE), str(BACKUPS), *(str(log) for log in LOGS))
"""What has to exist with the right owner and mode, whatever is in it."""

UNITS = ("docker.service", "ufw.service", "fail2ban.service", "cron.service", "koprogo-gitops.timer")


def env_file(compose_file: str) -> PurePosixPath:
    """The server's .env: beside the compose file, where Compose looks for it."""
    return (CHECKOUT / compose_file).parent / ".env"
