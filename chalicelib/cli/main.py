"""The `roadstead` command line: `run` and `serve` start a registry, every other command is a client of one.

Invariant: `run` and `serve` load no HTTP client, clients load no server, and help loads neither.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import click

from chalicelib.cli.access import login, logout, status
from chalicelib.cli.completion import completion
from chalicelib.cli.doctor import doctor
from chalicelib.cli.failures import exit_codes
from chalicelib.cli.projects import member, project
from chalicelib.cli.regions import region
from chalicelib.cli.registries import registry
from chalicelib.cli.replication import replication
from chalicelib.cli.repositories import artifact, repo
from chalicelib.cli.robots import robot
from chalicelib.cli.tags import tag
from chalicelib.cli.upkeep import gc, verify
from chalicelib.cli.users import user
from chalicelib.config import Settings

_LISTEN = (
    click.option("--host", envvar="HOST", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        envvar="PORT",
        default=5000,
        type=click.IntRange(0, 65535),
        show_default=True,
        help="Port to listen on; 0 takes any.",
    ),
    click.option(
        "--data",
        "folder",
        envvar="DATA",
        default="./data",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of everything that is kept here.",
    ),
    click.option(
        "--stop-seconds",
        envvar="STOP_SECONDS",
        default=5,
        type=click.IntRange(0),
        show_default=True,
        help="How long requests under way may go on after a signal to stop.",
    ),
    click.option(
        "--jobs/--no-jobs",
        envvar="JOBS",
        default=True,
        show_default=True,
        help="Do jobs, follow schedules and repair the index.",
    ),
    click.option("--json", is_flag=True, help="Write access lines as JSON."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=exit_codes())
@click.version_option(package_name="roadstead")
def main() -> None:
    """Roadstead: an OCI registry with nothing to run."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@main.command(
    short_help="Start a registry with everything in it.", epilog="Example: PORT=5001 roadstead run --data ~/registry"
)
@click.pass_context
def run(context: click.Context, /, **given: Any) -> None:
    """Start the registry with an embedded S3 service: no account, no configuration."""
    _start(context, given)


@main.command(
    short_help="Start a registry over S3 and DynamoDB.",
    epilog="Settings are the standard AWS variables and ROADSTEAD_*: see the README.",
)
@click.pass_context
def serve(context: click.Context, /, **given: Any) -> None:
    """Start the registry over S3 and DynamoDB services that are already there."""
    _start(context, given)


@main.command("reindex", short_help="Make the index agree with the bucket.")
@click.argument("project", default="")
@click.option(
    "--data",
    envvar="DATA",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the running `roadstead run`; without it the services of the settings.",
)
def repair(project: str, data: Path | None) -> None:
    """Make the artifact index agree with the bucket: of a PROJECT or of everything, while the server goes on.

    The index is what lists of repositories, artifacts and tags come from. Servers repair it each day by themselves.
    """
    from chalicelib.server import run as server  # noqa: PLC0415 - as above

    try:
        server.repair(Settings.from_env(), data, project, click.echo)
    except (ValueError, LookupError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _start(context: click.Context, given: dict[str, Any]) -> None:
    from chalicelib.server import run as server  # noqa: PLC0415 - `--help` need not load the server

    options = server.Options(**given)
    start = server.run if context.info_name == "run" else server.serve
    try:
        start(Settings.from_env(), options)
    except (server.StartError, ValueError, LookupError, OSError) as error:
        raise click.ClickException(str(error)) from error


for command in (run, serve):
    for option in reversed(_LISTEN):
        option(command)

for client in (
    login,
    logout,
    status,
    project,
    member,
    robot,
    user,
    repo,
    artifact,
    tag,
    registry,
    replication,
    gc,
    verify,
    region,
    doctor,
    completion,
):
    main.add_command(client)

if __name__ == "__main__":
    main()
