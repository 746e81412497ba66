"""The command `koprogo`: its arguments, its exit codes, and nothing else.

    koprogo status [--json]   what runs                                       exit 0
    koprogo deploy [--check]  bring the newest commit, or leave things alone  exit 0 done or nothing to do, 1 problem
    koprogo backup            dump and verify the database                    exit 0 done, 1 no backup
    koprogo health            look at everything                              exit 0 well, 1 not

`deploy --check` is what the timer starts: without a new commit it prints nothing. `deploy` without it is for people
and for deploy.py: it waits for a run that is going on, applies a changed .env to the version that runs, waits
longer for CI, and always says what came of it.

Logs: this program writes lines with a time to standard output and standard error. Deploys write them to `log_file` too
(/var/log/koprogo-gitops.log), whoever starts them; what koprogo-gitops.service prints is in the journal besides. The
lines in /etc/cron.d/koprogo append theirs by `>> /var/log/koprogo-backup.log 2>&1` (and -health.log).

It works as the owner of its state directory: started by root, it reads its configuration, which is root's, and becomes
that user before it does anything else, so that neither git nor a file of the application is ever handled with root's
rights. The folder that it is started in may be closed to that user, and Python looks for modules there:
/usr/local/bin/koprogo goes to / before it starts Python.
"""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Sequence

from koprogo import config as settings
from koprogo import log
from koprogo.config import Config
from koprogo.problem import Problem

UMASK = 0o022
"""Containers run as users of their own and have to read what the checkout mounts into them; what is secret says so."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.umask(UMASK)
    try:
        config = settings.load()
        become_owner(config)
        return _run(options, config)
    except Problem as problem:
        log.complain(str(problem))
    except KeyboardInterrupt:
        log.complain("Interrupted. What was begun is taken up again by the next check.")
    return 1


def _run(options: argparse.Namespace, config: Config) -> int:
    # Imported when needed: a check every three minutes should not load what it does not use.
    if options.command == "deploy":
        from koprogo import deploy  # noqa: PLC0415

        return deploy.run(config, asked=not options.check)
    if options.command == "backup":
        from koprogo import backup  # noqa: PLC0415

        return backup.run(config)
    if options.command == "health":
        from koprogo import health  # noqa: PLC0415

        return health.run(config)
    from koprogo import status  # noqa: PLC0415

    return status.run(config, as_json=options.json)


def become_owner(config: Config) -> None:
    """Drop root's rights for those of the user whom the state directory belongs to; anybody else is sent away."""
    try:
        owner = config.state_dir.stat().st_uid
    except OSError as error:
        raise Problem(f"{config.state_dir}: {error.strerror}. Try `sudo koprogo …`.") from None
    if os.geteuid() == owner:
        return
    user = pwd.getpwuid(owner)
    if os.geteuid() != 0:
        raise Problem(f"This is for the user {user.pw_name}: try `sudo koprogo …`.")
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="koprogo", description="KoproGo on this server: what runs, and what to do.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="what runs, how it does, the last check and backup")
    status.add_argument("--json", action="store_true", help="for programs")
    deploy = commands.add_parser("deploy", help="bring the newest commit, go back if it is not healthy")
    deploy.add_argument("--check", action="store_true", help="as the timer does: quiet when there is nothing new")
    commands.add_parser("backup", help="dump the database, verify the dump, keep the last days")
    commands.add_parser("health", help="one line when all is well, else one for each problem")
    return parser
