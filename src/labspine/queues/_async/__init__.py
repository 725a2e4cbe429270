"""Queues and workers of an event loop; the blocking ones are generated from them."""
