"""An object store as OVH's, in another region than the servers: swift with its S3 API, in a machine of its own.

Not part of what `up` starts: few need it. Its names are known to every machine from the start.

start(world)            runs it; returns once it answers
credentials(world, user)   the key pair of SERVER, whose rights `set_policy` limits, or of OWNER, who may do everything
set_policy, revoke, fault, limit   what goes wrong there, or is not allowed
objects(world)          what is stored
"""

from sandbox.storage.machine import (
    BUCKET,
    HOST,
    OWNER,
    SERVER,
    ask,
    credentials,
    endpoint,
    fault,
    limit,
    objects,
    revoke,
    set_policy,
    start,
)

__all__ = [
    "BUCKET",
    "HOST",
    "OWNER",
    "SERVER",
    "ask",
    "credentials",
    "endpoint",
    "fault",
    "limit",
    "objects",
    "revoke",
    "set_policy",
    "start",
]
