"""What a change of content entails, whoever makes it, a request or a job: rules, quota, index, audit log, webhooks.

Raising `RegistryError` refuses the change; what is told after a commit fails nothing.
"""

import logging

# Where each event of the audit log is told: a line with a member `audit`.
AUDIT = logging.getLogger("roadstead.audit")
