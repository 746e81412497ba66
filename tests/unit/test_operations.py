"""What the steps of deploy.py decide, given the state of a server. No machine, no network."""

import copy
import grp
import io
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_settings
from pydantic import SecretStr
from test_settings import load

from facts import layout
from facts.on_server import environment as env
from facts.on_server import system
from facts.server import Environment, State
from facts.wire import ship
from operations import (
    base,
    commands,
    docker,
    fail2ban,
    files,
    firewall,
    gitops,
    packages,
    program,
    repository,
    schedule,
    ssh,
    status_page,
    wanted,
)
from operations.environment import Lines, access, differences
from operations.on_server import mend_environment, put_files
from settings import Settings

ROOT = Path(__file__).parent.parent.parent
URL, BRANCH = "https://git.example/koprogo.git", "main"
ENTRY = {"kind": "file", "text": None, "mode": "600", "owner": "koprogo", "group": "koprogo"}


def virgin() -> State:
    """A fresh Debian 13."""
    off = {"active": "", "enabled": ""}
    units = ("docker.service", "ufw.service", "fail2ban.service", "cron.service", "koprogo-gitops.timer")
    no_rules: dict[str, Any] = {name: [] for name in ("rules4", "rules6", "live4", "live6")}
    state: Any = {
        "system": {
            "id": "debian", "version": "13", "codename": "trixie", "architecture": "amd64", "container": "none",
            "timezone": "Etc/UTC", "interfaces": ["ens3"],
        },
        "packages": {"python3": "3.13", "tzdata": "2025b"},
        "apt": {"fresh": False, "pending": []},
        "swap": {"file_mb": 0, "active": False, "at_boot": False},
        "account": None,
        "units": {name: off for name in units},
        "docker": {"engine": "", "compose": ""},
        "firewall": {"enabled": "", "ipv6": "", "input": "", "output": "", **no_rules},
        "jails": [],
        "sshd": {"passwordauthentication": "yes", "permitrootlogin": "without-password"},
        "files": {},
        "metadata": {},
        "trees": {},
        "repository": {"exists": False, "clone": False, "url": "", "branch": "", "foreign": ""},
        "environment": {
            "file": None, "master": None, "names": [], "values": {}, "hashes": {}, "made": {}, "canonical": False,
        },
        "program": None,
    }  # fmt: skip
    return copy.deepcopy(state)  # type: ignore[no-any-return]  # a literal of that shape


def lines_of(found: list[Any]) -> list[str]:
    return [command.line for command in found]


# Packages


def test_lists_that_were_never_fetched_are_fetched_and_an_upgrade_is_planned() -> None:
    assert packages.refresh(virgin()) == [packages.REFRESH]
    assert "--with-new-pkgs upgrade" in lines_of(packages.upgrade(virgin()))[0]


def test_with_fresh_lists_only_a_pending_upgrade_is_a_change() -> None:
    state = virgin()
    state["apt"] = {"fresh": True, "pending": []}
    assert packages.refresh(state) == packages.upgrade(state) == []
    state["apt"]["pending"] = ["openssl"]
    assert len(packages.upgrade(state)) == 1


def test_only_missing_packages_are_installed_in_one_go() -> None:
    assert packages.missing(virgin(), ["tzdata", "ufw", "cron", "cron"]) == ["cron", "ufw"]
    assert "--no-install-recommends install cron ufw ||" in packages.install(["cron", "ufw"]).line


# Docker


@pytest.mark.parametrize(
    ("system", "version", "expected"),
    [
        ("debian", "13", ("docker.io", "docker-cli", "docker-compose")),
        ("debian", "", ("docker.io", "docker-cli", "docker-compose")),
        ("debian", "12", ()),
        ("ubuntu", "22.04", ("docker.io", "docker-compose-v2")),
        ("ubuntu", "24.04", ("docker.io", "docker-compose-v2")),
        ("ubuntu", "20.04", ()),
        ("fedora", "43", ()),
    ],
)
def test_docker_comes_from_the_distribution_where_it_is_new_enough(
    system: str, version: str, expected: tuple[str, ...]
) -> None:
    state = virgin()
    state["system"] |= {"id": system, "version": version}
    assert docker.from_distribution(state) == expected
    assert docker.from_docker(state) == (expected == ())


