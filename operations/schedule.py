"""What cron does: a backup every night, a look at the health every five minutes."""

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files


@deploy("Schedule")
def schedule(state: State) -> None:
    """One file of ours in /etc/cron.d, and cron itself."""
    _, backup_log, health_log = layout.LOGS
    text = files.render("cron", user=layout.USER, program=layout.PROGRAM, backup_log=backup_log, health_log=health_log)
    files.sync(name="Backup at 02:00, health every 5 minutes", state=state, wanted=[files.File(layout.CRON, text)])
    failing = "cron does not start: no backups are made. Log in and see `systemctl status cron`."
    commands.run(
        name="cron runs, also after a boot",
        wanted=commands.started(state, "cron.service", failing),
        otherwise="cron runs",
    )
