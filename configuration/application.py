"""The variables of the application itself, under the names that its compose file knows."""

from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from configuration.checks import Email, EnvValue, PlainName, http_url
from configuration.section import Section

INTERNAL_STORAGE = "http://minio:9000"
"""The MinIO of the compose file, which nothing outside the server reaches."""


class Application(Section):
    """One field for each line of the server's .env; the alias is the name in both files."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the file alone. A developer's shell often has RUST_LOG or RUST_BACKTRACE, which is not the server's."""
        return init_settings, dotenv_settings

    traefik_log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = Field(
        "INFO", alias="TRAEFIK_LOG_LEVEL", description="How much Traefik logs."
    )
    postgres_db: PlainName = Field("koprogo_db", alias="POSTGRES_DB", description="Name of the database.")
    postgres_user: PlainName = Field("koprogo", alias="POSTGRES_USER", description="Its owner.")
    server_host: EnvValue = Field("0.0.0.0", alias="SERVER_HOST", description="What the backend binds to.")  # noqa: S104 - in its container
    server_port: int = Field(8080, alias="SERVER_PORT", ge=1, le=65535, description="Port of the backend.")
    rust_log: EnvValue = Field("warn", alias="RUST_LOG", description="How much the backend logs.")
    rust_backtrace: Literal["0", "1", "full"] = Field(
        "0", alias="RUST_BACKTRACE", description="Whether a crash prints where it happened."
    )
    actix_workers: int = Field(1, alias="ACTIX_WORKERS", ge=1, le=64, description="Worker threads; one a vCPU.")
    cors_allowed_origins: EnvValue = Field(
        "", alias="CORS_ALLOWED_ORIGINS", description="Web origins that may call the API, between commas."
    )
    db_pool_max_connections: int = Field(
        8, alias="DB_POOL_MAX_CONNECTIONS", ge=1, le=100, description="Most connections to the database."
    )
    db_pool_min_connections: int = Field(
        2, alias="DB_POOL_MIN_CONNECTIONS", ge=0, le=100, description="Connections kept open."
    )
    enable_rate_limiting: bool = Field(
        False, alias="ENABLE_RATE_LIMITING", description="Limit requests in the backend, besides Traefik."
    )
    storage_provider: Literal["s3", "local"] = Field(
        "s3", alias="STORAGE_PROVIDER", description="Where documents are kept."
    )
    upload_dir: EnvValue = Field("/app/uploads", alias="UPLOAD_DIR", description="Folder for local storage.")
    s3_bucket: EnvValue = Field("koprogo-documents", alias="S3_BUCKET", description="Bucket of the documents.")
    s3_region: EnvValue = Field("eu-west-0", alias="S3_REGION", description="Region of the bucket.")
    s3_endpoint: EnvValue = Field(INTERNAL_STORAGE, alias="S3_ENDPOINT", description="Address of the S3 service.")
    s3_access_key: SecretStr = Field(
        SecretStr("koprogo"), alias="S3_ACCESS_KEY", description="Access key of the bucket."
    )
    s3_secret_key: SecretStr | None = Field(
        None,
        alias="S3_SECRET_KEY",
        description="Secret key of the bucket; made on the server for its own MinIO.",
    )
    s3_force_path_style: bool = Field(
        True, alias="S3_FORCE_PATH_STYLE", description="Bucket in the path and not in the host name."
    )
    s3_key_prefix: EnvValue = Field("documents", alias="S3_KEY_PREFIX", description="Folder within the bucket.")
    enable_minio_bootstrap: bool = Field(
        True, alias="ENABLE_MINIO_BOOTSTRAP", description="Make the bucket in the MinIO of the compose file."
    )
    metrics_auth_token: SecretStr | None = Field(
        None, alias="METRICS_AUTH_TOKEN", description="Token that protects the metrics of the backend."
    )
    smtp_enabled: bool = Field(False, alias="SMTP_ENABLED", description="Send e-mail instead of logging it.")
    smtp_host: EnvValue = Field("smtp.gmail.com", alias="SMTP_HOST", description="Mail server.")
    smtp_port: int = Field(587, alias="SMTP_PORT", ge=1, le=65535, description="Its port.")
    smtp_username: EnvValue = Field("", alias="SMTP_USERNAME", description="Login of the mail server.")
    smtp_password: SecretStr | None = Field(None, alias="SMTP_PASSWORD", description="Its password.")
    smtp_from_email: Email = Field("noreply@koprogo.com", alias="SMTP_FROM_EMAIL", description="Sender of the mails.")
    smtp_from_name: EnvValue = Field("KoproGo", alias="SMTP_FROM_NAME", description="Name of the sender.")

    @field_validator("db_pool_min_connections")
    @classmethod
    def _no_more_than_the_most(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("db_pool_max_connections")
        if most is not None and value > most:
            raise ValueError(f"is more than DB_POOL_MAX_CONNECTIONS ({most})")
        return value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        return ",".join(http_url(origin) for origin in value.split(",") if origin.strip())

    @field_validator("s3_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        return http_url(value)

    @field_validator("s3_secret_key")
    @classmethod
    def _key_for_a_storage_elsewhere(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        elsewhere = info.data.get("s3_endpoint", INTERNAL_STORAGE) != INTERNAL_STORAGE
        if value is None and elsewhere and info.data.get("storage_provider") == "s3":
            raise ValueError("is missing; an S3_ENDPOINT elsewhere needs its own S3_ACCESS_KEY and S3_SECRET_KEY")
        return value

    @field_validator("smtp_password")
    @classmethod
    def _password_for_a_login(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("smtp_enabled") and info.data.get("smtp_username"):
            raise ValueError("is missing; SMTP_USERNAME is set and SMTP_ENABLED is true")
        return value

    @field_validator("metrics_auth_token", "s3_secret_key", "smtp_password")
    @classmethod
    def _carried_by_a_file(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and ("'" in value.get_secret_value() or not value.get_secret_value().isprintable()):
            raise ValueError("holds a single quote or a line break, which a .env file cannot carry safely")
        return value

    def lines(self) -> dict[str, str | SecretStr]:
        """The lines of the server's .env, in the order of the fields; what is not set is left out."""
        values = {field.alias or name: getattr(self, name) for name, field in type(self).model_fields.items()}
        return {
            name: value if isinstance(value, SecretStr) else _as_text(value)
            for name, value in values.items()
            if name != "folder" and value is not None
        }


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