@pytest.mark.parametrize(
    ("engine", "compose", "enough"),
    [
        ("26.1.5+dfsg1", "2.26.1-4", True),
        ("24.0.0", "2.0.0", True),
        ("20.10.24+dfsg1", "2.26.1", False),
        ("27.0.1", "", False),
        ("27.0.1", "1.29.2", False),
        ("", "", False),
    ],
)
def test_docker_that_is_there_is_kept_if_it_is_new_enough(engine: str, compose: str, enough: bool) -> None:
    state = virgin()
    state["docker"] = {"engine": engine, "compose": compose}
    assert docker.suffices(state) is enough
    assert (docker.from_distribution(state) == ()) is enough


def test_the_key_of_docker_is_kept_only_with_the_known_fingerprint() -> None:
    needed, line = lines_of(docker.key_commands(virgin()["system"]))
    assert "DEBIAN_FRONTEND=noninteractive" in needed
    assert "install ca-certificates curl gnupg ||" in needed
    assert "https://download.docker.com/linux/debian/gpg" in line
    assert '[ "$found" = 9DC858229FC7DD38854AE2D88D81803C0EBFCD88 ]' in line
    assert line.index("9DC85822") < line.index("/etc/apt/keyrings/docker.asc")


def test_daemon_json_keeps_what_an_operator_added() -> None:
    state = virgin()
    text = '{"registry-mirrors": ["https://m"], "live-restore": false}'
    entry: Any = {**ENTRY, "text": text}
    state["files"]["/etc/docker/daemon.json"] = entry
    assert json.loads(docker.daemon(state).text) == {
        "registry-mirrors": ["https://m"],
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
    }


# The machine itself


def test_no_swap_in_a_container_and_none_twice() -> None:
    state = virgin()
    assert "bs=1M count=1024" in lines_of(base.swap_commands(state, 1024))[0]
    assert base.swap_commands(state, 0) == []
    state["swap"] = {"file_mb": 1024, "active": True, "at_boot": True}
    assert base.swap_commands(state, 1024) == []
    assert "swapoff /swapfile" in lines_of(base.swap_commands(state, 0))[0]
    assert "mkswap" not in lines_of(base.swap_commands(state, 0))[0]
    assert "count=2048" in lines_of(base.swap_commands(state, 2048))[0]
    state["system"]["container"] = "systemd-nspawn"
    assert base.swap_commands(state, 2048) == []


def test_the_user_is_made_or_given_what_is_missing() -> None:
    state = virgin()
    assert "useradd --create-home --home-dir /home/koprogo" in lines_of(base.user_commands(state))[0]
    state["account"] = {"shell": "/bin/bash", "groups": []}
    assert "usermod --append --groups docker koprogo" in lines_of(base.user_commands(state))[0]
    state["account"] = {"shell": "/bin/bash", "groups": ["docker"]}
    assert base.user_commands(state) == []


def test_the_time_zone_is_the_one_that_was_set_and_not_what_it_is_another_name_of(tmp_path: Path) -> None:
    zones, link = tmp_path / "zoneinfo", tmp_path / "localtime"
    (zones / "Etc").mkdir(parents=True)
    (zones / "Etc" / "UTC").touch()
    (zones / "UTC").symlink_to("Etc/UTC")
    assert system.timezone(link) == ""
    link.symlink_to(zones / "UTC")
    assert system.timezone(link) == "UTC"
    link.unlink()
    link.symlink_to("../usr/share/zoneinfo/Europe/Brussels")
    assert system.timezone(link) == "Europe/Brussels"
    link.unlink()
    link.touch()
    assert system.timezone(link) == ""


# Firewall

