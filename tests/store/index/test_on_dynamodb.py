"""The index on DynamoDB: one long history with everything in it, since each engine has limits of its own."""

from datetime import timedelta

from chalicelib.jobs import reindex
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.index import artifacts, labels, pulls, removal, repositories
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.signing import Credentials
from tests.engines import moto
from tests.memory import Clock, Inline
from tests.store.index.world import HOME, PROJECT, World, image, index_of


def go_through(world: World) -> None:
    cursor = reindex.Cursor(PROJECT, "library", HOME.name)
    while cursor.phase < reindex.PHASES:
        cursor = reindex.within(world.index, Inline(), cursor)


def test_a_long_history_ends_as_s3_has_it() -> None:
    clock = Clock()
    with moto() as service:
        credentials = Credentials(service.access_key, service.secret_key)
        make_table(dynamo_client(service.region, service.endpoint, credentials), "index")
        table = DynamoTable("index", service.region, service.endpoint, credentials, lambda: clock().timestamp())
        world = World(clock=clock, engine=table)

        children = [image(f"child {number}") for number in range(6)]
        for child in children:
            world.push(child)
        together = world.push(index_of(*children), *(f"v{number}" for number in range(15)))
        world.push(image("signature", subject=together))
        world.push(image("attached"), f"sha256-{together.hex}.sig")
        assert world.shown() == world.expected()

        assert labels.add(world.index, world.home(), str(together), 5)
        repositories.describe(world.index, world.home(), "words")
        pulled = {Pulled(HOME, str(together), "v1"): Pulls(2, clock() + timedelta(minutes=1))}
        pulls.flush(world.index, pulled, lambda _repository: PROJECT)
        assert (world.home().pulls, world.artifact(together).labels) == (2, (5,))

        go_through(world)
        assert world.shown() == world.expected()
        world.delete(together)
        assert world.shown() == world.expected()
        assert len(artifacts.newest(world.index, world.home(), 4, 100)) == world.home().artifacts - 4
        removal.remove(world.index, PROJECT, HOME)
        assert repositories.count(world.index, PROJECT) == 0
