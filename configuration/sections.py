"""The variables of the project itself, by what they decide."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator

from configuration import checks as check
from configuration.section import Section

USERS = {"Ubuntu": "ubuntu", "Debian": "debian"}
"""First word of an image's name, and the user that it lets log in."""

SHORTEST_TTL, LONGEST_TTL = 60, 2**31 - 1
"""Seconds. The first is OVH's, the second that of the DNS (RFC 2181, 8)."""


class OpenStack(Section):
    """Where the cloud is and who we are there: the variables of the openrc.sh that OVH lets one download."""

    cloud: str = Field("", alias="OS_CLOUD", description="A cloud of clouds.yaml, which has the lines below.")
    auth_url: check.AuthUrl = Field(
        "https://auth.cloud.ovh.net/v3", alias="OS_AUTH_URL", description="Address of Keystone."
    )
    username: str = Field(alias="OS_USERNAME", description="The OpenStack user, user-…, from openrc.sh.")
    password: SecretStr = Field(alias="OS_PASSWORD", description="Password of OS_USERNAME; OVH shows it once.")
    project_name: str = Field(
        "",
        validation_alias=AliasChoices("OS_PROJECT_NAME", "OS_TENANT_NAME"),
        description="Name of the project, where its id is not given.",
    )
    project_id: str = Field(
        "",
        validation_alias=AliasChoices("OS_PROJECT_ID", "OS_TENANT_ID"),
        description="Id of the Public Cloud project, 32 digits and letters.",
    )
    user_domain_name: str = Field("Default", alias="OS_USER_DOMAIN_NAME", description="Domain of the user.")
    project_domain_name: str = Field("Default", alias="OS_PROJECT_DOMAIN_NAME", description="Of the project.")
    region: str = Field("GRA11", alias="OS_REGION_NAME", description="Region, as openrc.sh has it.")
    identity_api_version: str = Field(
        "3", alias="OS_IDENTITY_API_VERSION", pattern=r"^3(\.\d+)?$", description="3; Keystone has no other."
    )

    @field_validator("project_id")
    @classmethod
    def _a_project(cls, value: str, info: ValidationInfo) -> str:
        if not value and not info.data.get("project_name"):
            raise ValueError("missing. Put OS_PROJECT_ID (or OS_TENANT_ID), from openrc.sh")
        return value


