"""What Harbor 2.16 offers below `/api/v2.0` and this registry does not yet: its operations, so that they answer 501.

Invariants:
* An operation is here or in the table of endpoints, never in both; together they are all of Harbor's.
* Whoever builds one takes it out of here.
"""

# By the beginning of the path: methods, and the rest of the path.
_ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "/ldap": (
        ("POST", "/ping"),
        ("GET", "/users/search"),
        ("POST", "/users/import"),
        ("GET", "/groups/search"),
    ),
    "/internalconfig": (("GET", ""),),
    "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}": (
        ("POST", "/scan"),
        ("POST", "/scan/stop"),
        ("GET", "/scan/{report_id}/log"),
        ("GET", "/additions/vulnerabilities"),
    ),
    "/projects/{project_name_or_id}/scanner": (
        ("GET PUT", ""),
        ("GET", "/candidates"),
    ),
    "/projects/{project_name}/preheat": (
        ("GET POST", "/policies"),
        ("DELETE GET POST PUT", "/policies/{preheat_policy_name}"),
        ("GET", "/policies/{preheat_policy_name}/executions"),
        ("GET PATCH", "/policies/{preheat_policy_name}/executions/{execution_id}"),
        ("GET", "/policies/{preheat_policy_name}/executions/{execution_id}/tasks"),
        ("GET", "/policies/{preheat_policy_name}/executions/{execution_id}/tasks/{task_id}/logs"),
        ("GET", "/providers"),
    ),
    "/p2p/preheat": (
        ("GET", "/providers"),
        ("POST", "/instances/ping"),
        ("GET POST", "/instances"),
        ("DELETE GET PUT", "/instances/{preheat_instance_name}"),
    ),
    "/scanners": (
        ("GET POST", ""),
        ("POST", "/ping"),
        ("DELETE GET PATCH PUT", "/{registration_id}"),
        ("GET", "/{registration_id}/metadata"),
    ),
    "/scans": (
        ("GET", "/all/metrics"),
        ("GET", "/schedule/metrics"),
    ),
    "/system": (
        ("POST", "/oidc/ping"),
        ("GET PUT", "/CVEAllowlist"),
        ("GET POST PUT", "/scanAll/schedule"),
        ("POST", "/scanAll/stop"),
    ),
    "/export/cve": (
        ("POST", ""),
        ("GET", "/execution/{execution_id}"),
        ("GET", "/executions"),
        ("GET", "/download/{execution_id}"),
    ),
    "/security": (
        ("GET", "/summary"),
        ("GET", "/vul"),
    ),
    "/icons": (("GET", "/{digest}"),),
}

UNBUILT: tuple[tuple[str, str], ...] = tuple(
    (method, beginning + rest)
    for beginning, rows in _ROWS.items()
    for methods, rest in rows
    for method in methods.split()
)
