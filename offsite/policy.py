"""What the S3 user whose key lies on the server may do: add copies and read them, and take none away.

In the form that OVH's console imports (Public Cloud > Object Storage > S3 users > Import JSON file).
"""

import re
from typing import Any

LOOK = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
ADD = ("s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")


def bucket_of(repository: str) -> tuple[str, str]:
    """Return bucket and folder of s3:https://host/bucket/folder; raises ValueError for another kind of address."""
    match = re.fullmatch(r"s3:https?://[^/]+/([^/]+)(?:/(.*?))?/?", repository)
    if match is None:
        raise ValueError(f"{repository} is not in an S3 bucket, so there is no policy for it")
    return match[1], match[2] or ""


def policy(repository: str) -> dict[str, Any]:
    """Return the policy. restic's locks, which say who is at work, are all that may be deleted."""
    bucket, folder = bucket_of(repository)
    inside = f"arn:aws:s3:::{bucket}/" + (f"{folder}/" if folder else "")
    return {
        "Statement": [
            {"Sid": "Look", "Effect": "Allow", "Action": list(LOOK), "Resource": [f"arn:aws:s3:::{bucket}"]},
            {"Sid": "Add", "Effect": "Allow", "Action": list(ADD), "Resource": [f"{inside}*"]},
            {"Sid": "Unlock", "Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"{inside}locks/*"]},
        ]
    }
