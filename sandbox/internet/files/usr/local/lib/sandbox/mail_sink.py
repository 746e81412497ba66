"""Accept every mail on ports 25 and 587 (STARTTLS offered) and keep it as a file, envelope in X-… headers.

Runs inside the internet machine with Debian's python3-aiosmtpd.
"""

import itertools
import os
import ssl
import threading
import time
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

FOLDER = Path("/var/lib/mail-sink")
PORTS = (25, 587)


class Keep:
    """Writes each mail to FOLDER as <time>-<number>.eml, complete before it has that name."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd once a mail is complete."""
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        file = FOLDER / f"{time.time():.6f}-{next(self._numbers)}.eml"
        new = file.with_suffix(".new")
        new.write_bytes(head.encode() + envelope.original_content)
        new.rename(file)
        return "250 OK"


def main() -> None:
    """Serve until killed."""
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    keep = Keep()
    for port in PORTS:
        Controller(keep, hostname="", port=port, server_hostname="mail.sandbox.test", tls_context=context).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
