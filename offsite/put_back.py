"""For pyinfra, after deploy.py on a server that takes the place of a lost one: its data, and a look from outside."""

import sys

from pyinfra import host

from operations import public, recovery, wanted
from settings import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))

recovery.put_back()
public.answers(site=wanted.site(settings, host.data.ipv4), pending=True)