LIVE = [
    "-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
    "-A DOCKER-USER -i ens3 -p tcp -m conntrack --ctstate DNAT --ctorigdstport 80 --ctdir ORIGINAL -j RETURN",
    "-A DOCKER-USER -i ens3 -p tcp -m conntrack --ctstate DNAT --ctorigdstport 443 --ctdir ORIGINAL -j RETURN",
    "-A DOCKER-USER -i ens3 -j DROP",
]


def live(chain: str) -> list[str]:
    return ["-P INPUT DROP", *LIVE, *(f"-A {chain} -p tcp -m tcp --dport {port} -j ACCEPT" for port in (22, 80, 443))]


def guarded() -> State:
    state = virgin()
    state["units"]["ufw.service"] = {"active": "active", "enabled": "enabled"}
    state["firewall"] = {
        "enabled": "yes", "ipv6": "yes", "input": "DROP", "output": "ACCEPT",
        "rules4": [f"allow tcp {port} 0.0.0.0/0 any 0.0.0.0/0 in" for port in (22, 80, 443)],
        "rules6": [f"allow tcp {port} ::/0 any ::/0 in" for port in (22, 80, 443)],
        "live4": live("ufw-user-input"),
        "live6": live("ufw6-user-input"),
    }  # fmt: skip
    return state


def test_ssh_is_let_in_before_anything_is_refused() -> None:
    found = lines_of(firewall.ufw_commands(virgin()))
    assert found == [
        "sed -i 's/^IPV6=.*/IPV6=yes/' /etc/default/ufw",
        "ufw allow 22/tcp",
        "ufw allow 80/tcp",
        "ufw allow 443/tcp",
        "ufw default deny incoming",
        "ufw default allow outgoing",
        "ufw --force enable",
        "ufw reload",
        "systemctl enable -q --now ufw",
    ]


def test_a_guarded_server_is_left_alone() -> None:
    assert firewall.ufw_commands(guarded()) == []


def test_what_the_kernel_lost_is_loaded_again() -> None:
    first, second = guarded(), guarded()
    first["firewall"]["live4"].remove(LIVE[3])
    second["firewall"]["live6"].remove(LIVE[3])
    for state in (first, second):
        assert lines_of(firewall.ufw_commands(state))[0] == "ufw --force enable"


def test_a_rule_before_ours_in_dockers_chain_does_not_go_unseen() -> None:
    state = guarded()
    state["firewall"]["live4"].insert(0, "-A DOCKER-USER -j ACCEPT")
    assert not firewall.live(state["firewall"], ["ens3"])


def test_a_port_that_is_closed_for_ipv6_only_is_opened() -> None:
    state = guarded()
    state["firewall"]["rules6"].pop()
    assert firewall.closed_ports(state["firewall"]) == [443]


def test_our_block_in_a_file_of_others_is_added_once_and_replaced() -> None:
    once = put_files.with_block("theirs\n", "ours\n")
    assert once == "theirs\n# BEGIN koprogo\nours\n# END koprogo\n"
    assert put_files.with_block(once + "more\n", "new\n") == "theirs\n# BEGIN koprogo\nnew\n# END koprogo\nmore\n"
    assert put_files.with_block("no newline", "x\n").startswith("no newline\n# BEGIN")


# SSH, fail2ban, repository, timer


def test_what_overrules_our_sshd_file_is_named() -> None:
    state = virgin()
    assert ssh.overruled(state, "no") == ["passwordauthentication yes", "permitrootlogin without-password"]
    state["sshd"] = {"passwordauthentication": "no", "permitrootlogin": "without-password"}
    assert ssh.overruled(state, "prohibit-password") == []
    assert ssh.root_login("root") == "prohibit-password"
    assert ssh.root_login("ubuntu") == "no"


def test_a_jail_that_does_not_run_is_started() -> None:
    state = virgin()
    assert len(fail2ban.service_commands(state)) == 1
    state["jails"] = ["sshd"]
    state["units"]["fail2ban.service"] = {"active": "active", "enabled": "enabled"}
    assert fail2ban.service_commands(state) == []


