"""The command `koprogo`: its arguments, its exit codes, and nothing else.

    koprogo status [--json]     what runs, and what goes on                     exit 0
    koprogo deploy [--check]    bring the newest commit, or leave things alone  exit 0 done or nothing to do, 1 problem
    koprogo diff                what the next deploy would change               exit 0, 1 it would be refused
    koprogo history [--json]    what was deployed, what failed                  exit 0
    koprogo rollback [COMMIT]   go back and stay there                          exit 0 done, 1 not
    koprogo pause [REASON]      no deploys by themselves                        exit 0, 1 rolled back already
    koprogo resume              … again                                         exit 0
    koprogo retry               try the newest commit although it failed        exit 0 done or nothing to do, 1 problem
    koprogo logs [SERVICE]      the last lines                                  exit 0, 1 there are none
    koprogo backup [--verify]   save and verify the database, or verify a set   exit 0 done, 1 no backup, a bad one
    koprogo restore [SET]       put a set back into place                       exit 0 done, 1 not
    koprogo offsite …           copies elsewhere: list, fetch, upload, check    exit 0 done, 1 not
    koprogo drill               restore the newest set, count, throw it away    exit 0 good, 1 not
    koprogo health [--json]     look at everything                              exit 0 well, 1 not
    koprogo health --test-alert send a message to whom alerts go                exit 0 accepted everywhere, 1 not
    koprogo page                write the status page, see that it is served    exit 0 done or none wanted, 1 not

Each ends with 1 too when the server cannot tell or do what was asked, and says why on standard error; with 2 when it
was called in a way that there is not.

`deploy --check` is what the timer starts: without a new commit it prints nothing. `deploy` without it is for people
and for deploy.py: it waits for a run that is going on, applies a changed .env to the version that runs, waits
longer for CI, and always says what came of it.

Logs: this program writes lines with a time to standard output and standard error. Deploys write them to `log_file` too
(/var/log/koprogo-gitops.log), whoever starts them; what koprogo-gitops.service prints is in the journal besides. The
lines in /etc/cron.d/koprogo append theirs to /var/log/koprogo-backup.log and -health.log.

It works as the owner of its state directory: started by root, it reads its configuration, which is root's, and becomes
that user before it does anything else, so that neither git nor a file of the application is ever handled with root's
rights. The folder that it is started in may be closed to that user, and Python looks for modules there:
/usr/local/bin/koprogo goes to / before it starts Python.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from koprogo import config as settings
from koprogo import log
from koprogo.config import Config
from koprogo.problem import Problem

UMASK = 0o022
"""Containers run as users of their own and have to read what the checkout mounts into them; what is secret says so."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    _write_anything()
    try:
        code = _guarded(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _write_nothing()  # `koprogo history | head`: whoever read has enough
        return 0
    except OSError as error:
        _write_nothing()
        log.complain(f"{error.filename or 'standard output'}: {error.strerror}.")
        return 1
    return code


def _guarded(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "restore" and (options.resume or options.drop_old) and (options.set or options.from_offsite):
        # Whoever names one set, or one kept volume, would not expect that it is about all of them.
        parser.error("restore: --resume and --drop-old are about no set in particular")
    os.umask(UMASK)
    try:
        config = settings.load()
        become_owner(config)
        return _run(options, config)
    except Problem as problem:
        log.complain(str(problem))
    except KeyboardInterrupt:
        log.complain("Interrupted. What was begun to be switched is finished or undone by the next check.")
    return 1


def _write_anything() -> None:
    """Let what a terminal cannot show come out as `?`: by itself it would end a deploy half-way."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _write_nothing() -> None:
    """Let Python, when it ends, not try once more what could not be written."""
    if sys.stdout is not None:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def _run(options: argparse.Namespace, config: Config) -> int:
    # Imported when needed: a check every three minutes should not load what it does not use.
    calls: dict[str, Callable[[], int]] = {
        "deploy": lambda: _module("deploys.deploy").run(config, asked=not options.check),
        "retry": lambda: _module("deploys.deploy").run(config, asked=True, retry=True),
        "rollback": lambda: _module("deploys.operate").go_back(
            config, options.commit, data_restored=options.data_restored
        ),
        "pause": lambda: _module("deploys.operate").pause(config, " ".join(options.reason) or "no reason given"),
        "resume": lambda: _module("deploys.operate").resume(config),
        "logs": lambda: _module("deploys.operate").logs(config, options.service, options.lines, follow=options.follow),
        "diff": lambda: _module("deploys.diff").run(config),
        "history": lambda: _module("history").run(config, as_json=options.json),
        "status": lambda: _module("status").run(config, as_json=options.json),
        "backup": lambda: _backup(options, config),
        "restore": lambda: _restore(options, config),
        "offsite": lambda: _offsite(options, config),
        "drill": lambda: _module("backups.drill").run(config),
        "health": lambda: _health(options, config),
        "page": lambda: _module("page.page").run(config),
    }
    return calls[options.command]()


def _backup(options: argparse.Namespace, config: Config) -> int:
    module = _module("backups.backup")
    found: int = (
        module.run(config, offsite=not options.no_offsite)
        if options.verify is None
        else module.verify(config, options.verify)
    )
    return found


def _restore(options: argparse.Namespace, config: Config) -> int:
    module = _module("backups.restore")
    if options.from_offsite:
        options.set = _module("backups.offsite").fetch(config, options.set)
    found: int
    if options.resume:
        found = module.resume(config)
    elif options.drop_old:
        found = module.drop_old(config, yes=options.yes)
    elif options.into_scratch:
        found = module.into_scratch(config, options.set)
    else:
        found = module.run(config, options.set, files=options.with_files, yes=options.yes)
    return found


def _health(options: argparse.Namespace, config: Config) -> int:
    found: int = (
        _module("alerts.notify").test(config)
        if options.test_alert
        else _module("health.health").run(config, as_json=options.json)
    )
    return found


def _offsite(options: argparse.Namespace, config: Config) -> int:
    copies, uploads, recovery = "backups.offsite", "backups.offsite_upload", "backups.recovery"
    if options.action == "fetch":
        _module(copies).fetch(config, options.set)
        return 0
    calls: dict[str, Callable[[], int]] = {
        "list": lambda: _module(copies).show(config),
        "upload": lambda: _module(uploads).upload(config),
        "check": lambda: _module(copies).check(config),
        "setup": lambda: _module(copies).setup(config),
        "recover": lambda: _module(recovery).recover(config, options.set),
        "finish": lambda: _module(recovery).finish(config),
    }
    return calls[options.action]()


def _module(name: str) -> Any:
    return importlib.import_module(f"koprogo.{name}")


def become_owner(config: Config) -> None:
    """Drop root's rights for those of the user whom the state directory belongs to; anybody else is sent away."""
    try:
        owner = config.state_dir.stat().st_uid
        checkouts = config.checkout.stat().st_uid if config.checkout.exists() else owner
    except OSError as error:
        raise Problem(f"{error.filename}: {error.strerror}. Try `sudo koprogo …`.") from None
    if owner != checkouts:
        # Else Git would run as root on what somebody else can write, were the folder root's.
        raise Problem(
            f"{config.state_dir} and {config.checkout} belong to two users. Run deploy.py again from the operator's "
            f"machine."
        )
    if os.geteuid() == owner:
        return
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        raise Problem(
            f"{config.state_dir} belongs to the user {owner}, who is not there. "
            f"Run deploy.py again from the operator's machine."
        ) from None
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
    commands.add_parser("diff", help="what the next deploy would change; touches nothing")
    past = commands.add_parser("history", help="what was deployed here, and what failed")
    past.add_argument("--json", action="store_true", help="for programs")
    back = commands.add_parser("rollback", help="go back to the version before, or to COMMIT, and stay there")
    back.add_argument("commit", nargs="?", default="", metavar="COMMIT", help="the beginning of its name")
    back.add_argument("--data-restored", action="store_true", help="the database is as that version needs it")
    wait = commands.add_parser("pause", help="no deploys by themselves until resume")
    wait.add_argument("reason", nargs="*", metavar="REASON", help="for whoever looks at the status")
    commands.add_parser("resume", help="end a pause or a rollback: the next check deploys the newest commit")
    commands.add_parser("retry", help="try the newest commit again although it is in quarantine")
    lines = commands.add_parser("logs", help="the last lines of the deploys' log, or of a service's containers")
    lines.add_argument("service", nargs="?", default="", metavar="SERVICE")
    lines.add_argument("-n", dest="lines", type=_count, default=20, metavar="LINES", help="how many (20)")
    lines.add_argument("-f", "--follow", action="store_true", help="and further ones as they come, until Ctrl-C")
    backup = commands.add_parser("backup", help="save and verify the database, keep the last days")
    backup.add_argument(
        "--verify", nargs="?", const="", metavar="SET", help="read a set again, the newest if none is named"
    )
    backup.add_argument("--no-offsite", action="store_true", help="store no copy elsewhere this time")
    restore = commands.add_parser("restore", help="put a set back into place, the newest if none is named; asks first")
    restore.add_argument("set", nargs="?", default="", metavar="SET", help="its name: 20261122_020005")
    how = restore.add_mutually_exclusive_group()
    how.add_argument("--into-scratch", action="store_true", help="into a database beside the real one, to look at")
    how.add_argument("--with-files", action="store_true", help=".env, certificates and volumes as well")
    how.add_argument("--resume", action="store_true", help="go on with a restore that was cut off")
    how.add_argument("--drop-old", action="store_true", help="remove the data of before a restore")
    restore.add_argument("--from-offsite", action="store_true", help="fetch the set first from where the copies are")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    copies = commands.add_parser("offsite", help="the encrypted copies elsewhere")
    what = copies.add_subparsers(dest="action", required=True, metavar="ACTION")
    what.add_parser("list", help="which sets are stored")
    get = what.add_parser("fetch", help="bring a set here and verify it, the newest if none is named")
    get.add_argument("set", nargs="?", default="", metavar="SET", help="its name: 20261122_020005")
    what.add_parser("upload", help="store what is not stored so far; `backup` does this by itself")
    what.add_parser("check", help="look whether what is stored is whole; cron does this every week")
    what.add_parser("setup", help="for deploy.py: make the repository, with the recovery key from standard input")
    new = what.add_parser("recover", help="for make restore: fetch what a new server shall have")
    new.add_argument("set", nargs="?", default="", metavar="SET")
    what.add_parser("finish", help="for make restore: put it into place")
    commands.add_parser("drill", help="restore the newest set into a throw-away database and count its rows")
    health = commands.add_parser("health", help="one line when all is well, else one for each problem")
    health.add_argument("--json", action="store_true", help="for programs")
    health.add_argument("--test-alert", action="store_true", help="send a message by every way that is set up")
    commands.add_parser("page", help="write the status page anew, and see that it is served")
    return parser


def _count(text: str) -> int:
    if re.fullmatch(r"[0-9]+", text) is None or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines")
    return int(text)
