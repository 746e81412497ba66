"""Ask the host, over a socket that this machine and the host both see; the other side is hypervisor.py."""

import json
import socket
from typing import Any

SOCKET = "/hypervisor/socket"
_SECONDS = 180


class HypervisorError(Exception):
    """The host could not do what it was asked, or does not answer; the text says why."""


def ask(action: str, **arguments: Any) -> Any:
    """Have the host do `action` and return its answer. Raises HypervisorError with the host's words."""
    request = json.dumps({"action": action, **arguments}) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(SOCKET)
            connection.sendall(request.encode())
            with connection.makefile() as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise HypervisorError(f"the host's hypervisor does not answer: {error}") from error
    if "error" in answer:
        raise HypervisorError(answer["error"])
    return answer["result"]
