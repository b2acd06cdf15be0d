"""Where everything is in the bucket: every key is built, and read back, in this module alone.

    data/<upload id>                                      bytes of one blob: written once, never rewritten
    blobs/<algorithm>/<hex>                               {key, size}: where the bytes of a digest are
    catalog/<name>                                        empty: this repository exists (`/` written as `!`)
    repositories/<name>/_blobs/<algorithm>/<hex>          {key, size, since}: this repository holds the blob
    repositories/<name>/_manifests/<algorithm>/<hex>      the manifest's exact bytes; Content-Type is its media type
    repositories/<name>/_tags/<tag>                       the manifest's bytes again; its digest in the metadata
    repositories/<name>/_tagged/<algorithm>/<hex>/<tag>   empty: this tag names, or once named, the manifest
    repositories/<name>/_referrers/<subject>/<digest>     the descriptor that the referrers API returns
    repositories/<name>/_cached/<algorithm>/<hex>         a manifest of another registry that is not whole here yet
    repositories/<name>/_noted/<tag>                      {digest}: what a tag of another registry is to name here
    uploads/<upload id>                                   state of an upload, then what became of it
    collector/<execution>/<name>                          what a collector, or a verification, remembers
    collector/needs/<name>                                and from run to run: what a repository's manifests need
    history/<key of a tag>/<version>                      a past version, where the bucket keeps none itself
    region/role                                           whether this bucket's region is the primary; never copied
    heartbeats/<region>                                   when the region last wrote it, while it is the primary

Invariants:
* `_` cannot begin a part of a repository name, so the markers cannot collide with one.
* `!` is in no repository name and sorts before every character that is: the catalog's keys sort as the names do
  when compared part by part, and one listing is one page of the catalog.
* A tag that names a manifest has its `_tagged` entry, written before it. The reverse need not hold: entries are
  hints, left behind when a tag moves or goes, and verified against the tag when they are read.
"""

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag

CATALOG = "catalog/"
# Nothing is ever there: asking for it tells whether the bucket answers.
HEALTH = "health"
DATA = "data/"
UPLOADS = "uploads/"
BLOBS = "blobs/"
REPOSITORIES = "repositories/"
HISTORY = "history/"
COLLECTOR = "collector/"
REGION = "region/"
HEARTBEATS = "heartbeats/"
NEEDS = COLLECTOR + "needs/"
_TAGS, _MANIFESTS = "_tags/", "_manifests/"
_MANIFESTS = "_manifests/"


def data(upload_id: str) -> str:
    """Return the key of a blob's bytes."""
    return DATA + upload_id


def upload(upload_id: str) -> str:
    """Return the key of an upload's state."""
    return UPLOADS + upload_id


def upload_id(key: str) -> str:
    """Return the upload whose state or data is at `key`."""
    return key.rpartition("/")[2]


def blob(digest: Digest) -> str:
    """Return the key that says where the bytes of a digest are."""
    return BLOBS + _path(digest)


def blob_digest(key: str) -> str:
    """Return the digest, as a text, of the bytes that an entry at `key` is about."""
    return key.removeprefix(BLOBS).replace("/", ":", 1)


def hex_of(key: str) -> str:
    """Return the digest, without its algorithm, at whose end a key is."""
    return key.rpartition("/")[2]


def role() -> str:
    """Return the key of what the region of this bucket is."""
    return REGION + "role"


def heartbeat(region: str) -> str:
    """Return the key at which a region says that it is alive, where it is copied to the others."""
    return HEARTBEATS + region


def collector(execution: int, name: str) -> str:
    """Return the key of what an execution of a collector, or a verification, remembers between its steps."""
    return f"{COLLECTOR}{execution}/{name}"


def needs(repository: Repository) -> str:
    """Return the key of what the collector knows of a repository's manifests."""
    return NEEDS + flat(repository)


def catalog(repository: Repository) -> str:
    """Return the key that lists a repository."""
    return CATALOG + flat(repository)


def catalog_name(key: str) -> str:
    """Return the name of the repository that the catalog lists at `key`."""
    return unflat(key.removeprefix(CATALOG))


def flat(repository: Repository) -> str:
    """Return a repository's name as one part of a path, ordered as names are when compared part by part."""
    return repository.name.replace("/", "!")


def unflat(text: str) -> str:
    """Return the name that `flat` made a text of."""
    return text.replace("!", "/")


def link(repository: Repository, digest: Digest) -> str:
    """Return the key that says that a repository holds a blob."""
    return links(repository) + _path(digest)


def links(repository: Repository) -> str:
    """Return the prefix of what says which blobs a repository holds."""
    return f"{_root(repository)}_blobs/"


def link_digest(repository: Repository, key: str) -> str:
    """Return the digest, as a text, of the blob that a link at `key` is about."""
    return key.removeprefix(links(repository)).replace("/", ":", 1)


