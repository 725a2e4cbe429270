"""The asyncio door; written by hand."""
