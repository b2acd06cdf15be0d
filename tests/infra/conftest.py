"""The one template as it is deployed, made without the functions' package, which would take pip and a network."""

from typing import Any

import pytest
from botocore.session import Session
from chalice.awsclient import TypedAWSClient
from chalice.cli.factory import CLIFactory
from chalice.config import Config
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.deployer import BaseDeployStep, BuildStage, InjectDefaults, PolicyGenerator, SwaggerBuilder
from chalice.deploy.models import DeploymentPackage
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.package import PackageOptions, ResourceBuilder, SAMTemplateGenerator
from chalice.policy import AppPolicyGenerator
from chalice.utils import OSUtils

from infra.package import ROOT, fragments, merged

Json = dict[str, Any]


class _NoPackage(BaseDeployStep):
    """Chalice's step of packaging, without a package."""

    def handle_deploymentpackage(self, _config: Config, resource: DeploymentPackage) -> None:
        resource.filename = "deployment.zip"


@pytest.fixture(scope="session")
def sam() -> Json:
    """What `chalice package` makes of the application and of `.chalice/`."""
    files = OSUtils()
    config = CLIFactory(str(ROOT)).create_config_obj("prod")
    policies = PolicyGenerator(policy_gen=AppPolicyGenerator(osutils=files), osutils=files)
    steps = [InjectDefaults(), _NoPackage(), policies, SwaggerBuilder(swagger_generator=CFNSwaggerGenerator())]
    builder = ResourceBuilder(ApplicationGraphBuilder(), DependencyBuilder(), BuildStage(steps=steps))
    resources = builder.construct_resources(config, "prod")
    session = Session()
    session.set_config_variable("region", "us-east-1")
    made: Json = SAMTemplateGenerator(config, PackageOptions(TypedAWSClient(session))).generate(resources)
    return made


@pytest.fixture(scope="session")
def template(sam: Json) -> Json:
    """The one template."""
    return merged(sam, fragments())