def test_a_clone_is_made_once_and_only_corrected_later() -> None:
    there: Any = {"exists": True, "clone": True, "url": URL, "branch": BRANCH, "foreign": ""}
    assert " git clone " in lines_of(repository.clone_commands(virgin()["repository"], URL, BRANCH))[0]
    assert repository.clone_commands(there, URL, BRANCH) == []
    elsewhere: Any = {**there, "url": "https://old", "branch": "x"}
    foreign: Any = {**there, "foreign": "/x"}
    moved = lines_of(repository.clone_commands(elsewhere, URL, BRANCH))
    assert [("ls-remote" in line, "set-url" in line, "checkout -q -B main" in line) for line in moved] == [
        (True, False, False), (False, True, False), (False, False, True),
    ]  # fmt: skip
    mended = lines_of(repository.clone_commands(foreign, URL, BRANCH))
    assert mended == ["chown -R --no-dereference koprogo:koprogo /home/koprogo/koprogo"]


def test_a_folder_that_is_no_clone_is_left_alone() -> None:
    other: Any = {"exists": True, "clone": False, "url": "", "branch": "", "foreign": ""}
    (command,) = repository.clone_commands(other, URL, BRANCH)
    assert command.line == "false"
    assert "left alone" in command.failing


@pytest.mark.parametrize(
    ("active", "enabled", "expected"),
    [
        ("active", "enabled", []),
        ("active", "disabled", ["systemctl enable -q --now cron.service"]),
        ("inactive", "enabled", ["systemctl enable -q --now cron.service"]),
        ("", "", ["systemctl enable -q --now cron.service"]),
    ],
)
def test_a_unit_is_started_unless_it_runs_and_comes_back(active: str, enabled: str, expected: list[str]) -> None:
    state = virgin()
    state["units"]["cron.service"] = {"active": active, "enabled": enabled}
    assert lines_of(commands.started(state, "cron.service", "cron does not start")) == expected


def test_the_timer_is_started_and_never_the_service() -> None:
    state = virgin()
    assert lines_of(gitops.timer_commands(state)) == ["systemctl enable -q --now koprogo-gitops.timer"]
    state["units"]["koprogo-gitops.timer"] = {"active": "active", "enabled": "enabled"}
    assert gitops.timer_commands(state) == []


def test_the_hours_of_cron() -> None:
    log = "2>&1 | tee -a /var/log/koprogo"
    assert schedule.crontab(offsite=False).splitlines()[5:] == [
        f"0 2 * * * koprogo /usr/local/bin/koprogo backup {log}-backup.log > /dev/null",
        f"30 3 * * 0 koprogo /usr/local/bin/koprogo drill {log}-backup.log > /dev/null",
        f"*/5 * * * * koprogo /usr/local/bin/koprogo health {log}-health.log > /dev/null",
    ]
    assert schedule.crontab(offsite=True).splitlines()[-1] == (
        f"15 5 * * 0 koprogo /usr/local/bin/koprogo offsite check {log}-backup.log > /dev/null"
    )


def test_what_cron_does_is_done_without_a_log_too(tmp_path: Path) -> None:
    program, log = tmp_path / "program", tmp_path / "logs" / "backup.log"
    program.write_text(f'#!/bin/sh\necho "$1 is done"; touch {tmp_path}/$1\n')
    program.chmod(0o755)
    line = schedule.crontab(offsite=False).splitlines()[5].split("koprogo ", 1)[1]
    command = line.replace(str(layout.PROGRAM), str(program)).replace(str(layout.BACKUP_LOG), str(log))
    subprocess.run(["sh", "-c", command], check=False)
    assert (tmp_path / "backup").exists()
    assert not log.exists()
    log.parent.mkdir()
    subprocess.run(["sh", "-c", command], check=True)
    assert log.read_text() == "backup is done\n"


