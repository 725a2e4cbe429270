"""The blocking door: connector, delivery and pipeline are generated from the asyncio one."""
