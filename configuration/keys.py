"""The keys of OVH's API where they are still to be made: none has to be there yet."""

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from configuration import checks as check
from configuration.section import PLACEHOLDER, Section


class OvhKeys(Section):
    """The variables of `Ovh` that say who we are for OVH's API, as far as they are known."""

    endpoint: check.OvhEndpoint = Field("ovh-eu", alias="OVH_ENDPOINT", description="ovh-eu, ovh-ca or ovh-us.")
    client_id: str = Field("", alias="OVH_CLIENT_ID", description="Service account, instead of the three keys.")
    client_secret: check.OvhKey | None = Field(None, alias="OVH_CLIENT_SECRET", description="Its secret.")
    application_key: check.OvhKey | None = Field(None, alias="OVH_APPLICATION_KEY", description="One of three keys.")
    application_secret: check.OvhKey | None = Field(None, alias="OVH_APPLICATION_SECRET", description="Goes with it.")
    consumer_key: check.OvhKey | None = Field(None, alias="OVH_CONSUMER_KEY", description="One of three keys.")

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_placeholder(cls, value: object) -> object:
        return "" if value == PLACEHOLDER or (isinstance(value, str) and value.isspace()) else value

    @field_validator("application_key", "application_secret", "consumer_key")
    @classmethod
    def _of_one_kind(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        check.no_key_beside(info.data.get("client_id"), value)
        return value

    @field_validator("application_secret")
    @classmethod
    def _goes_with_its_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if bool(value) != bool(info.data.get("application_key")):
            raise ValueError("goes with OVH_APPLICATION_KEY; put both, or neither")
        return value

    @field_validator("client_secret")
    @classmethod
    def _secret_of_the_account(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if bool(info.data.get("client_id")) != bool(value):
            raise ValueError("goes with OVH_CLIENT_ID; put both, or neither")
        return value
