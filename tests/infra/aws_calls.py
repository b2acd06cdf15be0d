"""What each call of AWS needs of IAM: a table, and IAM's own rules as far as the policies of the functions use them.

* A call is one operation on one resource, as `tests.infra.recorded` reads it off a request.
* Of objects, a function gets whole kinds of keys: what begins with the same part (`store.layout`).

Specification: the service authorization reference of S3, DynamoDB and Systems Manager; for conditions on entity tags
S3's user guide, "conditional requests".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

BUCKET = "arn:aws:s3:::roadstead"
TABLE = "arn:aws:dynamodb:*:*:table/roadstead"
PARAMETER = "arn:aws:ssm:*:*:parameter"
QUEUE = "arn:aws:sqs:*:*:"
LOGS = "arn:aws:logs:*:*:log-group:/aws/lambda/roadstead-*:*"


class On(Enum):
    """What an action is allowed on."""

    BUCKET = "the bucket"
    OBJECT = "the object under the key"
    TABLE = "the table"
    PARAMETER = "the parameter"
    QUEUE = "the queue"


class Call(NamedTuple):
    """An operation, and the key, or the name of the table, the parameter or the queue, that it is about."""

    operation: str
    name: str = ""


class Right(NamedTuple):
    """An action on a resource: as a call needs it, or as a policy allows it, with wildcards then."""

    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Row:
    """What a call needs, and the method of boto3 that makes it; "" where the request is made by hand."""

    action: str
    on: On
    method: str = ""
    why: str = ""


# `X` with something in brackets is what an X needs besides, in that case; X with a dot is a part of X.
CALLS: Mapping[str, Row] = {
    "GetObject": Row("s3:GetObject", On.OBJECT),
    "HeadObject": Row("s3:GetObject", On.OBJECT, why="there is no action of its own"),
    "GetObject[absent]": Row("s3:ListBucket", On.BUCKET, why="S3 answers 403 in place of 404 without it"),
    "HeadObject[absent]": Row("s3:ListBucket", On.BUCKET, why="as for GET"),
    "GetObject[version]": Row("s3:GetObjectVersion", On.OBJECT, why="in place of s3:GetObject"),
    "ListObjectVersions": Row("s3:ListBucketVersions", On.BUCKET),
    "ListObjectsV2": Row("s3:ListBucket", On.BUCKET, "list_objects_v2"),
    "ListMultipartUploads": Row("s3:ListBucketMultipartUploads", On.BUCKET, "list_multipart_uploads"),
    "PutObject": Row("s3:PutObject", On.OBJECT, "put_object"),
    "PutObject[if-match]": Row("s3:GetObject", On.OBJECT, why="the entity tag is something read"),
    "DeleteObject": Row("s3:DeleteObject", On.OBJECT, "delete_object"),
    "DeleteObject[if-match]": Row("s3:GetObject", On.OBJECT, why="as for PUT"),
    "DeleteObjects.Key": Row("s3:DeleteObject", On.OBJECT, "delete_objects", "of each key in the body"),
    "CreateMultipartUpload": Row("s3:PutObject", On.OBJECT, "create_multipart_upload"),
    "UploadPart": Row("s3:PutObject", On.OBJECT, "upload_part"),
    "CompleteMultipartUpload": Row("s3:PutObject", On.OBJECT, "complete_multipart_upload"),
    "AbortMultipartUpload": Row("s3:AbortMultipartUpload", On.OBJECT, "abort_multipart_upload"),
    "GetItem": Row("dynamodb:GetItem", On.TABLE, "get_item"),
    "BatchGetItem": Row("dynamodb:BatchGetItem", On.TABLE, "batch_get_item"),
    "Query": Row("dynamodb:Query", On.TABLE, "query"),
    "PutItem": Row("dynamodb:PutItem", On.TABLE, "put_item"),
    "UpdateItem": Row("dynamodb:UpdateItem", On.TABLE, "update_item"),
    "DeleteItem": Row("dynamodb:DeleteItem", On.TABLE, "delete_item"),
    "TransactWriteItems.Put": Row(
        "dynamodb:PutItem", On.TABLE, "transact_write_items", "a transaction has no action"
    ),
    "TransactWriteItems.Update": Row("dynamodb:UpdateItem", On.TABLE, "transact_write_items", "as above"),
    "TransactWriteItems.Delete": Row("dynamodb:DeleteItem", On.TABLE, "transact_write_items", "as above"),
    "TransactWriteItems.ConditionCheck": Row("dynamodb:ConditionCheckItem", On.TABLE, "transact_write_items"),
    "GetParameters": Row(
        "ssm:GetParameters", On.PARAMETER, why="the key of SSM that AWS manages decrypts for whoever may read"
    ),
    "GetQueueUrl": Row("sqs:GetQueueUrl", On.QUEUE, "get_queue_url"),
    "SendMessage": Row("sqs:SendMessage", On.QUEUE, "send_message"),
    "ReceiveMessage": Row("sqs:ReceiveMessage", On.QUEUE, why="Lambda does it for the function that it feeds"),
    "DeleteMessage": Row("sqs:DeleteMessage", On.QUEUE, why="as above"),
    "GetQueueAttributes": Row("sqs:GetQueueAttributes", On.QUEUE, why="as above"),
}
# What Lambda does with the role of a function that it feeds from a queue.
FED = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
# What Lambda does with the role of a function besides: it writes the log. `infra/` makes the groups.
BESIDES = frozenset({Right("logs:CreateLogStream", LOGS), Right("logs:PutLogEvents", LOGS)})
# Methods of boto3 that no function calls: a server makes its own bucket and table, and looks at them when it starts.
OF_SERVERS = frozenset(
    {
        "get_object",
        "list_buckets",
        "create_bucket",
        "put_bucket_lifecycle_configuration",
        "create_table",
        "describe_table",
        "describe_time_to_live",
        "update_time_to_live",
        "update_continuous_backups",
    }
)


def needed(call: Call) -> Right:
    """Return the right that a call needs; raise KeyError where the table lacks it."""
    row = CALLS[call.operation]
    resources = {
        On.BUCKET: BUCKET,
        On.OBJECT: f"{BUCKET}/{call.name}",
        On.TABLE: TABLE.rpartition("/")[0] + f"/{call.name}",
        On.PARAMETER: PARAMETER + call.name,
        On.QUEUE: QUEUE + call.name,
    }
    return Right(row.action, resources[row.on])


def narrowest(right: Right) -> Right:
    """Return the narrowest right that a policy can have for it: of objects, one kind of keys."""
    kind, slash, rest = right.resource.removeprefix(f"{BUCKET}/").partition("/")
    of_object = right.resource.startswith(f"{BUCKET}/") and slash and rest
    return Right(right.action, f"{BUCKET}/{kind}/*") if of_object else right


def allowed(policy: Mapping[str, Any]) -> Iterator[Right]:
    """Yield what a policy allows; raise ValueError where it says more than actions on resources."""
    for statement in policy["Statement"]:
        if set(statement) != {"Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
            raise ValueError(f"this is not read by these tests: {statement}")
        for action in _each(statement["Action"]):
            yield from (Right(action, resource) for resource in _each(statement["Resource"]))


def _each(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def allows(policy: Mapping[str, Any], right: Right) -> bool:
    """Tell whether IAM would: actions in any case, `*` and `?` in both."""
    # fnmatch knows brackets besides, and IAM does not.
    return any(
        fnmatchcase(right.action.lower(), each.action.lower().replace("[", "[[]"))
        and fnmatchcase(right.resource, each.resource.replace("[", "[[]"))
        for each in allowed(policy)
    )


def missing(policy: Mapping[str, Any], calls: Iterable[Call]) -> frozenset[Right]:
    """Return what a policy lacks of what the calls need."""
    return frozenset(right for right in (*map(needed, calls), *BESIDES) if not allows(policy, right))


def superfluous(policy: Mapping[str, Any], calls: Iterable[Call]) -> frozenset[Right]:
    """Return what a policy allows besides, or more widely than need be, or twice."""
    wanted = {narrowest(needed(call)) for call in calls} | BESIDES
    given = list(allowed(policy))
    return frozenset(right for right in given if right not in wanted or given.count(right) > 1)
