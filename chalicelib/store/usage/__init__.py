"""What a project's storage counts as used: who holds which digest in it, and the sum. Every shape is here.

A digest is held in a project by a manifest of it, stored in one of its repositories, that is or names it; or by an
upload or a mount into a repository, until a manifest there names it. Each digest that anybody holds counts once in
its project, with its true size. Content that a manifest says is elsewhere counts only where it was uploaded as well.

```
partition                      sort                          record
used/<project id>/<shard>      bytes                         counter `bytes`: the sum of the digests in this shard
used/<project id>/<shard>      <digest>                      {size}: it is counted; {leaving}: somebody wants it freed
used/<project id>/<shard>      <digest>/<repository>/<who>   {since}: a holder; the name with `/` written as `!`
taken/<project id>/<repository> <manifest>/<number>          {digests, parts, size}: what a manifest of a size holds
```

`<who>` is a manifest's digest, `upload`, or `+<token>`: a reservation, until its request knows that there is room.

Invariants:
* The record that a digest is counted, and its size in the counter of its shard, change together; a digest has one
  shard, so that who reads all counters while they change may see too much, and never too little.
* A holder comes before it is looked whether its digest is counted; a digest is marked as leaving before it is looked
  whether anybody holds it. So what is held is counted, in any order of requests and after any crash; what nobody
  holds may stay counted after a crash, until `jobs.quota_reconcile`.
* The part of a manifest's record and the holders that it lists change together.
* No record is written by every upload: holders are their own, and counters are spread over `SHARDS`.
"""

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.store import layout
from chalicelib.store.table import Key

SHARDS = 64
UPLOAD = "upload"
RESERVED = "+"
BYTES = "bytes"
# The parts of a manifest's record; with each digest go two holders at most, and a commit has a hundred changes.
PART = 48


def shard(digest: str) -> int:
    """Return the shard of a digest."""
    return int(digest.partition(":")[2][:2], 16) % SHARDS


def partition(project_id: int, number: int) -> str:
    """Return where the digests of a shard are."""
    return f"used/{project_id}/{number:02}"


def counter(project_id: int, number: int) -> Key:
    """Return where the sum of a shard is."""
    return Key(partition(project_id, number), BYTES)


def counted(project_id: int, digest: str) -> Key:
    """Return where it is said that a digest is counted."""
    return Key(partition(project_id, shard(digest)), digest)


def holder(project_id: int, digest: str, repository: Repository, who: str) -> Key:
    """Return where it is said that somebody in a repository holds a digest."""
    return Key(partition(project_id, shard(digest)), f"{digest}/{layout.flat(repository)}/{who}")


def parsed_holder(sort: str) -> tuple[str, str, str]:
    """Return the digest, the repository's name and the holder of a sort key; the last two are "" if it is none."""
    digest, _, rest = sort.partition("/")
    repository, _, who = rest.partition("/")
    return digest, layout.unflat(repository), who


def taken(project_id: int, repository: Repository) -> str:
    """Return where it is said what the manifests of a repository hold."""
    return f"taken/{project_id}/{repository}"


def taken_part(project_id: int, repository: Repository, digest: Digest, number: int) -> Key:
    """Return where a part of what a manifest holds is."""
    return Key(taken(project_id, repository), f"{digest}/{number:05}")
