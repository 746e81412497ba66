"""The internet as far as KoproGo needs it, in one machine: DNS, OVH's API, ACME, a registry, Git, mail.

layers()             the templates of the machine; built if they are not in the cache
start(world, above)  runs it, with further layers on top; returns once every service answers
credentials(world)   OVH_* as an operator writes them in .env
service_account(world), ovh_login(world), fault_token(world)   other ways to that account
acme_root(world)     what the public certificates of this sandbox are verified with
git_push_url(world)  where tests push
hooks(world, name)   what a webhook got
mails(world)         what was sent
"""

from sandbox.internet.machine import (
    HOOK_KEY,
    acme_root,
    credentials,
    fault_token,
    git_push_url,
    hooks,
    layers,
    mails,
    ovh_login,
    service_account,
    start,
)

__all__ = [
    "HOOK_KEY",
    "acme_root",
    "credentials",
    "fault_token",
    "git_push_url",
    "hooks",
    "layers",
    "mails",
    "ovh_login",
    "service_account",
    "start",
]
