"""Work that must not be lost: durable queues and workers (seed 002)."""

from ._async.queue import AsyncQueue
from ._async.worker import AsyncWorker
from ._sync.queue import Queue
from ._sync.worker import Worker
from .handlers import Handler, WorkerCounters, WorkerOptions, worker
from .items import DeadLetter, Item, QueueCounters, Waiting
from .options import QueueOptions
from .transport import AsyncQueueTransport, QueueState, QueueTransport

__all__ = [
    "AsyncQueue",
    "AsyncQueueTransport",
    "AsyncWorker",
    "DeadLetter",
    "Handler",
    "Item",
    "Queue",
    "QueueCounters",
    "QueueOptions",
    "QueueState",
    "QueueTransport",
    "Waiting",
    "Worker",
    "WorkerCounters",
    "WorkerOptions",
    "worker",
]
