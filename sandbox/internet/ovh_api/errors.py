"""Errors as OVH answers them: those of its gateway have an errorCode, those of the service behind a class."""

from http import HTTPStatus
from typing import Any

# errorCode: (HTTP status, message). What the gateway says before the call reaches the service.
GATEWAY = {
    "INVALID_KEY": (403, "This application key is invalid"),
    "NOT_CREDENTIAL": (403, "This credential does not exist"),
    "INVALID_CREDENTIAL": (403, "This credential is not valid"),
    "QUERY_TIME_OUT": (400, "Query out of time"),
    "INVALID_SIGNATURE": (400, "Invalid signature"),
    "NOT_GRANTED_CALL": (403, "This call has not been granted"),
}


class ApiError(Exception):
    """An answer other than success: `status` and the JSON `body` that goes with it."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('message')}")
        self.status = status
        self.body = body


def gateway(code: str) -> ApiError:
    """Return the gateway's error of that errorCode."""
    status, message = GATEWAY[code]
    http_code = f"{status} {HTTPStatus(status).phrase}"
    return ApiError(status, {"errorCode": code, "httpCode": http_code, "message": message})


def business(status: int, kind: str, message: str) -> ApiError:
    """Return an error of the service itself, such as (404, "NotFound", "This service does not exist")."""
    return ApiError(status, {"class": f"Client::{kind}", "message": message})


def bad_request(message: str) -> ApiError:
    """Return the error for a parameter that the published schema does not allow."""
    return business(400, "BadRequest", message)


def no_object(identifier: int | str) -> ApiError:
    """Return the error for an id that does not exist."""
    return business(404, "NotFound", f"The requested object (id = {identifier}) does not exist")


def not_authorized(action: str) -> ApiError:
    """Return IAM's refusal, which names the action that no policy allows (OVH's guide on troubleshooting IAM)."""
    details = {"unauthorizedActionsByAuthentication": "", "unauthorizedActionsByIAM": action}
    message = "User not granted for this request"
    return ApiError(403, {"class": "Client::Forbidden", "message": message, "details": details})
