"""What cron does: a backup every night, its trial every week, a look at the health every five minutes."""

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files

BACKUP_HOUR = 2
DRILL_HOUR = 3
DRILL_DAY = 0
"""Sunday; half past the hour."""
HEALTH_MINUTES = 5


def crontab(*, offsite: bool) -> str:
    """Our file of /etc/cron.d; with `offsite`, the copies elsewhere are checked."""
    return files.render(
        "cron", user=layout.USER, program=layout.PROGRAM, backup_hour=BACKUP_HOUR, backup_log=layout.BACKUP_LOG,
        drill_hour=DRILL_HOUR, drill_day=DRILL_DAY, health_minutes=HEALTH_MINUTES, health_log=layout.HEALTH_LOG,
        offsite=offsite,
    )  # fmt: skip


@deploy("Schedule")
def schedule(state: State, *, offsite: bool) -> None:
    """One file of ours in /etc/cron.d, and cron itself."""
    files.sync(
        name=f"Backup at {BACKUP_HOUR:02}:00, drill on Sundays, health every {HEALTH_MINUTES} minutes",
        state=state, wanted=[files.File(layout.CRON, crontab(offsite=offsite))],
    )  # fmt: skip
    failing = "cron does not start: no backups are made. Log in and see `systemctl status cron`."
    commands.run(
        name="cron runs, also after a boot",
        wanted=commands.started(state, "cron.service", failing),
        otherwise="cron runs",
    )
