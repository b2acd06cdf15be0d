"""Starts and stops the server: over an embedded S3 service (`run`), or over services that are there (`serve`)."""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from aiohttp import ClientSession, ClientTimeout

from chalicelib import services as composition
from chalicelib.config import THROUGH_THE_SERVER, Settings
from chalicelib.jobs import engine, forward_audit, pulled, reindex
from chalicelib.server import embedded, http, secrets
from chalicelib.server.downloads import Downloads
from chalicelib.server.log import AccessLog
from chalicelib.server.workers import Workers
from chalicelib.services import Services, admin_client, build, check_directory
from chalicelib.store import bucket
from chalicelib.store.directory import foundation
from chalicelib.store.job_records import GRACE
from chalicelib.store.queue import MemoryQueue

log = logging.getLogger(__name__)

# mallopt(3): setting it also stops glibc from raising it as blocks are freed.
_M_MMAP_THRESHOLD = -3
_MAPPED_FROM = 256 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen, where to keep things, how to write the access log, what to do beside requests, how to end.

    Requests under way at a signal get `stop_seconds`. Without `jobs` only pulls are counted: others do the rest.
    """

    host: str
    port: int
    folder: Path
    json: bool = False
    stop_seconds: float = 5.0
    jobs: bool = True
    out: TextIO = sys.stdout


class StartError(Exception):
    """The server cannot start; the message says what to do."""


def run(settings: Settings, options: Options) -> None:
    """Serve until a signal, over an S3 service in the data folder; raise StartError."""
    with _locked(options.folder):
        complete, fresh = secrets.complete(settings, options.folder)
        _say(options, "Starting storage in", str(options.folder), "...")
        try:
            service = embedded.start(complete, options.folder)
        except OSError as error:
            raise StartError(str(error)) from error
        try:
            asyncio.run(_serve(service.settings, options, fresh))
        finally:
            service.stop()
    _say(options, "Stopped.")


def serve(settings: Settings, options: Options) -> None:
    """Serve until a signal, over the services that the settings name; raise StartError."""
    try:
        complete, fresh = secrets.complete(composition.complete(settings), options.folder)
        bucket.check(admin_client(complete), complete.bucket)
        check_directory(complete)
    except (OSError, LookupError) as error:
        raise StartError(str(error)) from error
    asyncio.run(_serve(complete, options, fresh))
    _say(options, "Stopped.")


def repair(settings: Settings, folder: Path | None, project: str, tell: Callable[[str], None]) -> None:
    """Make the artifact index agree with the bucket, beside a server that runs; raise LookupError or OSError.

    With `folder` the server is the one that `run` started over it, else one over the services of the settings.
    """
    if folder:
        settings = embedded.pointed(secrets.complete(settings, folder)[0], folder)
    elif not settings.signing_keys:
        # Nothing is signed here, and services are not made without a key.
        settings = replace(settings, signing_key=bytes(32))
    services = build(settings)
    steps = reindex.run(services, project, progress=lambda cursor: tell(cursor.repository or cursor.project))
    tell(f"done in {steps} steps")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the data folder: two servers over one folder would corrupt it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"another roadstead is running over {folder}: stop it, or choose another DATA"
            ) from error
        yield


def _return_memory_at_once() -> None:
    """Let glibc map each part of an upload by itself: freed ones would otherwise stay with this process."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


async def _serve(settings: Settings, options: Options, fresh: bool) -> None:
    _return_memory_at_once()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    services = build(settings)
    if await asyncio.to_thread(services.keeps_table):
        await asyncio.to_thread(foundation.lay, services.directory)
    async with _downloads(settings) as downloads:
        try:
            address = (options.host, options.port)
            running = await http.start(services, downloads, AccessLog(options.out, options.json), address)
        except OSError as error:
            raise StartError(_cannot_listen(options, error)) from error
        jobs = [asyncio.create_task(_repeat(job, services)) for job in _JOBS if options.jobs or job.always]
        workers = Workers(services) if options.jobs else None
        _greet(settings, options, running.port, fresh)
        await stopped.wait()
        _say(options, "Stopping: requests under way may finish ...")
        for job in jobs:
            job.cancel()
        await asyncio.gather(
            running.stop(options.stop_seconds), *((workers.stop(options.stop_seconds),) if workers else ())
        )
        await asyncio.to_thread(_count_pulls, services)


def _cannot_listen(options: Options, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {options.port} at {options.host} is taken: choose another with PORT="
    return (
        f"cannot listen on port {options.port} at {options.host}: {error.strerror}. Choose others with PORT=, HOST="
    )


@contextlib.asynccontextmanager
async def _downloads(settings: Settings) -> AsyncIterator[Downloads | None]:
    if settings.s3_public_endpoint != THROUGH_THE_SERVER:
        yield None
        return
    timeout = ClientTimeout(total=None, sock_connect=5, sock_read=60)
    async with ClientSession(timeout=timeout, auto_decompress=False) as session:
        yield Downloads(settings.s3_endpoint, settings.bucket, session)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done beside the requests: first after so many seconds, then every so many.

    What is done `always` concerns this process alone.
    """

    name: str
    do: Callable[[Services], object]
    first: int
    every: int
    always: bool = False


async def _repeat(job: _Job, services: Services) -> None:
    await asyncio.sleep(job.first)
    while True:
        try:
            await asyncio.to_thread(job.do, services)
        except Exception:
            # One time that failed must not end all that follow.
            log.exception("%s failed; it is tried again in %d seconds", job.name, job.every)
        await asyncio.sleep(job.every)


def _count_pulls(services: Services) -> None:
    """Write down the pulls that were remembered."""
    taken = services.pulls.take()
    if taken:
        try:
            pulled.tell(services, taken)
        except Exception:
            # Rather twice than never.
            services.pulls.put_back(taken)
            raise


def _wake_jobs(services: Services) -> None:
    """Begin what is scheduled, and have what is due looked at, what the last server left among it."""
    # A queue in memory has no message twice, so none is waited for: the last server's are lost.
    engine.wake(services, GRACE if isinstance(services.directory.queue, MemoryQueue) else 0)


def _repair(services: Services) -> None:
    """Make the index agree with the bucket, in the region whose bucket that is."""
    if services.keeps_table():
        reindex.run(services)


# Repairing takes long, and the index is seldom wrong: it waits until a start is over.
_JOBS = (
    _Job("repairing the artifact index", _repair, first=600, every=24 * 3600),
    _Job("waking jobs", _wake_jobs, first=0, every=60),
    _Job("sending the audit log", forward_audit.run, first=5, every=15),
    _Job("counting pulls", _count_pulls, first=0, every=5, always=True),
)


def _greet(settings: Settings, options: Options, port: int, fresh: bool) -> None:
    address = f"{options.host}:{port}"
    note = f"shown once; kept in {options.folder / secrets.PASSWORD_FILE}" if fresh else ""
    password = f"{settings.admin_password}   ({note})" if fresh else f"see {options.folder / secrets.PASSWORD_FILE}"
    if not fresh and not (options.folder / secrets.PASSWORD_FILE).exists():
        password = "as given in ROADSTEAD_ADMIN_PASSWORD"
    _say(
        options,
        f"""
Roadstead is ready at http://{address}

  user       admin
  password   {password}

  docker login {address} --username admin
  docker tag IMAGE {address}/library/IMAGE
  docker push {address}/library/IMAGE

Ctrl-C stops it.
""",
    )


def _say(options: Options, *words: str) -> None:
    # With --json standard output is for machines alone.
    print(*words, file=sys.stderr if options.json else options.out, flush=True)
