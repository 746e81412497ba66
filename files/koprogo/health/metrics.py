"""What a health check found, for Prometheus: a file for the textfile collector of its node exporter.

Form: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. Disk, memory and load are not in
it: the node exporter has them itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from koprogo import log
from koprogo.health.troubles import Trouble
from koprogo.report import Report

if TYPE_CHECKING:
    from koprogo.config import Config

COLLECTED = Path("/var/lib/prometheus/node-exporter")
"""Where Debian's and Ubuntu's prometheus-node-exporter reads such files."""
FILE = "koprogo.prom"

Value = tuple[dict[str, str], float]
"""Labels, and what is measured."""


def write(config: Config, text: str, collected: Path = COLLECTED) -> None:
    """Replace the file, in one step. It is in the state folder where there is no node exporter.

    A file that cannot be written is a line, and no failure of the check.
    """
    folder = collected if collected.is_dir() else config.state_dir
    path = folder / FILE
    partial = folder / f".{FILE}.partial"  # the collector reads *.prom
    try:
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        more = f" Once: sudo chgrp koprogo {folder} && sudo chmod g+w {folder}" if folder == collected else ""
        log.complain(f"{path}: {error.strerror}.{more}")


def render(found: Report, wrong: Sequence[Trouble], told: Iterable[str]) -> str:
    """Return the text; `told` are the keys of what somebody was told of and is not over."""
    addresses, deployed, runs = found.answers, found.state.deployed, found.runs
    times = {
        "backup": runs.good_backup,
        "drill": runs.good_drill,
        "upload": runs.good_upload,
        "offsite_check": runs.good_offsite_check,
    }
    metrics: list[tuple[str, str, list[Value]]] = [
        ("check_time_seconds", "When the last health check looked.", [({}, found.now)]),
        ("up", "Whether a public address answers.", [({"url": a.url}, a.trouble is None) for a in addresses]),
        (
            "response_seconds",
            "How long it took to answer.",
            [({"url": a.url}, a.milliseconds / 1000) for a in addresses if a.milliseconds is not None],
        ),
        (
            "certificate_remaining_seconds",
            "For how long its certificate is valid.",
            [({"url": a.url}, a.days_left * 86400) for a in addresses if a.days_left is not None],
        ),
        (
            "container_running",
            "Whether a container runs and is not unhealthy.",
            [
                ({"name": c.name, "service": c.service}, c.status == "running" and c.health != "unhealthy")
                for c in found.containers
            ],
        ),
        (
            "container_restarts",
            "How often Docker started it again.",
            [({"name": c.name, "service": c.service}, c.restarts) for c in found.containers],
        ),
        (
            "deployed_time_seconds",
            "Since when this version runs.",
            [({"commit": deployed.commit, "tag": deployed.tag}, deployed.since)] if deployed else [],
        ),
        ("quarantine", "How many commits are in quarantine.", [({}, len(found.state.quarantine))]),
        (
            "last_good_time_seconds",
            "When this was done well last.",
            [({"what": what}, run.at) for what, run in times.items() if run is not None],
        ),
        ("trouble", "What is wrong now.", [({"key": key}, 1) for key in sorted({t.key for t in wrong})]),
        ("alert", "What somebody was told of and is not over.", [({"key": key}, 1) for key in sorted(set(told))]),
    ]
    return "".join(_metric(f"koprogo_{name}", text, values) for name, text, values in metrics if values)


def _metric(name: str, text: str, values: Iterable[Value]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    for labels, value in values:
        inside = ",".join(f'{label}="{_escaped(said)}"' for label, said in labels.items())
        lines.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
