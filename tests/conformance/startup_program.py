"""Run a start-up file of bluesky on one of the two engines and tell what came of it: ``PROGRAM FILE ENGINE``."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
from typing import Any


def main(path: str, engine: str) -> None:
    """Run the file; print one JSON document."""
    from labspine.compat.bluesky import cheap_plans, replace_engine

    with contextlib.ExitStack() as stack:
        if engine == "labspine":
            stack.enter_context(replace_engine())
            stack.enter_context(cheap_plans())
        names = runpy.run_path(path, run_name="__startup__")
    facts: dict[str, Any] = {key: names[key] for key in ("documents", "uids", "state", "failure")}
    facts["scan_id"], facts["class"] = names["RE"].md["scan_id"], type(names["RE"]).__module__
    print("FACTS " + json.dumps(facts, default=str))
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
