"""The table of what is built of Harbor's API: every module's rows."""

from chalicelib.api.harbor import (
    artifacts,
    audit,
    clearing,
    immutable_rules,
    jobservice,
    labels,
    members,
    projects,
    quotas,
    repositories,
    retentions,
    robots,
    search,
    sessions,
    system,
    tag_history,
    usergroups,
    users,
)
from chalicelib.api.harbor.calls import HarborEndpoint

ENDPOINTS: tuple[HarborEndpoint, ...] = (
    *system.ENDPOINTS,
    *sessions.ENDPOINTS,
    *projects.ENDPOINTS,
    *repositories.ENDPOINTS,
    *artifacts.ENDPOINTS,
    *tag_history.ENDPOINTS,
    *immutable_rules.ENDPOINTS,
    *retentions.ENDPOINTS,
    *members.ENDPOINTS,
    *users.ENDPOINTS,
    *usergroups.ENDPOINTS,
    *robots.ENDPOINTS,
    *labels.ENDPOINTS,
    *quotas.ENDPOINTS,
    *audit.ENDPOINTS,
    *clearing.ENDPOINTS,
    *jobservice.ENDPOINTS,
    *search.ENDPOINTS,
)
