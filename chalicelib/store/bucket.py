"""The bucket itself: made and set up where the registry may do so, looked at where it may not.

On AWS the templates in `infra/` make the bucket, with versions; `roadstead run` makes its own, without: SeaweedFS
would list it out of order (docs/decisions/007).
"""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from chalicelib.store import layout
from chalicelib.store.client import NO_CREDENTIALS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_UNFINISHED_DAYS = 2


def make(s3: "S3Client", bucket: str) -> None:
    """Create the bucket where it is missing, and let it drop what uploads leave behind; raise OSError."""
    try:
        if bucket not in {found.get("Name") for found in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "ended-uploads",
                        "Status": "Enabled",
                        "Filter": {"Prefix": layout.UPLOADS},
                        "Expiration": {"Days": _UNFINISHED_DAYS},
                    },
                    {
                        "ID": "unfinished-parts",
                        "Status": "Enabled",
                        "Filter": {"Prefix": layout.DATA},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS},
                    },
                ]
            },
        )
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error


def check(s3: "S3Client", bucket: str) -> None:
    """Raise OSError with what to do where the bucket cannot be used."""
    where = s3.meta.endpoint_url
    try:
        s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "refused")
        raise OSError(f"bucket {bucket!r} at {where}: {code}. Create it, or set ROADSTEAD_BUCKET") from error
    except NoCredentialsError as error:
        raise OSError(NO_CREDENTIALS) from error
    except BotoCoreError as error:
        raise OSError(f"no S3 service at {where}: {error}. Is AWS_ENDPOINT_URL_S3 right?") from error