def test_folders_and_logs_have_their_owners_and_modes() -> None:
    state = virgin()
    right: Any = {
        "/var/lib/koprogo": ("750", "koprogo", "koprogo"),
        "/home/koprogo/backups": ("700", "koprogo", "koprogo"),
        "/var/log/koprogo-gitops.log": ("640", "koprogo", "adm"),
        "/var/log/koprogo-backup.log": ("640", "koprogo", "adm"),
        "/var/log/koprogo-health.log": ("640", "koprogo", "adm"),
    }
    state["metadata"] = dict.fromkeys(right)
    assert program.out_of_place(state) == list(right)
    entries: Any = {
        path: {**ENTRY, "mode": mode, "owner": owner, "group": group} for path, (mode, owner, group) in right.items()
    }
    state["metadata"] = entries
    assert program.out_of_place(state) == []
    for path in right:
        for change in ({"mode": "777"}, {"owner": "root"}, {"group": "root"}):
            state["metadata"] = entries | {path: entries[path] | change}
            assert program.out_of_place(state) == [path]


# Deploy


@pytest.mark.parametrize(
    ("said", "changes", "needed"),
    [
        (None, False, True),
        ({"running_commit": None, "settings_applied": False, "healthy": False}, False, True),
        ({"running_commit": "e0a203d", "settings_applied": True, "healthy": True}, False, False),
        ({"running_commit": "e0a203d", "settings_applied": True, "healthy": True}, True, True),
        ({"running_commit": "e0a203d", "settings_applied": False, "healthy": True}, False, True),
        ({"running_commit": "e0a203d", "settings_applied": True, "healthy": False}, False, True),
        ({"healthy": True}, False, True),
    ],
)
def test_a_deploy_is_needed(said: dict[str, Any] | None, changes: bool, needed: bool) -> None:
    assert program.needs_deploy(said, changes) is needed


folder = test_settings.folder


def deployed(found: Settings) -> State:
    """A server to which these settings were deployed, and where all is well."""
    state, lines = virgin(), wanted.lines(found)
    state["repository"] = {
        "exists": True, "clone": True, "url": "https://github.com/gilmry/koprogo.git", "branch": "main", "foreign": "",
    }  # fmt: skip
    state["environment"] = present(
        names=lines.names, values=dict(lines.plain), made=dict.fromkeys(lines.make, "set"),
        hashes={name: env.keyed_hash("salt", value.get_secret_value()) for name, value in lines.secret.items()},
    )  # fmt: skip
    configuration: Any = {**ENTRY, "text": json.dumps(wanted.program_configuration(found))}
    state["files"]["/etc/koprogo/config.json"] = configuration
    state["program"] = {"running_commit": "e0a203d", "settings_applied": True, "healthy": True}
    return state


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"IMAGE_TAG": "main-1a2b3c4"}, True),
        ({"COMPOSE_FILE": "deploy/production/other.yml"}, True),
        ({"COMPOSE_FILE": "deploy/staging/docker-compose.yml"}, True),
        ({"BRANCH": "next"}, True),
        ({"REPOSITORY_URL": "https://git.example/koprogo.git"}, True),
        ({"RUST_LOG": "trace"}, True),
        ({"BACKUP_DAYS": "30"}, False),
        ({"HEALTH_PATH": "/health"}, False),
    ],
)
def test_a_setting_that_decides_what_is_deployed_is_deployed_in_the_same_run(
    changes: dict[str, str], needed: bool, folder: Path
) -> None:
    state = deployed(load(folder))
    assert wanted.deploy_needed(load(folder, **changes), state) is needed


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", None])
def test_a_configuration_that_says_nothing_is_no_traceback_and_a_deploy(text: str | None, folder: Path) -> None:
    found = load(folder)
    state = deployed(found)
    broken: Any = text if text is None else {**ENTRY, "text": text}
    state["files"]["/etc/koprogo/config.json"] = broken
    assert wanted.deploy_needed(found, state) is True


def test_who_may_sign_is_configuration_and_no_reason_to_deploy(folder: Path) -> None:
    found = load(folder)
    plain = wanted.program_configuration(found)
    assert (plain["allow_rewrite"], plain["allowed_signers"]) == (False, None)
    assert plain["log_file"] == "/var/log/koprogo-gitops.log"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8zH0bYq7tH0l4m1hPqkqv0m0e1yXl8kq3mJcQ8fC2N"
    (folder / "signers").write_text(f"ann@x.be {key}\n")
    strict = load(folder, GITOPS_ALLOWED_SIGNERS="signers", GITOPS_ALLOW_FORCE_PUSH="true")
    changed = wanted.program_configuration(strict)
    assert {name: changed[name] for name in changed if changed[name] != plain[name]} == {
        "allow_rewrite": True,
        "allowed_signers": "/etc/koprogo/allowed_signers",
    }
    assert wanted.deploy_needed(strict, deployed(found)) is False


