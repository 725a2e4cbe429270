"""Places of programs: procedures, actors, scripts, data processing, graphical programs."""

# ruff: noqa: E501  # one entry, one or two lines

from __future__ import annotations

from ..messages import (
    ActorStartRequestMessage,
    ActorStopMessage,
    ActorStopRequestMessage,
    AvailableResourceMessage,
    BuiltinActorStateUpdatedNotification,
    DAPConfigMessage,
    DAPRequestMessage,
    DAPResponseMessage,
    GUIAutoUpdateConfigMessage,
    GUIConfigMessage,
    GUIDataMessage,
    GUIInstructionMessage,
    GUIRegistryStateMessage,
    MacroUpdateMessage,
    ProcedureAbortMessage,
    ProcedureClearUnhandledMessage,
    ProcedureExecutionMessage,
    ProcedureQNotifMessage,
    ProcedureRequestMessage,
    ProcedureStatusUpdate,
    ProcedureWorkerStatusMessage,
    ProcessedDataMessage,
    RawMessage,
    RequestResponseMessage,
    ScriptExecutionInfoMessage,
    StatusMessage,
    VariableMessage,
)
from .definition import KEY_VALUE, LIST, SEND, SET, SET_PUBLISH, STREAM
from .definition import EndpointDefinition as E

__all__ = ["ProgramEndpoints"]


class ProgramEndpoints:
    """Places of programs: procedures, actors, scripts, data processing, graphical programs."""

    # fmt: off
    pre_scan_macros = E(VariableMessage, LIST, bec4="admin/pre_scan_macros",
        doc="Macros that run before each scan.")
    processed_data = E(ProcessedDataMessage, STREAM, bec4="user/processed_data/{process_id}",
        doc="What was computed from data.")
    dap_config = E(DAPConfigMessage, SET_PUBLISH, bec4="user/dap/config",
        doc="The settings of data processing.")
    dap_available_plugins = E(AvailableResourceMessage, KEY_VALUE, bec4="user/dap/available_plugins/{plugin_id}",
        doc="What data processing can do.")
    dap_request = E(DAPRequestMessage, SET_PUBLISH, bec4="user/dap/request",
        doc="A request to process data.")
    dap_response = E(DAPResponseMessage, SET_PUBLISH, bec4="user/dap/response/{RID}",
        doc="What data processing returned.")
    gui_config = E(GUIConfigMessage, SET_PUBLISH, bec4="user/gui/config/{gui_id}",
        doc="The settings of a graphical program.")
    gui_data = E(GUIDataMessage, SET_PUBLISH, bec4="user/gui/data/{gui_id}",
        doc="Data for a graphical program.")
    gui_instructions = E(GUIInstructionMessage, SET_PUBLISH, bec4="user/gui/instruction/{gui_id}",
        doc="What a graphical program is to do.")
    gui_instruction_response = E(RequestResponseMessage, SET_PUBLISH, bec4="user/gui/instruction_response/{RID}",
        doc="Whether a graphical program has done it.")
    gui_auto_update_config = E(GUIAutoUpdateConfigMessage, SET_PUBLISH, bec4="user/gui/config/auto_update/{gui_id}",
        doc="The device that a graphical program plots by itself.")
    gui_heartbeat = E(StatusMessage, KEY_VALUE, bec4="user/gui/heartbeat/{gui_id}",
        doc="The heartbeat of a graphical program.")
    available_procedures = E(AvailableResourceMessage, KEY_VALUE, bec4="info/procedures/available_procedures",
        doc="The procedures that can be requested.")
    procedure_request = E(ProcedureRequestMessage, SEND, bec4="personal/{username}/procedures/procedure_request", defaults={"username": "default"},
        doc="A request to run a procedure.")
    procedure_request_response = E(RequestResponseMessage, SEND, bec4="info/procedures/procedure_request_response",
        doc="Whether a procedure was accepted.")
    procedure_workers = E(AvailableResourceMessage, KEY_VALUE, bec4="info/procedures/workers",
        doc="The workers that run procedures.")
    procedure_queues = E(AvailableResourceMessage, KEY_VALUE, bec4="info/procedures/queues",
        doc="The queues of procedures.")
    procedure_execution = E(ProcedureExecutionMessage, LIST, bec4="info/procedures/procedure_execution/{queue_id}",
        doc="The procedures that wait in a queue.")
    unhandled_procedure_execution = E(ProcedureExecutionMessage, LIST, bec4="info/procedures/unhandled_procedure_execution/{queue_id}",
        doc="The procedures of a queue that nobody ran.")
    active_procedure_executions = E(ProcedureExecutionMessage, SET, bec4="info/procedures/active_procedures",
        doc="The procedures that are running.")
    procedure_abort = E(ProcedureAbortMessage, SEND, bec4="user/procedures/abort",
        doc="A request to stop procedures.")
    procedure_clear_unhandled = E(ProcedureClearUnhandledMessage, SEND, bec4="user/procedures/clear_unhandled",
        doc="A request to forget procedures that nobody ran.")
    procedure_worker_status_update = E(ProcedureWorkerStatusMessage, LIST, bec4="info/procedures/worker_status/{queue_id}",
        doc="What the worker of a queue does.")
    procedure_status_update = E(ProcedureStatusUpdate, SEND, bec4="info/procedures/procedure_status_update",
        doc="News that a procedure has begun or ended.")
    procedure_queue_notif = E(ProcedureQNotifMessage, SEND, bec4="info/procedures/queue_notif",
        doc="News that a queue of procedures has changed.")
    procedure_logs = E(RawMessage, STREAM, bec4="user/procedures/logs/{queue}",
        doc="What the procedures of a queue printed.")
    actor_start_request = E(ActorStartRequestMessage, SEND, bec4="user/actors/request",
        doc="A request to start an actor.")
    actor_stop_request = E(ActorStopRequestMessage, SEND, bec4="user/actors/stop",
        doc="A request to stop an actor.")
    actor_stop = E(ActorStopMessage, SEND, bec4="internal/actors/stop/{exec_id}",
        doc="The order to one actor to stop.")
    actor_request_response = E(RequestResponseMessage, SEND, bec4="info/actor/request_response",
        doc="Whether a request about an actor was accepted.")
    builtin_actor_update_notif = E(BuiltinActorStateUpdatedNotification, SEND, bec4="info/actor/builtin/{actor_name}/state_change_done",
        doc="News that an actor follows its new settings.")
    gui_registry_state = E(GUIRegistryStateMessage, STREAM, bec4="user/gui/registry_state/{gui_id}",
        doc="The widgets of a graphical program.")
    script_execution_info = E(ScriptExecutionInfoMessage, SEND, bec4="user/scripts/execution_info/{script_id}",
        doc="How far a script is.")
    script_content = E(VariableMessage, KEY_VALUE, bec4="user/scripts/content/{script_id}",
        doc="The text of a script.")
    macro_update = E(MacroUpdateMessage, SEND, bec4="user/macros/update",
        doc="News about macros.")
    # fmt: on
