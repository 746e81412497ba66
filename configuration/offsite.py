"""The variables of the copies that are kept elsewhere."""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from configuration import checks as check
from configuration.section import Section

S3 = re.compile(r"s3:https://[a-z0-9.-]+(:\d+)?/[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._-]+)*/*")
# Of user@host:2222/path, restic takes 2222 for a folder, and an operator for a port.
SFTP = re.compile(r"sftp:(//[^\s/@:]+@[^\s/:@]+(:\d+)?/|[^\s/@:]+@[^\s/:@]+:(?!\d+/))\S+")


class Offsite(Section):
    """Where encrypted copies of the backups go, and with which keys."""

    repository: str = Field(
        "",
        alias="BACKUP_OFFSITE_REPOSITORY",
        description="s3:https://s3.REGION.io.cloud.ovh.net/BUCKET/FOLDER or sftp:USER@HOST:/FOLDER; or none.",
    )
    key_id: str = Field("", alias="BACKUP_OFFSITE_KEY_ID", description="Access key of the S3 user of the server.")
    secret: SecretStr | None = Field(None, alias="BACKUP_OFFSITE_SECRET", description="Its secret key.")
    owner_key_id: str = Field(
        "", alias="BACKUP_OFFSITE_OWNER_KEY_ID", description="Access key of one who may delete; stays here."
    )
    owner_secret: SecretStr | None = Field(None, alias="BACKUP_OFFSITE_OWNER_SECRET", description="Its secret key.")
    ssh_key: Path | None = Field(
        None, alias="BACKUP_OFFSITE_SSH_KEY", description="Private key for SFTP, of the server alone, no passphrase."
    )
    host_key: str = Field(
        "", alias="BACKUP_OFFSITE_HOST_KEY", description="Public key of the SFTP host: ssh-ed25519 AAAA…"
    )
    days: int = Field(30, alias="BACKUP_OFFSITE_DAYS", ge=1, le=3650, description="Days that copies are kept.")
    weeks: int = Field(12, alias="BACKUP_OFFSITE_WEEKS", ge=0, le=520, description="Weeks whose last copy is kept.")
    months: int = Field(24, alias="BACKUP_OFFSITE_MONTHS", ge=0, le=240, description="Months whose last copy is kept.")
    recovery_key: Path = Field(
        Path("offsite-recovery.key"),
        alias="BACKUP_OFFSITE_RECOVERY_KEY",
        description="File of the recovery key; made when it is not there.",
    )

    @field_validator("repository")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not (S3.fullmatch(value) or SFTP.fullmatch(value)):
            raise ValueError(
                "is no s3:https://HOST/BUCKET/FOLDER nor sftp:USER@HOST:/FOLDER; put one like"
                " s3:https://s3.sbg.io.cloud.ovh.net/my-backups/koprogo"
            )
        return value.rstrip("/")

    @field_validator("secret")
    @classmethod
    def _pair(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("repository", "").startswith("s3:") and not (info.data.get("key_id") and value):
            raise ValueError("goes with BACKUP_OFFSITE_KEY_ID; an S3 repository needs both")
        return value

    @field_validator("owner_secret")
    @classmethod
    def _owner_pair(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        owner = info.data.get("owner_key_id")
        if bool(owner) != bool(value):
            raise ValueError("goes with BACKUP_OFFSITE_OWNER_KEY_ID; put both, or neither")
        if owner and owner == info.data.get("key_id"):
            raise ValueError("is that of BACKUP_OFFSITE_KEY_ID, which lies on the server; put another user's")
        return value

    @field_validator("ssh_key")
    @classmethod
    def _private_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        by_ssh = info.data.get("repository", "").startswith("sftp:")
        if value is None:
            if by_ssh:
                raise ValueError("missing. Make one for this alone: ssh-keygen -t ed25519 -N '' -f offsite-ssh")
            return None
        path = Path(info.data["folder"]) / check.at_home(value)
        try:
            serialization.load_ssh_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror})") from None
        except TypeError:
            raise ValueError("has a passphrase, which nobody types at night; make one without") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("is not an SSH private key") from None
        return path

    @field_validator("host_key")
    @classmethod
    def _public_key(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("repository", "").startswith("sftp:"):
            raise ValueError("missing. Ask whoever runs the host, or compare: ssh-keyscan -t ed25519 HOST")
        if value and not re.fullmatch(r"(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/]+=*", value):
            raise ValueError("is not a public key: ssh-ed25519 AAAA…, without a name before it")
        return value

    @field_validator("recovery_key")
    @classmethod
    def _beside_env(cls, value: Path, info: ValidationInfo) -> Path:
        path = Path(info.data["folder"]) / check.at_home(value)
        try:
            known = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror})") from None
        if not re.fullmatch(rb"\s*[!-~]*\s*", known):
            raise ValueError(f"{path} is no recovery key, which is one line of letters and digits; put your copy there")
        return path