def test_the_service_keeps_its_lines_in_the_journal_and_may_write_its_log() -> None:
    unit = gitops.service().splitlines()
    assert not [line for line in unit if line.startswith(("StandardOutput=", "StandardError=", "ProcSubset="))]
    assert "ReadWritePaths=/var/lib/koprogo -/var/log/koprogo-gitops.log" in unit
    assert "User=koprogo" in unit


def test_the_command_imports_nothing_from_the_folder_where_it_is_called(tmp_path: Path) -> None:
    package, here = tmp_path / "library" / "koprogo", tmp_path / "here"
    package.mkdir(parents=True)
    here.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    (here / "json.py").write_text("raise SystemExit('taken from the current folder')\n")
    launcher = tmp_path / "koprogo"
    launcher.write_text(files.render("launcher.sh", library=package.parent))
    called = ["sh", str(launcher), "status", "two words"]
    done = subprocess.run(called, cwd=here, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('["status", "two words"]\n', "")


# Environment

WANTED = Lines({"RUST_LOG": "warn", "A": "1"}, {"SMTP_PASSWORD": SecretStr("s$1")}, {"JWT_SECRET": 64})


def present(**changes: Any) -> Environment:
    found: Any = {
        "file": ENTRY,
        "master": {**ENTRY, "owner": "root", "group": "root"},
        "names": ["RUST_LOG", "A", "SMTP_PASSWORD", "JWT_SECRET"],
        "values": {"RUST_LOG": "warn", "A": "1"},
        "hashes": {"SMTP_PASSWORD": env.keyed_hash("salt", "s$1")},
        "made": {"JWT_SECRET": "set"},
        "canonical": True,
        "salt": "salt",
    }
    return found | changes  # type: ignore[no-any-return]  # of that shape


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"values": {"RUST_LOG": "trace", "A": "1"}}, ["~ RUST_LOG trace → warn"]),
        ({"hashes": {"SMTP_PASSWORD": env.keyed_hash("salt", "other")}}, ["~ SMTP_PASSWORD"]),
        ({"made": {"JWT_SECRET": "drifted"}}, ["~ JWT_SECRET (drifted)"]),
        ({"made": {"JWT_SECRET": "missing"}}, ["~ JWT_SECRET (missing)"]),
        ({"names": ["A", "RUST_LOG", "SMTP_PASSWORD", "JWT_SECRET"]}, ["~ order or form of the lines"]),
        ({"names": ["RUST_LOG", "A", "SMTP_PASSWORD", "JWT_SECRET", "X"]}, ["- X"]),
        ({"names": ["RUST_LOG", "A", "SMTP_PASSWORD"]}, ["+ JWT_SECRET"]),
        ({"canonical": False}, ["~ order or form of the lines"]),
    ],
)
def test_differences_of_env_name_every_line_and_show_no_secret(changes: dict[str, Any], expected: list[str]) -> None:
    assert differences(WANTED, present(**changes)) == expected
    assert access(present(**changes)) == []


def test_mode_and_owner_of_env_are_compared() -> None:
    wrong = {**ENTRY, "mode": "644", "owner": "root"}
    assert access(present(file=wrong)) == ["~ mode 644 → 600", "~ owner root:koprogo → koprogo:koprogo"]
    assert access(present(master=None)) == ["+ /etc/koprogo/secrets.json"]
    assert differences(WANTED, present(file=wrong)) == []


