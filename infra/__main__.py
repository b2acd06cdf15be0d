"""The steps of deploying as commands: `python -m infra COMMAND`. The README in this folder says which, and when."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from infra import configure as configuring
from infra import finish as finishing
from infra import regions
from infra import replicate as replicating
from infra import secrets as secret
from infra import stack as stacks
from infra.aws import FAILURES, client
from infra.gateway import CHALICE_STAGE
from infra.package import ARRIVALS_QUEUE, CODE, JOBS_QUEUE, only, package
from infra.regions import Peer
from infra.stack import Stack, StackError


@dataclass(frozen=True, slots=True)
class Asked:
    """What `stack` was asked for."""

    name: str
    code_bucket: str | None
    storage_only: bool
    replica_only: bool
    replica_of: str | None
    own_table: bool
    replica: str | None
    parameters: dict[str, str]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Deploy Roadstead to AWS."""


@main.command("package")
@click.argument("folder", type=click.Path(path_type=Path))
def package_command(folder: Path) -> None:
    """Make the functions' package and the one template in FOLDER."""
    click.echo(f"{package(folder)}  beside  {folder / CODE}")


@main.command("stack")
@click.argument("name")
@click.option("--code-bucket", help="A bucket of yours that takes the functions' package.")
@click.option("--storage-only", is_flag=True, help="Make the bucket and the table alone, for `chalice deploy`.")
@click.option("--replica-only", is_flag=True, help="Make the bucket of another region alone, for its copies.")
@click.option(
    "--replica-of", metavar="REGION:STACK", help="Make a whole stack that serves copies of that one's content."
)
@click.option("--own-table", is_flag=True, help="With --replica-of: over a table of its own, not that one's.")
@click.option(
    "--replica", metavar="REGION:STACK", help="Have everything copied to that stack, a replica of this one."
)
@click.option("--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the template.")
def stack_command(**given: Any) -> None:
    """Make or change the stack NAME."""
    asked = Asked(**{**given, "parameters": _given(given["parameters"])})
    if asked.storage_only or asked.replica_only:
        _storage(asked)
    else:
        _whole(asked)


def _storage(asked: Asked) -> None:
    known = stacks.values(client("cloudformation"), asked.name)
    if asked.storage_only and regions.is_replica(known):
        raise click.UsageError(f"{asked.name} is a replica, whose table no stack makes: leave out --storage-only")
    own = {"JobsQueueName": JOBS_QUEUE} | ({"ArrivalsQueueName": ARRIVALS_QUEUE} if asked.storage_only else {})
    template = only("replica" if asked.replica_only else "storage")
    _deploy(Stack(asked.name, template, own | asked.parameters))


def _whole(asked: Asked) -> None:
    if not asked.code_bucket:
        raise click.UsageError("--code-bucket names a bucket for the functions' package (or say --storage-only)")
    here = client("cloudformation")
    known = stacks.values(here, asked.name)
    given = {**_of_peers(asked, here.meta.region_name), **asked.parameters}
    replica = regions.is_replica({**known, **given})
    path = given.get("SecretsPath") or known.get("SecretsPath") or f"/{asked.name}"
    if not replica and secret.make(client("ssm"), path):
        click.echo(f"✓ secrets made in SSM below {path}: python -m infra secrets {path} --show")
    with tempfile.TemporaryDirectory() as folder:
        written = package(Path(folder), {**known, **given}, replica=replica)
        s3 = client("s3")
        key = stacks.upload(s3, asked.code_bucket, written.parent / CODE)
        url = stacks.url_of(s3, asked.code_bucket, stacks.upload(s3, asked.code_bucket, written))
        own = {"CodeBucket": asked.code_bucket, "CodeKey": key, "SecretsPath": path}
        found = _deploy(Stack(asked.name, stacks.read(written), {**own, **given}, url))
    domain = given.get("DomainName", known.get("DomainName", ""))
    _greet(domain or found.get("FrontHost") or found["RegistryUrl"].removeprefix("https://"))


def _of_peers(asked: Asked, here: str) -> dict[str, str]:
    """Return the parameters that follow from the stack in another region, if one is named."""
    if asked.own_table and not asked.replica_of:
        raise click.UsageError("--own-table says how to make a replica: name the first stack with --replica-of")
    if asked.replica_of:
        return _peer(asked.replica_of).as_first(here, own_table=asked.own_table)
    return _peer(asked.replica).as_copy(here) if asked.replica else {}


