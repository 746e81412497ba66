"""Ask everything at once: one command, one answer in JSON. Nothing here fails because something is not there yet."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from facts.on_server import application, environment, files, network, system


def main() -> None:
    """Print the state of this server as JSON; the question is the first argument, as JSON."""
    question = json.loads(sys.argv[1])
    user, checkout, salt = question["user"], question["checkout"], question["environment"]["salt"]
    asked = {
        "system": system.system,
        "packages": system.packages,
        "apt": system.apt,
        "swap": system.swap,
        "account": lambda: system.account(user),
        "units": lambda: system.units(question["units"]),
        "docker": application.docker,
        "firewall": network.firewall,
        "jails": network.jails,
        "sshd": network.sshd,
        "files": lambda: {path: files.look(path) for path in question["files"]},
        "metadata": lambda: {path: files.metadata(path) for path in question["metadata"]},
        "hashed": lambda: {path: environment.hashed(path, salt) for path in question["hashed"]},
        "trees": lambda: {path: files.tree(path) for path in question["trees"]},
        "repository": lambda: application.repository(checkout, user),
        "environment": lambda: environment.state(**question["environment"]),
        "program": lambda: application.program(question["program"]),
    }
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = {name: pool.submit(ask) for name, ask in asked.items()}
        print(json.dumps({name: answer.result() for name, answer in answers.items()}))