def linked(key: str) -> str:
    """Return the digest, as a text, of the blob that a key below `REPOSITORIES` is a link to, or ""."""
    name, _, path = key.partition("/_blobs/")
    return path.replace("/", ":", 1) if name.startswith(REPOSITORIES) else ""


def repository_name(key: str) -> str:
    """Return the name of the repository that a key below `REPOSITORIES` belongs to."""
    return key.removeprefix(REPOSITORIES).partition("/_")[0]


def manifest(repository: Repository, digest: Digest) -> str:
    """Return the key of a manifest."""
    return manifests(repository) + _path(digest)


def manifests(repository: Repository) -> str:
    """Return the prefix of a repository's manifests."""
    return _root(repository) + _MANIFESTS


def manifest_digest(repository: Repository, key: str) -> str:
    """Return the digest, as a text, of the manifest at `key`."""
    return key.removeprefix(manifests(repository)).replace("/", ":", 1)


def tags(repository: Repository) -> str:
    """Return the prefix of a repository's tags."""
    return _root(repository) + _TAGS


def tag(repository: Repository, name: Tag) -> str:
    """Return the key of a tag."""
    return tags(repository) + name.name


def is_tag(key: str) -> bool:
    """Tell whether a key is that of a tag."""
    return f"/{_TAGS}" in key and not key.startswith(HISTORY)


def tag_name(key: str) -> str:
    """Return the tag, as a text, whose key it is."""
    return key.partition(f"/{_TAGS}")[2]


def is_manifest(key: str) -> bool:
    """Tell whether a key is that of a manifest."""
    return key.startswith(REPOSITORIES) and f"/{_MANIFESTS}" in key


def kept(key: str) -> str:
    """Return the prefix of the copies of what was at the key of a tag."""
    return f"{HISTORY}{key}/"


def kept_of(key: str) -> tuple[str, str]:
    """Return the key of the tag of which there is a copy at `key`, and the version that it was."""
    tag_key, _, version = key.removeprefix(HISTORY).rpartition("/")
    return tag_key, version


def all_tagged(repository: Repository) -> str:
    """Return the prefix of what says which tags name, or once named, any manifest of a repository."""
    return f"{_root(repository)}_tagged/"


def tagged(repository: Repository, digest: Digest) -> str:
    """Return the prefix of the tags that name, or once named, a manifest."""
    return f"{all_tagged(repository)}{_path(digest)}/"


def all_referrers(repository: Repository) -> str:
    """Return the prefix of the descriptors that refer to any manifest of a repository."""
    return f"{_root(repository)}_referrers/"


def referrers(repository: Repository, subject: Digest) -> str:
    """Return the prefix of the descriptors that refer to a manifest."""
    return f"{all_referrers(repository)}{subject.algorithm}-{subject.hex}/"


def referrer(repository: Repository, subject: Digest, digest: Digest) -> str:
    """Return the key of one descriptor that refers to a manifest."""
    return f"{referrers(repository, subject)}{digest.algorithm}-{digest.hex}"


def referrer_digests(repository: Repository, key: str) -> tuple[str, str]:
    """Return what a descriptor at `key` refers to, and what refers, each as a text."""
    subject, _, digest = key.removeprefix(all_referrers(repository)).partition("/")
    return subject.replace("-", ":", 1), digest.replace("-", ":", 1)


def own(repository: Repository) -> str:
    """Return the prefix of all that a repository has, and no repository whose name goes on after its own."""
    return f"{_root(repository)}_"


def cached(repository: Repository, digest: Digest) -> str:
    """Return the key of a manifest that is not whole here yet."""
    return all_cached(repository) + _path(digest)


def all_cached(repository: Repository) -> str:
    """Return the prefix of manifests that are not whole here yet."""
    return f"{_root(repository)}_cached/"


def cached_digest(repository: Repository, key: str) -> str:
    """Return the digest, as a text, of the manifest at a key below `all_cached`."""
    return key.removeprefix(all_cached(repository)).replace("/", ":", 1)


def noted(repository: Repository, tag: Tag) -> str:
    """Return the key that says what a tag is to name."""
    return all_noted(repository) + tag.name


def all_noted(repository: Repository) -> str:
    """Return the prefix of what says which tags are to name what."""
    return f"{_root(repository)}_noted/"


def of_project(name: str) -> tuple[str, str, str]:
    """Return the prefixes of all that a project's repositories have; copies of what the first has come last."""
    return (f"{REPOSITORIES}{name}/", f"{CATALOG}{name}!", f"{HISTORY}{REPOSITORIES}{name}/")


def _root(repository: Repository) -> str:
    return f"{REPOSITORIES}{repository.name}/"


def _path(digest: Digest) -> str:
    return f"{digest.algorithm}/{digest.hex}"
