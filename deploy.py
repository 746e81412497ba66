"""What happens on a server, in order: `pyinfra inventory.py deploy.py`, with --dry to see what would change."""

import sys

from pyinfra import host

from facts import server
from operations import (
    alerts,
    base,
    dns,
    docker,
    environment,
    fail2ban,
    firewall,
    gitops,
    offsite,
    packages,
    program,
    public,
    repository,
    schedule,
    ssh,
    status_page,
    wanted,
)
from settings import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))
source, lines, site = settings.source, wanted.lines(settings), wanted.site(settings, host.data.ipv4)
copies = wanted.offsite(settings)
state = server.read(source.compose_file, plain=list(lines.plain), make=list(lines.make))
pending = wanted.deploy_needed(settings, state)
page = settings.site.status_page_domain
appearing = pending or status_page.needed(state["program"], page, pending)

packages.lists(state=state)
docker.before_packages(state=state)
others = [*docker.from_distribution(state), *status_page.packages(page), *offsite.packages(copies)]
packages.packages(state=state, others=others)
base.base(state=state, swap_mb=settings.server.swap_mb, timezone=settings.server.timezone)
docker.running(state=state)
firewall.firewall(state=state)
fail2ban.fail2ban(state=state)
ssh.ssh(state=state)
dns.records(name="DNS records", names=site.names, ipv4=host.data.ipv4, ipv6=host.data.ipv6)
repository.repository(state=state, url=source.repository_url, branch=source.branch)
environment.environment(state=state, compose_file=source.compose_file, lines=lines)
program.program(
    state=state, configuration=wanted.program_configuration(settings), authority=settings.site.tls_ca_file,
    signers=source.allowed_signers,
)  # fmt: skip
alerts.alerts(state=state, channels=wanted.alerts(settings))
public.names(site=site, pending=appearing)
program.application(needed=pending)
gitops.gitops(state=state)
schedule.schedule(state=state, offsite=copies is not None)
status_page.status_page(state=state, domain=page, pending=pending)
offsite.copies(state=state, copies=copies)
public.answers(site=site, pending=appearing)
