"""Queues and workers of threads; generated from those of an event loop, except what has threads in it."""
