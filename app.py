"""The Lambda handlers: Chalice in front of the dispatch that the local server shares. A table, no logic."""

from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate, Response

from chalicelib.api.dispatch import dispatch
from chalicelib.api.lambda_event import ACCEPT_ANYTHING, accepting_anything, to_chalice, to_request
from chalicelib.config import Settings
from chalicelib.jobs import abandoned_uploads
from chalicelib.services import build

# A step of a job takes seconds; this leaves it minutes.
LAST_STEP_MILLISECONDS = 120_000
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


class Registry(Chalice):
    """A Chalice application that takes every request: refusing is the registry's business."""

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer an event of API Gateway."""
        return super().__call__(accepting_anything(event), context)


app = Registry(app_name="roadstead")
app.api.binary_types = [ACCEPT_ANYTHING]
settings = Settings.from_env()
services = build(settings)


@app.route("/", methods=METHODS, content_types=[ACCEPT_ANYTHING])
@app.route("/{proxy+}", methods=METHODS, content_types=[ACCEPT_ANYTHING])
def registry() -> Response:
    """Answer every path of the stage."""
    assert app.current_request is not None
    request = to_request(app.current_request.to_original_event(), settings.public_url)
    return Response(**to_chalice(dispatch(services, request)))


@app.schedule(Rate(1, unit=Rate.DAYS))
def repair_index(event: Any) -> None:
    """Make the artifact index agree with the bucket, as far as the time goes; tomorrow it goes on from there."""
    from chalicelib.jobs import reindex  # noqa: PLC0415 - a pull would wait for its import

    reindex.go_on(services, lambda: event.context.get_remaining_time_in_millis() > LAST_STEP_MILLISECONDS)


@app.schedule(Rate(1, unit=Rate.HOURS))
def drop_abandoned_uploads(event: CloudWatchEvent) -> None:  # noqa: ARG001 - the hour is all it says
    """Drop uploads that nobody went on with."""
    abandoned_uploads.run(services)
