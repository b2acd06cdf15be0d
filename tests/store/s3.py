"""S3Objects over an engine, put together as a process does it."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.config import Settings
from chalicelib.services import build
from chalicelib.store.objects import S3Objects
from tests.engines import Engine, s3_client

BUCKET = "contract"


def settings(engine: Engine, bucket: str = BUCKET) -> Settings:
    """Return the settings of a process that works on the engine."""
    return Settings(
        bucket=bucket,
        region=engine.region,
        s3_endpoint=engine.endpoint,
        access_key=engine.access_key,
        secret_key=engine.secret_key,
        signing_key=bytes(32),
    )


def make_bucket(engine: Engine, bucket: str = BUCKET, *, versioned: bool = False) -> None:
    """Create the bucket that `settings` names."""
    client = s3_client(engine)
    client.create_bucket(Bucket=bucket)
    if versioned:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()


@contextmanager
def s3_objects(engine: Engine, bucket: str = BUCKET) -> Iterator[S3Objects]:
    """Give the objects of a process of its own."""
    objects = build(settings(engine, bucket)).content.objects
    assert isinstance(objects, S3Objects)
    try:
        yield objects
    finally:
        for name in vars(objects).keys() & {"_connections", "_s3"}:
            vars(objects)[name].close()
