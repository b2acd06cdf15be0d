"""The Lambda handlers: Chalice in front of the dispatch that the local server shares. A table, no logic.

Importing it needs no settings, since `chalice package` and `chalice deploy` import it on a developer's machine.
"""

from functools import cache
from time import perf_counter
from typing import Any

from chalice.app import AuthRequest, Chalice, Rate, Response, SQSEvent

from chalicelib.api import authorizer, telemetry
from chalicelib.api.dispatch import dispatch
from chalicelib.api.lambda_event import ACCEPT_ANYTHING, accepting_anything, to_chalice, to_request
from chalicelib.config import Settings
from chalicelib.services import Services, build

# A step of a job takes seconds; this leaves it minutes.
LAST_STEP_MILLISECONDS = 120_000
# Sending some of the audit log takes this long where the other side is slow.
SENDING_MILLISECONDS = 20_000
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


class Registry(Chalice):
    """A Chalice application that takes every request: refusing is the registry's business."""

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer an event of API Gateway; what cannot begin fails, so that API Gateway says so in our words."""
        services()
        return super().__call__(accepting_anything(event), context)


app = Registry(app_name="roadstead")
app.api.binary_types = [ACCEPT_ANYTHING]
telemetry.format_logs(("", app.log.name))
settings = cache(Settings.from_env)


@cache
def services() -> Services:
    """Return what this instance of a function works with."""
    return build(settings())


@app.authorizer(name="authorizer", ttl_seconds=authorizer.SECONDS)
def authorise(request: AuthRequest) -> dict[str, Any]:
    """Tell API Gateway what a token lets through."""
    return authorizer.answer(services(), request.token, request.method_arn)


def _answer() -> Response:
    """Answer the request at hand."""
    assert app.current_request is not None
    request, started = to_request(app.current_request.to_original_event(), settings().public_url), perf_counter()
    response = dispatch(services(), request)
    telemetry.write(request, response, perf_counter() - started)
    return Response(**to_chalice(response))


@app.route("/", methods=METHODS, content_types=[ACCEPT_ANYTHING], authorizer=authorise)
@app.route("/{proxy+}", methods=METHODS, content_types=[ACCEPT_ANYTHING], authorizer=authorise)
def registry() -> Response:
    """Answer the endpoints of the specification, below the stage `v2`."""
    return _answer()


@app.route("/token", methods=["GET", "POST"], content_types=[ACCEPT_ANYTHING])
@app.route("/keys", methods=["GET"], content_types=[ACCEPT_ANYTHING])
@app.route("/metrics", methods=["GET"], content_types=[ACCEPT_ANYTHING])
@app.route("/login", methods=["POST"], content_types=[ACCEPT_ANYTHING])
@app.route("/userExists", methods=["POST"], content_types=[ACCEPT_ANYTHING])
@app.route("/log_out", methods=["GET"], content_types=[ACCEPT_ANYTHING])
@app.route("/v2.0/{proxy+}", methods=METHODS, content_types=[ACCEPT_ANYTHING])
def service() -> Response:
    """Answer what checks credentials itself: the token service and Harbor's API, below their stages."""
    return _answer()


def _has_time(event: Any) -> bool:
    """Tell whether this call has time for another step."""
    return bool(event.context.get_remaining_time_in_millis() > LAST_STEP_MILLISECONDS)


@app.schedule(Rate(1, unit=Rate.DAYS))
def repair_index(event: Any) -> None:
    """Make the artifact index agree with the bucket, as far as the time goes; tomorrow it goes on from there."""
    from chalicelib.jobs import reindex  # noqa: PLC0415 - a pull would wait for its import

    reindex.go_on(services(), lambda: _has_time(event))


@app.on_sqs_message(queue="roadstead-jobs", batch_size=1, maximum_concurrency=10)
def do_jobs(event: SQSEvent) -> None:
    """Do the task that a message names, as far as the time goes."""
    from chalicelib.jobs import engine  # noqa: PLC0415 - as above

    for message in event:
        engine.work(services(), int(message.body), lambda: _has_time(event))


@app.on_sqs_message(queue="roadstead-arrivals", batch_size=10, maximum_concurrency=10)
def take_arrivals(event: SQSEvent) -> None:
    """Bring into the index what arrived in the bucket from another region."""
    from chalicelib.jobs import arrived  # noqa: PLC0415 - as above

    arrived.take(services(), event.to_dict())


@app.schedule(Rate(1, unit=Rate.MINUTES))
def wake_jobs(event: Any) -> None:
    """Begin what is scheduled, have what is due looked at, and send what waits of the audit log."""
    from chalicelib.jobs import engine, forward_audit  # noqa: PLC0415 - as above

    engine.wake(services())
    forward_audit.run(services(), lambda: event.context.get_remaining_time_in_millis() > SENDING_MILLISECONDS)


@app.lambda_function()
def count_pulls(event: Any, context: Any) -> None:  # noqa: ARG001 - Lambda's signature
    """Count the pulls that a delivery of log lines tells of."""
    from chalicelib.jobs import count_pulls as job  # noqa: PLC0415 - as above

    job.run(services(), event)
