"""The directory: projects, people, rights and what governs them, on one table. Every shape of a record is here.

```
partition              sort                  record                                          written by
projects/              <name>                a project; found by name, listed in its order   projects
                                             `immutable_rules` in it: which tags are fixed   immutable_rules
                                             `webhooks` in it: which policies want what      webhooks
users/                 <lookup key>          a user, with the hash of the password           users
groups/                <type>/<key>          a group of users: its source's name or DN       groups
members/<project id>   u/<id> or g/<id>      the role of a user or a group in a project      members
memberships/<u|g>/<id> <project id>          the same, from the other side                   members
robots/<project id>    <name>                a robot account, with the hash of its secret    robots
retentions/            <project id>          a project's retention policy                    retention
webhooks/<project id>  <id>                  a webhook policy, with sealed secrets           webhooks
webhook/<id>           self                  {project}: where a webhook policy is            webhooks
registries/            <name>                another registry, with a sealed secret          registries
health/registries      <id>                  {status}: whether it answered last              registries
labels/<project id>    <name>                a label                                         labels
<kind>/<id>            self                  {partition, sort}: where a numeric id leads     collection
count/<partition>      count                 counter `entries`: how many a partition has     collection
emails/                <address>             {id}: no two users share an address             users
public/                <name>                {id}: the projects that everybody may see       projects
deleted/               <name>                {maker, until}: whose a free name is; expires   projects
configuration/         values                the settings that differ from their defaults    configuration
audit/<project id>     <time>.<id>.<chance>  an event of a project                           audit
audit/                 <time>.<id>.<chance>  every event, system and projects together       audit
count/audit/<project>  count                 {after, entries}: events counted so far         audit
forward/               <time>.<id>.<chance>  an event that is yet to be sent; expires        audit
jobs/                  forward_audit         a process sends them; expires                   jobs.forward_audit
sessions/              <hash>                a portal session; expires                       sessions
logins/                <account or source>   failed logins; expires                          logins
foundation/            laid                  the first project was made                      foundation
jobs/                  reindex               where `jobs.reindex` goes on                    jobs.reindex
executions/<kind>/<v>  <id>                  an execution of a job for vendor id <v>         executions
execution/<id>         self                  {kind, vendor_id}: where it is                  executions
execution/<id>         tasks                 counters of its tasks: `active`, each state     executions
active/<kind>/<v>      execution             {id}: the one that runs, of kinds that are alone executions
tasks/<execution id>   <id>                  a task                                          executions
task/<id>              self                  {execution}: where it is                        executions
named/<execution id>   <name>                {task}: tasks that were added under a name      executions
log/<task id>          <moment>.<n>.<random> a piece of its log; expires                     job_logs
due/                   <moment>.<what>       {task ...} or {schedule}: to be looked at then  executions
dead/                  <task id>             {execution}: a task that failed too often       executions
schedules/             <kind>/<v>            {id, cron, parameters ...}                      schedules
regions/               primary               {epoch, primary}: the last promotion            store.regions
pulled/                <time>.<random>       pulls in a copy that are to be told; expires    store.pulls_left
holds/                 <what is done>        {by}: one process does it; expires              holds
paused/                <kind>                {}: no task of it is begun; SCHEDULER: no schedule
                                             begins anything                                 pauses
```

Project id 0 is the system itself: its robots, its labels, its events.

Invariants:
* A numeric id is drawn at random below 2^31 and reserved in the transaction that makes its record: no counter, and
  none is ever used twice at a time. Ids below `FIRST_ID` are those that Harbor's clients know beforehand.
* Records below a project are keyed by its id, so one that is made anew under an old name begins empty.
* What takes several records is one transaction, or an order in which a crash leaves records that nobody reaches.
* Every condition has a name, in words that can be shown to whoever lost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib.store.queue import MemoryQueue, Queue

if TYPE_CHECKING:
    # A pull asks the table nothing, and waits for imports.
    from chalicelib.store.table import Table

SYSTEM = 0
FIRST_ID = 1000


class Kept(NamedTuple):
    """Settings, and when they were read."""

    values: Mapping[str, Any]
    read: datetime


class Settings:
    """The copy of the settings that a process has (`configuration`); for any number of threads."""

    def __init__(self) -> None:
        self.kept: Kept | None = None

    def keep(self, values: Mapping[str, Any], read: datetime) -> None:
        """Remember settings that were read at a moment, unless newer ones are known."""
        if self.kept is None or read >= self.kept.read:
            self.kept = Kept(values, read)


@dataclass(frozen=True, slots=True)
class Directory:
    """What the functions of these modules work with."""

    table: "Table"
    now: Callable[[], datetime]
    queue: Queue = field(default_factory=MemoryQueue)
    settings: Settings = field(default_factory=Settings)

    def time(self) -> str:
        """Return the moment, as records and answers write it (RFC 3339, UTC, milliseconds)."""
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
