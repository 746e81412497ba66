"""For pyinfra, before deploy.py on a server that takes the place of a lost one: it gets a backup of that one."""

import os
import sys

from facts import server
from operations import base, offsite, packages, program, recovery, wanted
from settings import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))
copies, lines = wanted.offsite(settings), wanted.lines(settings)
state = server.read(settings.source.compose_file, plain=list(lines.plain), make=list(lines.make))

packages.lists(state=state)
packages.packages(state=state, others=offsite.packages(copies))
base.base(state=state, swap_mb=settings.server.swap_mb, timezone=settings.server.timezone)
program.program(
    state=state, configuration=wanted.program_configuration(settings), authority=settings.site.tls_ca_file,
    signers=settings.source.allowed_signers,
)  # fmt: skip
offsite.copies(state=state, copies=copies, advice=offsite.NOTHING_BACK)
recovery.bring(wanted=os.environ.get("RESTORE_SET", ""), make=list(lines.make))