def test_env_reads_what_it_writes_and_quotes_what_a_shell_would_change() -> None:
    values = {"A": "plain-1.2/x:y@z,+", "B": 'pa$$ "word" #1', "C": "", "D": "a=b"}
    text = env.render(values)
    assert text.splitlines()[1:] == ["A=plain-1.2/x:y@z,+", "B='pa$$ \"word\" #1'", "C=", "D='a=b'"]
    assert env.parse(text) == values


def test_secrets_are_made_once_then_kept() -> None:
    made = mend_environment.secrets_for({"A": 32, "B": 64}, {}, {})
    assert [len(made["A"]), len(made["B"])] == [32, 64]
    assert made["A"].isalnum()
    assert mend_environment.secrets_for({"A": 32}, {"A": "kept"}, {"A": "drifted"}) == {"A": "kept"}
    assert mend_environment.secrets_for({"A": 32}, {}, {"A": "of an earlier set-up"}) == {"A": "of an earlier set-up"}
    assert mend_environment.secrets_for({"A": 32}, {}, {}) != mend_environment.secrets_for({"A": 32}, {}, {})


def test_the_state_of_env_tells_no_secret(tmp_path: Path) -> None:
    file, master = tmp_path / ".env", tmp_path / "secrets.json"
    file.write_text("RUST_LOG=warn\nSMTP_PASSWORD='hush'\nJWT_SECRET=sss\nOTHER=private\n")
    master.write_text('{"JWT_SECRET": "sss"}')
    state = env.state(str(file), str(master), ["RUST_LOG"], ["JWT_SECRET", "POSTGRES_PASSWORD"], "salt")
    assert state["values"] == {"RUST_LOG": "warn"}
    assert state["made"] == {"JWT_SECRET": "set", "POSTGRES_PASSWORD": "missing"}
    assert sorted(state["hashes"]) == ["OTHER", "SMTP_PASSWORD"]
    assert not {"hush", "sss", "private"} & set(json.dumps(state).replace('"', " ").split())


# Files


def test_a_file_differs_by_text_mode_owner_or_group() -> None:
    file = files.File("/x", "text", mode="600", owner="koprogo", group="koprogo")
    same: Any = {**ENTRY, "text": "text"}
    assert not file.differs(same)
    assert file.differs(None)
    for change in ({"text": "x"}, {"mode": "644"}, {"owner": "root"}, {"group": "root"}, {"kind": "folder"}):
        assert file.differs(same | change)


def order_of(path: Path, text: str, check: str = "", then: str = "", *more: dict[str, Any]) -> str:
    user = {"owner": "root", "group": "root"} if os.geteuid() == 0 else _me()
    file = {"path": str(path), "text": text, "mode": "640", "block": False, **user}
    return json.dumps(
        {"files": [file, *({**file, **other} for other in more)], "absent": [], "check": check, "then": then}
    )


def _me() -> dict[str, str]:
    return {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


def shipped(order: str) -> subprocess.CompletedProcess[str]:
    command = ship("operations.on_server.put_files")
    return subprocess.run(["sh", "-c", command], input=order, capture_output=True, text=True, check=False, cwd="/")


def test_a_shipped_module_writes_a_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    done = shipped(order_of(path, "text é\n", check=f"grep -q text {path}"))
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == "text é\n"
    assert f"{path.stat().st_mode & 0o777:o}" == "640"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("stage", ["check", "then"])
def test_a_refused_file_is_taken_back(stage: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("before")
    for path in (old, new):
        done = shipped(order_of(path, "after", **{stage: "echo bad line 3; false"}))
        assert done.returncode == 1
        assert "bad line 3" in done.stderr
        assert "the former state is back" in done.stderr
        assert "Traceback" not in done.stderr
    assert old.read_text() == "before"
    assert not new.exists()


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"path": "plain/new"}, "Not a directory"),
        ({"path": "folder"}, "Is a directory"),
        ({"path": "new", "group": "nosuch"}, "getgrnam(): name not found: 'nosuch'"),
        ({"path": "latin-1", "block": True}, "'utf-8' codec can't decode byte 0xe9 in position 0"),
    ],
    ids=["parent", "folder", "group", "encoding"],
)
def test_a_file_that_cannot_be_written_leaves_those_before_it_as_they_were(
    second: dict[str, Any], why: str, tmp_path: Path
) -> None:
    first, plain = tmp_path / "first", tmp_path / "plain"
    first.write_text("before")
    first.chmod(0o604)
    plain.touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin-1").write_bytes(b"\xe9\n")
    present = sorted(path.name for path in tmp_path.iterdir())
    done = shipped(order_of(first, "after", "", "", {**second, "path": str(tmp_path / second["path"])}))
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"{first}, {tmp_path / second['path']}: could not be written (")
    assert why in said
    assert said.endswith("; the former state is back.")
    assert (first.read_text(), f"{first.stat().st_mode & 0o777:o}") == ("before", "604")
    assert sorted(path.name for path in tmp_path.iterdir()) == present