def _peer(text: str) -> Peer:
    region, mark, name = text.partition(":")
    if not (region and mark and name):
        raise click.UsageError(f"the stack of another region is named REGION:STACK (eu-west-3:roadstead), not {text}")
    return regions.peer(client("cloudformation", region), name)


def _given(parameters: tuple[str, ...]) -> dict[str, str]:
    if wrong := [each for each in parameters if "=" not in each]:
        raise click.UsageError(f"--parameter wants KEY=VALUE, not {wrong[0]}")
    return dict(each.split("=", 1) for each in parameters)


def _deploy(wanted: Stack) -> dict[str, str]:
    found = dict(stacks.deploy(client("cloudformation"), wanted, click.echo))
    for key, value in found.items():
        click.echo(f"  {key}: {value}")
    return found


def _greet(host: str) -> None:
    click.echo(f"\nThe registry is there. Log in and push:\n  docker login {host} --username admin")


@main.command("secrets")
@click.argument("path")
@click.option("--show", is_flag=True, help="Print the password of the user admin.")
def secrets_command(path: str, show: bool) -> None:
    """Make the secrets below the SSM PATH (such as /roadstead), where they are missing."""
    ssm = client("ssm")
    made = secret.make(ssm, path)
    click.echo(f"✓ {', '.join(made) or 'nothing'} made below {path}")
    if show:
        found = ssm.get_parameter(Name=f"{path}/admin-password", WithDecryption=True)
        click.echo(f"  admin's password: {found['Parameter']['Value']}")


@main.command("replicate")
@click.argument("name")
@click.argument("region")
@click.option("--secrets", "path", default="", help="The SSM path of the secrets; /NAME by default.")
@click.option("--secrets-only", is_flag=True, help="Where the stack there has a table of its own.")
def replicate_command(name: str, region: str, path: str, secrets_only: bool) -> None:
    """Give REGION a replica of the table of the stack NAME, and its secrets."""
    table = stacks.outputs(client("cloudformation"), name)["TableName"]
    if not secrets_only:
        for line in replicating.table(client("dynamodb"), client("dynamodb", region), table):
            click.echo(f"✓ {line}")
    for line in replicating.secrets(client("ssm"), client("ssm", region), path or f"/{name}"):
        click.echo(f"✓ {line}")
    click.echo(f"✓ {region} has {'' if secrets_only else f'the table {table} and '}the secrets")


@main.command("configure")
@click.argument("name")
@click.option("--secrets", "path", default="", help="The SSM path of the secrets; /NAME by default.")
@click.option("--stage", default="prod", help="The stage of .chalice/config.json.")
@click.option("--check", is_flag=True, help="Change nothing; fail if something would change.")
def configure_command(name: str, path: str, stage: str, check: bool) -> None:
    """Before `chalice deploy`: put the names of what the stack NAME made into .chalice/."""
    found = stacks.outputs(client("cloudformation"), name)
    wanted = configuring.Names(found["BucketName"], found["TableName"], path or f"/{name}")
    changed = configuring.changes(Path.cwd(), stage, wanted)
    for line in configuring.summary(changed):
        click.echo(line)
    if check and changed:
        raise click.ClickException("these lines differ from the stack")
    configuring.write(changed)
    click.echo(f"✓ {len(changed)} files changed" if changed else "✓ nothing to change")


@main.command("finish")
@click.option("--stage", default="prod", help="The stage of .chalice/config.json that was deployed.")
@click.option("--host", default="", help="The registry's own domain, if it has one.")
@click.option("--to", "deployment", default="", help="Go back to this earlier deployment instead.")
def finish_command(stage: str, host: str, deployment: str) -> None:
    """After `chalice deploy`: put API Gateway's answers in place and point the public stages to what was deployed."""
    api = finishing.deployed_api(Path.cwd(), stage)
    gateway = client("apigateway")
    if deployment:
        finishing.back_to(gateway, api, deployment)
        click.echo(f"✓ the public stages serve deployment {deployment}; the functions' code is as it was")
        return
    reached = host or f"{api}.execute-api.{gateway.meta.region_name}.amazonaws.com"
    finishing.let_jobs_go_on(client("lambda"), Path.cwd(), stage)
    for line in finishing.finish(gateway, api, reached):
        click.echo(f"✓ {line}")
    click.echo(f"  (Chalice's own stage, {CHALICE_STAGE}, is for nobody.)")
    _greet(reached)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (StackError, ValueError, LookupError, subprocess.CalledProcessError, *FAILURES) as error:
        click.echo(f"✗ {error}", err=True)
        sys.exit(1)
