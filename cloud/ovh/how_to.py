"""What to do by hand at OVH, where no program can: in texts to follow and to paste."""

import json

from cloud.ovh import rights
from cloud.ovh.work import CHECK, KEY, Work
from cloud.trouble import CloudError


def make_all_keys(work: Work) -> None:
    """Say how to make the three keys on OVH's page. Raises CloudError for an endpoint without one."""
    link, say = rights.page(work.settings.ovh.endpoint, work.rules), work.to.print
    if link is None:
        where = work.settings.ovh.endpoint
        raise CloudError(f"OVH_APPLICATION_KEY is not set, and nothing is known of a page of {where} that makes one.")
    say("There is no application key yet. Log in on this page of OVH, name the application, choose how long the keys")
    say("are to live, and see that it asks for the rights above:\n")
    say(f"  {link}\n")
    say(f"It shows three keys, once. Put them in {work.settings.env_file}:\n")
    for name in ("OVH_APPLICATION_KEY", "OVH_APPLICATION_SECRET", KEY):
        say(f"  {name}=…")
    say(f"\nThen: {CHECK}")


def make_a_service_account(work: Work) -> None:
    """Say how to make a service account with the rights and no others."""
    endpoint, say = work.settings.ovh.endpoint, work.to.print
    say("A service account (OAuth2) has no end, and nobody has to validate it. Log in with the account that has the")
    say(f"zone on https://{rights.HOSTS.get(endpoint, rights.HOSTS['ovh-eu'])}/console/, and make these calls.\n")
    say("1. POST /v1/me/api/oauth2/client, with")
    say(json.dumps(rights.client_request(work.zones), indent=2))
    say(f"   It answers clientId and clientSecret, once. In {work.settings.env_file}, put them")
    say("   in the place of OVH_APPLICATION_KEY, OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY:\n")
    say("   OVH_CLIENT_ID=…\n   OVH_CLIENT_SECRET=…\n")
    say("2. GET /v1/me/api/oauth2/client/{clientId}, which answers the identity, urn:v1:…")
    say("   (GET /v2/iam/resource?resourceType=dnsZone has the urns of zones, should they not be those below.)\n")
    say(f"3. POST /v2/iam/policy, with the identity in the place of {rights.IDENTITY}")
    say(json.dumps(rights.policy(endpoint, work.zones), indent=2))
    say(f"\nThen: {CHECK}")
