"""How a group of variables is read."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PLACEHOLDER = "CHANGE_ME"
"""What .env.example has where there is no default."""


class Section(BaseSettings):
    """Variables that belong together: a field's alias is the variable, its description what to put there."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        case_sensitive=True,
        env_ignore_empty=True,
        env_file_encoding="utf-8-sig",
        hide_input_in_errors=True,
        validate_default=True,
    )

    folder: Path = Field(default=Path(), exclude=True, repr=False)
    """The folder of the .env file: paths in it are relative to it."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_placeholder(cls, value: object) -> object:
        if value == PLACEHOLDER:
            raise ValueError("is still what .env.example says; put your own")
        if isinstance(value, str) and value.isspace():
            raise ValueError("is nothing but spaces; put a value, or leave the line out")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_space_around(cls, value: object) -> object:
        if isinstance(value, SecretStr) and value.get_secret_value().strip() != value.get_secret_value():
            raise ValueError("begins or ends with a space")
        return value.strip() if isinstance(value, str) else value

    @classmethod
    def read(cls, env_file: Path, **given: str) -> Self:
        """The section as the environment and this file have it, but for what is given. Raises ValidationError."""
        return cls(_env_file=env_file, folder=env_file.parent, **given)  # type: ignore[call-arg]  # of BaseSettings
