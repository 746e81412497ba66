"""What happens on a server, in order: `pyinfra inventory.py deploy.py`, with --dry to see what would change."""

import sys

from pyinfra import host

from facts import server
from operations import base, dns, docker, environment, fail2ban, firewall, gitops, packages, program, public
from operations import repository, schedule, ssh, wanted
from settings import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))
source, lines, site = settings.source, wanted.lines(settings), wanted.site(settings, host.data.ipv4)
state = server.read(source.compose_file, plain=list(lines.plain), make=list(lines.make))
needed = wanted.deploy_needed(settings, state)

packages.settings(state)
docker.before_packages(state)
packages.packages(state, others=docker.from_distribution(state))
base.base(state, settings.server.swap_mb, settings.server.timezone)
docker.running(state)
firewall.firewall(state)
fail2ban.fail2ban(state)
ssh.ssh(state)
dns.records(name="DNS records", names=site.names, ipv4=host.data.ipv4, ipv6=host.data.ipv6)
repository.repository(state, source.repository_url, source.branch)
environment.environment(state, source.compose_file, lines)
program.program(state, wanted.program_configuration(settings), settings.site.tls_ca_file)
public.names(site, pending=needed)
program.application(needed)
gitops.gitops(state)
schedule.schedule(state)
public.answers(site, pending=needed)