class Ovh(Section):
    """The rights to write DNS records through OVH's own API."""

    endpoint: check.OvhEndpoint = Field("ovh-eu", alias="OVH_ENDPOINT", description="ovh-eu, ovh-ca or ovh-us.")
    configure_dns: bool = Field(
        True, alias="CONFIGURE_DNS_AUTO", description="false if the DNS records are yours to keep."
    )
    ttl: int = Field(
        300,
        alias="DNS_TTL",
        ge=SHORTEST_TTL,
        le=LONGEST_TTL,
        description="Seconds that resolvers may keep an address.",
    )
    caa_issuer: check.CaIssuer = Field(
        "", alias="CAA_ISSUER", description="The only CA that may certify the names, as in letsencrypt.org; or none."
    )
    client_id: str = Field("", alias="OVH_CLIENT_ID", description="Service account, instead of the three keys.")
    client_secret: check.OvhKey | None = Field(None, alias="OVH_CLIENT_SECRET", description="Its secret.")
    application_key: check.OvhKey | None = Field(
        None, alias="OVH_APPLICATION_KEY", description="Made with: python provision.py credentials."
    )
    application_secret: check.OvhKey | None = Field(
        None, alias="OVH_APPLICATION_SECRET", description="Comes with the application key."
    )
    consumer_key: check.OvhKey | None = Field(
        None, alias="OVH_CONSUMER_KEY", description="Comes with the application key, once validated."
    )

    @field_validator("client_secret")
    @classmethod
    def _secret_of_the_account(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("configure_dns") and bool(info.data.get("client_id")) != bool(value):
            raise ValueError("goes with OVH_CLIENT_ID; put both, or neither")
        return value

    @field_validator("application_key", "application_secret", "consumer_key")
    @classmethod
    def _all_three(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if not info.data.get("configure_dns"):
            return value
        account = info.data.get("client_id")
        check.no_key_beside(account, value)
        if not account and not value:
            raise ValueError(
                "missing. Make it with: python provision.py credentials. Or deploy with CONFIGURE_DNS_AUTO=false"
            )
        return value


class Instance(Section):
    """The server to rent."""

    name: check.HostLabel = Field("koprogo", alias="INSTANCE_NAME", description="Name and host name.")
    flavor: str = Field("d2-2", alias="FLAVOR", description="Size; d2-2 is 1 vCPU and 2 GB of memory.")
    image: str = Field("Ubuntu 22.04", alias="IMAGE", description="System, as OVH names it.")
    network: str = Field("Ext-Net", alias="NETWORK", description="Network with public addresses.")
    environment: check.HostLabel = Field(
        "production", alias="ENVIRONMENT", description="Marks what is ours, with the project's name."
    )
    ssh_public_key: Path = Field(
        Path("~/.ssh/id_ed25519.pub"),
        alias="SSH_PUBLIC_KEY",
        description="Public key that may log in; the private one is the same path without .pub.",
    )

    @field_validator("name")
    @classmethod
    def _not_everybodys(cls, value: str) -> str:
        if value == "default":
            raise ValueError("is the name of every project's own security group, which is not ours to change")
        return value

    @field_validator("image")
    @classmethod
    def _known_system(cls, value: str) -> str:
        if value.partition(" ")[0] not in USERS:
            raise ValueError(f"is no {' or '.join(USERS)}; put one of their images, as in Ubuntu 22.04")
        return value

    @field_validator("ssh_public_key")
    @classmethod
    def _key(cls, value: Path, info: ValidationInfo) -> Path:
        return check.public_key(info.data["folder"] / check.at_home(value))

    @property
    def user(self) -> str:
        """Who the image lets log in."""
        return USERS[self.image.partition(" ")[0]]

    @property
    def ssh_private_key(self) -> Path:
        """The key to log in with."""
        return self.ssh_public_key.with_suffix("")


class Lookups(Section):
    """How public names are looked up."""

    dns_resolvers: check.Addresses = Field(
        (),
        alias="DNS_RESOLVERS",
        description="Name servers to ask, between commas; the system's when left out.",
    )


class Site(Lookups):
    """The public names, and how they are looked up and verified."""

    domain: check.Domain = Field(alias="KOPROGO_DOMAIN", description="Your domain, as in koprogo.com.")
    frontend_domain: check.Domain = Field(
        alias="KOPROGO_FRONTEND_DOMAIN",
        default_factory=lambda data: data["domain"],
        description="Name of the web site; KOPROGO_DOMAIN when left out.",
    )
    api_domain: check.Domain = Field(
        alias="KOPROGO_API_DOMAIN",
        default_factory=lambda data: f"api.{data['domain']}",
        description="Name of the API; api.KOPROGO_DOMAIN when left out.",
    )
    acme_email: check.Email = Field(alias="ACME_EMAIL", description="Contact of the account at Let's Encrypt.")
    health_path: check.UrlPath = Field(
        "/api/v1/health", alias="HEALTH_PATH", description="Path on the API that says that it works."
    )
    tls_ca_file: Path | None = Field(
        None,
        alias="TLS_CA_FILE",
        description="PEM of the CA to verify the site with; the usual ones otherwise.",
    )
    status_page_domain: check.Domain | None = Field(
        None, alias="STATUS_PAGE_DOMAIN", description="Name of the public status page, as in status.koprogo.com."
    )
    status_page_language: Literal["en", "fr"] = Field(
        "en", alias="STATUS_PAGE_LANGUAGE", description="Its language: en or fr."
    )

    @field_validator("frontend_domain", "api_domain", "status_page_domain")
    @classmethod
    def _within_the_domain(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        above, mine = info.data.get("domain"), "status" if info.field_name == "status_page_domain" else "api"
        if above and value != above and not value.endswith(f".{above}"):
            raise ValueError(f"is outside KOPROGO_DOMAIN; put {above} or a name that ends in .{above}")
        for part, owner in (("frontend_domain", "frontend"), ("api_domain", "API")):
            if value == info.data.get(part):
                raise ValueError(f"is the name of the {owner} too; put another, as in {mine}.{above or value}")
        return value

    @field_validator("tls_ca_file")
    @classmethod
    def _certificates(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return None if value is None else check.pem_file(info.data["folder"] / check.at_home(value))

    @property
    def health_urls(self) -> tuple[str, str]:
        """What has to answer 200 for the site to be well, as the public sees it."""
        return f"https://{self.api_domain}{self.health_path}", f"https://{self.frontend_domain}/"

    @property
    def names(self) -> tuple[str, ...]:
        """Every public name."""
        return self.frontend_domain, self.api_domain, *([self.status_page_domain] if self.status_page_domain else [])

    @property
    def public_urls(self) -> tuple[str, ...]:
        """What the world has to reach once everything is set up: that, and the status page if there is one."""
        page = (f"https://{self.status_page_domain}/",) if self.status_page_domain else ()
        return self.health_urls + page


class Source(Section):
    """What is deployed, and from where."""

    repository_url: check.RepositoryUrl = Field(
        "https://github.com/gilmry/koprogo.git",
        alias="REPOSITORY_URL",
        description="Git repository, by https.",
    )
    branch: check.Branch = Field("main", alias="BRANCH", description="Branch that is kept live.")
    compose_file: check.ComposeFile = Field(
        "deploy/production/docker-compose.yml", alias="COMPOSE_FILE", description="Compose file in it."
    )
    github_repository: check.GithubRepository = Field(
        "gilmry/koprogo", alias="GITHUB_REPOSITORY", description="owner/name, in the names of the images."
    )
    image_tag: check.ImageTag = Field(
        "main-{sha7}", alias="IMAGE_TAG", description="Tag for a commit, of {sha7} and {sha}; or a fixed one."
    )
    allow_force_push: bool = Field(
        False,
        alias="GITOPS_ALLOW_FORCE_PUSH",
        description="true deploys commits that do not follow the one that runs.",
    )
    allowed_signers: Path | None = Field(
        None,
        alias="GITOPS_ALLOWED_SIGNERS",
        description="File of the SSH keys that every new commit has to be signed with; none when left out.",
    )

    @field_validator("allowed_signers")
    @classmethod
    def _signers(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return None if value is None else check.signers_file(info.data["folder"] / check.at_home(value))


class Server(Section):
    """How the server keeps itself."""

    backup_days: int = Field(7, alias="BACKUP_DAYS", ge=1, le=3650, description="Days that backups are kept.")
    backup_weeks: int = Field(
        0, alias="BACKUP_WEEKS", ge=0, le=520, description="Weeks whose last backup is kept beside those."
    )
    backup_months: int = Field(
        0, alias="BACKUP_MONTHS", ge=0, le=120, description="Months whose last backup is kept beside those."
    )
    backup_volumes: check.VolumeNames = Field(
        (),
        alias="BACKUP_VOLUMES",
        description="Volumes saved with the database, as the compose file calls them, between commas.",
    )
    swap_mb: int = Field(1024, alias="SWAP_MB", ge=0, le=16384, description="Swap in MB; 0 for none.")
    timezone: check.Timezone = Field("Europe/Brussels", alias="TIMEZONE", description="For cron and the logs.")
