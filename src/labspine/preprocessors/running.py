"""Runs and staging around a plan, and what is written into the start of a run."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from labspine.engine import Msg, as_plan
from labspine.plan_stubs.base import BadPlan, Plan, ancestors, separate_devices
from labspine.plan_stubs.motion import stage_all, unstage_all

from .cleaning import finalize_wrapper
from .mutating import as_decorator, msg_mutator, rewritten

__all__ = [
    "inject_md_decorator",
    "inject_md_wrapper",
    "lazily_stage_decorator",
    "lazily_stage_wrapper",
    "run_decorator",
    "run_wrapper",
    "set_run_key_decorator",
    "set_run_key_wrapper",
    "stage_decorator",
    "stage_wrapper",
    "stub_decorator",
    "stub_wrapper",
]

STAGED_FOR = frozenset({"read", "set", "trigger", "kickoff"})


def run_wrapper(plan: Any, *, md: Mapping[str, Any] | None = None) -> Plan:
    """
    Make a run of a plan.

    Args:
        plan: The plan.
        md: Metadata of the run.

    Returns:
        A plan whose value is the uid of the run.
    """
    uid = yield Msg("open_run", **(md or {}))
    try:
        yield from as_plan(plan)
    except Exception as error:
        # Signals to stop or abort carry the status that they mean.
        status = getattr(error, "exit_status", None)
        if status is None:
            yield Msg("close_run", exit_status="fail", reason=str(error))
        else:
            yield Msg("close_run", exit_status=status, reason=None)
        raise
    yield Msg("close_run", exit_status=None, reason=None)
    return uid


def stage_wrapper(plan: Any, devices: Iterable[Any]) -> Plan:
    """
    Stage devices before a plan and unstage them after it, in the opposite order.

    Args:
        plan: The plan.
        devices: Devices; of a part, the whole is staged.

    Returns:
        A plan whose value is that of the plan.
    """
    roots = separate_devices(ancestors(device)[-1] for device in devices)

    def begin() -> Plan:
        yield from stage_all(*roots)
        return (yield from as_plan(plan))

    return finalize_wrapper(begin(), lambda: unstage_all(*reversed(roots)))


def lazily_stage_wrapper(plan: Any) -> Plan:
    """
    Stage each device when the plan first uses it, and unstage all after it.

    Args:
        plan: The plan.

    Returns:
        A plan whose value is that of the plan.
    """
    staged: list[Any] = []

    def act(msg: Any) -> Plan | None:
        if msg.command not in STAGED_FOR or any(msg.obj is device for device in staged):
            return None
        return stage_first(msg)

    def stage_first(msg: Any) -> Plan:
        root = ancestors(msg.obj)[-1]
        answer = yield Msg("stage", root)
        staged.extend(answer if isinstance(answer, list) and answer else [root])
        if not any(msg.obj is device for device in staged):
            staged.append(msg.obj)
        return (yield msg)

    def end() -> Plan:
        roots = separate_devices(ancestors(device)[-1] for device in staged)
        return unstage_all(*reversed(roots))

    return finalize_wrapper(rewritten(plan, act), end)


def inject_md_wrapper(plan: Any, md: Mapping[str, Any]) -> Plan:
    """
    Add metadata to each run of a plan; it wins over what the plan itself gives.

    Args:
        plan: The plan.
        md: Metadata.

    Returns:
        A plan whose value is that of the plan.
    """

    def inject(msg: Any) -> Any:
        return msg._replace(kwargs={**msg.kwargs, **md}) if msg.command == "open_run" else msg

    return msg_mutator(plan, inject)


def set_run_key_wrapper(plan: Any, run: Hashable) -> Plan:
    """
    Give the steps of a plan a run key, so that several runs can be open at once.

    Args:
        plan: The plan; steps that have a key keep it.
        run: The key.

    Returns:
        A plan whose value is that of the plan.

    Raises:
        BadPlan: If the key is None, which means no key.
    """
    if run is None:
        raise BadPlan("a run key cannot be None: give any other value, such as a text")
    return msg_mutator(plan, lambda msg: msg._replace(run=run) if msg.run is None else msg)


def stub_wrapper(plan: Any) -> Plan:
    """
    Leave runs and staging out of a plan, so that it can be a part of another one.

    Args:
        plan: The plan.

    Returns:
        A plan whose value is the metadata that its runs would have had.
    """
    metadata: dict[str, Any] = {}

    def leave_out(msg: Any) -> Any:
        if msg.command == "open_run":
            metadata.update(msg.kwargs)
        return None if msg.command in {"open_run", "close_run", "stage", "unstage"} else msg

    yield from msg_mutator(plan, leave_out)
    return metadata


run_decorator = as_decorator(run_wrapper)
stage_decorator = as_decorator(stage_wrapper)
lazily_stage_decorator = as_decorator(lazily_stage_wrapper)
inject_md_decorator = as_decorator(inject_md_wrapper)
set_run_key_decorator = as_decorator(set_run_key_wrapper)
stub_decorator = as_decorator(stub_wrapper)
