"""What stands before swift's S3 API: the policies of users, as OVH has them, and faults.

Both are read anew for each request from /etc/sandbox-storage: policies.json (user → policy; one without it may do
everything), users.json (access key → user) and faults.json. Runs inside the storage machine, as filters of swift's
proxy.
"""

import fnmatch
import hashlib
import io
import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import eventlet

FOLDER = Path("/etc/sandbox-storage")
_KEY = re.compile(r"Credential=([^/]+)/")
_READ = {"GET", "HEAD"}


def action(method, bucket, key, query):
    """The name of what a request does, as policies call it."""
    if not bucket:
        return "s3:ListAllMyBuckets"
    version = "Version" if "versionId" in query else ""
    if not key:
        of_bucket = {
            "location": "GetBucketLocation", "uploads": "ListBucketMultipartUploads", "versions": "ListBucketVersions",
            "versioning": "GetBucketVersioning" if method in _READ else "PutBucketVersioning",
            "delete": "DeleteObject",
        }  # fmt: skip
        named = next((of_bucket[name] for name in of_bucket if name in query), "")
        plain = {"PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(method, "ListBucket")
        return "s3:" + (named or plain)
    if method in _READ:
        return "s3:ListMultipartUploadParts" if "uploadId" in query else f"s3:GetObject{version}"
    if method == "DELETE":
        return "s3:AbortMultipartUpload" if "uploadId" in query else f"s3:DeleteObject{version}"
    return "s3:PutObject"


def allows(policy, wanted, resource):
    """Whether a policy lets its user do something to a resource: nothing that it does not name, nothing it denies."""
    said = [
        statement["Effect"]
        for statement in policy["Statement"]
        if any(fnmatch.fnmatchcase(wanted, each) for each in _list(statement["Action"]))
        and any(fnmatch.fnmatchcase(resource, each) for each in _list(statement["Resource"]))
    ]
    return "Allow" in said and "Deny" not in said


def _list(value):
    return [value] if isinstance(value, str) else value


def _json(name):
    try:
        return json.loads((FOLDER / name).read_text())
    except FileNotFoundError:
        return {}


def _target(environ):
    """The bucket, the key and the query of a request."""
    bucket, _, key = unquote(environ.get("RAW_PATH_INFO") or environ["PATH_INFO"]).lstrip("/").partition("/")
    return bucket, key, dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def _answer(start_response, status, code, message):
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


class Policies:
    """Refuses what the policy of the user whose key signs a request does not allow.

    swift's own access keys are names of users, and those of OVH's store are not: what is not signed is exchanged here.
    """

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        """Pass a request on or answer 403."""
        said = environ.get("HTTP_AUTHORIZATION", "")
        key = _KEY.search(said)
        user = _json("users.json").get(key.group(1), "nobody") if key else "nobody"
        environ["HTTP_AUTHORIZATION"] = _KEY.sub(f"Credential=offsite:{user}/", said)
        policy = _json("policies.json").get(user)
        bucket, name, query = _target(environ)
        if policy:
            wanted = action(environ["REQUEST_METHOD"], bucket, name, query)
            # Many at once are deleted only by somebody who may delete all of them.
            resource = f"arn:aws:s3:::{bucket}" + ("/" + (name or "*") if name or "delete" in query else "")
            if not allows(policy, wanted, resource):
                return _answer(start_response, "403 Forbidden", "AccessDenied", "Access Denied.")
        return self._app(environ, start_response)


class Slow(io.RawIOBase):
    """A body that comes in at so many bytes a second."""

    def __init__(self, body, rate):
        self._body, self._rate = body, rate

    def read(self, size=-1):
        """Some of it, after the time that it takes."""
        piece = self._body.read(size if size >= 0 else -1)
        eventlet.sleep(len(piece) / self._rate)
        return piece


class Faults:
    """Does what faults.json says to writes below one of its folders: {kind: {folder: value}}, {"lose": {"data": 1}}.

    lose: says yes and keeps nothing. cut: says yes and keeps the first half. slow: takes so many bytes a second.
    Stands behind the S3 API, which has verified by then what the client signed.
    """

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        """Pass a request on, with its fault."""
        if environ["REQUEST_METHOD"] == "PUT":
            for kind, folders in _json("faults.json").items():
                for folder, value in folders.items():
                    if f"/{folder}/" in environ["PATH_INFO"]:
                        return getattr(self, f"_{kind}")(environ, start_response, value)
        return self._app(environ, start_response)

    def _slow(self, environ, start_response, rate):
        environ["wsgi.input"] = Slow(environ["wsgi.input"], rate)
        return self._app(environ, start_response)

    def _lose(self, environ, start_response, _):
        etag = hashlib.md5(environ["wsgi.input"].read(), usedforsecurity=False).hexdigest()
        start_response("201 Created", [("Etag", etag), ("Content-Length", "0"), ("Content-Type", "text/html")])
        return []

    def _cut(self, environ, start_response, _):
        body = environ["wsgi.input"].read()
        half = body[: len(body) // 2]
        environ |= {"wsgi.input": io.BytesIO(half), "CONTENT_LENGTH": str(len(half))}
        environ.pop("HTTP_ETAG", None)
        whole = hashlib.md5(body, usedforsecurity=False).hexdigest()

        def answer(status, headers, *more):
            kept = [(name, value) for name, value in headers if name.lower() != "etag"]
            return start_response(status, [*kept, ("Etag", whole)], *more)

        return self._app(environ, answer)


class Nothing:
    """A cache that remembers nothing: swift asks for memcached even where nobody needs it."""

    def __getattr__(self, _name):
        """Whatever it is asked for."""
        return lambda *_arguments, **_options: None


class Cache:
    """Stands where the filter of memcached would."""

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        """Pass a request on."""
        environ["swift.cache"] = Nothing()
        return self._app(environ, start_response)


def cache(_settings, **_options):
    """For paste."""
    return Cache


def policies(_settings, **_options):
    """For paste."""
    return Policies


def faults(_settings, **_options):
    """For paste."""
    return Faults