def mending(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What it ends with when it cannot write .env, below `folder`, with a secret made there."""
    path, master, user = folder / ".env", folder / "secrets.json", pwd.getpwuid(os.getuid()).pw_name
    order = {"path": str(path), "master": str(master), "user": user, "lines": {"A": "1"}, "make": {"JWT_SECRET": 64}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
    with pytest.raises(SystemExit) as caught:
        mend_environment.main()
    (said,) = str(caught.value).splitlines()
    return said


@pytest.mark.parametrize("broken", [".env", "secrets.json"])
def test_an_environment_that_cannot_be_written_is_one_line(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / broken).mkdir()
    said = mending(tmp_path, monkeypatch)
    assert said.startswith(f"{tmp_path}/.env: could not be rewritten ([Errno ")


def test_an_environment_that_cannot_be_read_is_left_alone_with_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"JWT_SECRET=kept\nNAME=Andr\xe9\n")
    assert "could not be rewritten ('utf-8' codec can't decode byte 0xe9" in mending(tmp_path, monkeypatch)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        (".env", b"JWT_SECRET=kept\nNAME=Andr\xe9\n")
    ]


@pytest.mark.parametrize(
    "check",
    [["ruff", "check", "-q", "--target-version", "py310", "--select", "F,E9"], ["mypy", "--python-version", "3.10"]],
    ids=["grammar", "library"],
)
def test_what_runs_on_a_server_runs_on_python_3_10(check: list[str]) -> None:
    """Ubuntu 22.04 has 3.10: nothing newer than its grammar and its library may slip in."""
    folders = ["facts/on_server", "operations/on_server", "files/koprogo"]
    done = subprocess.run(
        [sys.executable, "-m", *check, *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# The status page


@pytest.mark.parametrize(
    ("said", "domain", "pending", "needed"),
    [
        (None, None, True, False),
        (None, "status.x.com", False, True),
        ({"status_page": None}, None, True, False),
        ({"status_page": None}, "status.x.com", False, True),
        ({"status_page": "status.x.com"}, "status.x.com", False, False),
        ({"status_page": "status.x.com"}, "status.x.com", True, True),
        ({"status_page": "old.x.com"}, "status.x.com", False, True),
        ({"status_page": "status.x.com"}, None, False, True),
        ({}, None, False, False),
    ],
)
def test_the_page_is_written_where_it_is_not_served_as_it_should_be(
    said: dict[str, Any] | None, domain: str | None, pending: bool, needed: bool
) -> None:
    assert status_page.needed(said, domain, pending) is needed


def test_only_a_server_with_a_page_gets_what_serves_it() -> None:
    assert status_page.packages(None) == ()
    assert status_page.packages("status.x.com") == ("busybox-static",)


def test_the_page_is_a_public_name_and_no_reason_to_deploy(folder: Path) -> None:
    found = load(folder, STATUS_PAGE_DOMAIN="status.koprogo.com")
    assert wanted.program_configuration(found)["status_page"] == {"domain": "status.koprogo.com", "language": "en"}
    assert wanted.program_configuration(load(folder))["status_page"] is None
    assert wanted.site(found, "192.0.2.1").names == ["api.koprogo.com", "koprogo.com", "status.koprogo.com"]
    assert wanted.deploy_needed(found, deployed(load(folder))) is False
