"""
One example of every message class, with every field given.

Each entry is called with a module of message classes, ours or bec_lib's, and returns the fields: both must
accept the same arguments.
"""

from typing import Any

import numpy as np

T = 1700000000.25
ERROR = {
    "id": "e1",
    "error_message": "too hot",
    "compact_error_message": "hot",
    "exception_type": "Overheat",
    "device": "samx",
}
READING = {"samx": {"value": 1.5, "timestamp": T}, "n": {"value": np.int64(3), "timestamp": T}}
REQUEST = {"scan_type": "line_scan", "parameter": {"args": {"samx": [-1, 1]}, "kwargs": {"steps": 3}}, "queue": "primary",
           "allow_restart": True, "metadata": {"RID": "r1"}}  # fmt: skip
BLOCK = {"msg": REQUEST, "RID": "r1", "readout_priority": {"monitored": ["bpm"], "on_request": []}, "is_scan": True,
         "scan_number": 3, "scan_id": "s1", "report_instructions": [{"wait": 1}], "owned_device_locks": ["samx"],
         "pending_device_locks": []}  # fmt: skip
ENTRY = {"queue_id": "q1", "scan_id": ["s1", None], "is_scan": [True, False], "request_blocks": [BLOCK], "scan_number": [3, None],
         "status": "RUNNING", "active_request_block": BLOCK, "reason": None}  # fmt: skip
UPDATE = {"type": "add_slice", "max_shape": [None, 1024], "index": 5}
SIGNAL = {"data_type": "raw", "saved": True, "ndim": 2, "scope": "scan", "role": "preview", "enabled": True, "rpc_access": False,
          "signals": [("image", 5)], "signal_metadata": {"unit": "counts"}, "correlation_group": "monitored", "use_alias": False,
          "transports": [
              {"transport": "redis", "endpoint": "info/devices/preview/eye/image", "message_type": "DevicePreviewMessage",
               "message_op": ["xadd", "xrange", "xread", "register_stream", "keys", "get_last", "delete"]},
              {"transport": "zmq", "address": "tcp://host:5000", "socket_type": "sub", "connection_mode": "connect",
               "topic": None, "encoder": "json"},
          ]}  # fmt: skip
SCOPE = {"enabled": True, "default": ["a", "b"]}
CONFIG = {"signal": SCOPE, "teams": {"enabled": False, "default": None}, "scilog": SCOPE}
SERVICES = [
    {
        "service_type": "signal",
        "id": "1",
        "scope": "user",
        "enabled": True,
        "name": None,
        "group_id": "g",
        "group_link": None,
    },
    {"service_type": "scilog", "id": "2", "scope": "user", "enabled": True, "name": "log", "logbook_id": "l"},
    {
        "service_type": "teams",
        "id": "3",
        "scope": "user",
        "enabled": False,
        "name": None,
        "workflow_webhook_url": "https://t",
    },
]
EXPERIMENT = {**{name: name for name in ("realm_id", "proposal", "title", "firstname", "lastname", "email", "account",
              "pi_firstname", "pi_lastname", "pi_email", "pi_account", "eaccount", "pgroup", "abstract")},
              "schedule": [{"start": "1.1."}], "proposal_submitted": "1.1.", "proposal_expire": "2.2.",
              "proposal_status": "ok", "delta_last_schedule": 3, "mainproposal": None}  # fmt: skip
SESSION = {"name": "s", "experiment": EXPERIMENT, "messaging_services": SERVICES}
DEPLOYMENT = {"deployment_id": "d", "name": "dep", "active_session": SESSION, "messaging_config": CONFIG,
              "messaging_services": SERVICES}  # fmt: skip
CONTENTS = [{"content": "text"}, {"filename": "a.png", "mime_type": "image/png", "data": b"\x89PNG", "width": 10, "height": "5em"},
            {"tags": ["a"]}, {"sticker_id": "s"}, {"giphy_url": "https://g"}]  # fmt: skip
VERSIONS = {
    "bec_lib": "4",
    "bec_server": "4",
    "bec_ipython_client": "4",
    "bec_widgets": "3",
    "ophyd_devices": "1",
}
SCORE = {
    "game_name": "g",
    "player_name": "p",
    "score": 3,
    "level": "two",
    "beamline_id": None,
    "experiment_id": "x",
    "timestamp": T,
}
ROI = {"x": 1, "y": 2, "width": 3, "height": 4}


def fields_of(name: str, m: Any) -> dict[str, Any]:
    """Return all fields of the example of a class; ``m`` is the module whose classes stand inside."""
    make = EXAMPLES[name]
    fields: dict[str, Any] = make(m) if callable(make) else make
    return {"metadata": {"RID": "r1", "n": 1}, **fields}


# fmt: off
EXAMPLES: dict[str, Any] = {
    "ACLAccountsMessage": {"accounts": {"bec": {"categories": ["+@all"], "keys": ["%R~info/*"], "profile": "user"}}},
    "ActorExecutionMessage": {"queue": "q", "execution_id": "x", "env": None},
    "ActorStartRequestMessage": {"actor_module": "m", "actor_class_name": "C"},
    "ActorStopMessage": {"execution_id": "x"},
    "ActorStopRequestMessage": {"actor_id": "a"},
    "AlarmMessage": {"severity": 2, "info": ERROR},
    "AvailableBeamlineStatesMessage": {"states": [{"name": "s", "state_type": "shutter", "parameters": {"device": "sh"}}]},
    "AvailableMessagingServicesMessage": {"config": CONFIG, "deployment_services": SERVICES, "session_services": []},
    "AvailableResourceMessage": {"resource": [{"name": "samx", "tags": {"a", "b"}}]},
    "BeamlineStateMessage": {"name": "s", "status": "warning", "label": "low", "timestamp": T},
    "BoolConfigDefaultFalse": {"value": True},
    "BuiltinActorStateChangeNotification": {"actor_name": "a"},
    "BuiltinActorStateUpdatedNotification": {"actor_name": "a"},
    "BundleMessage": lambda m: {"messages": [m.VariableMessage(value=1), m.ProgressMessage(value=1.0, max_value=2.0, done=False)]},
    "ClientInfoMessage": {"message": "hello", "show_asap": False, "RID": "r", "source": "scan_server", "scope": "scan", "severity": 1,
                          "expire": 5.0},
    "ClientRestartMessage": {"reason": "new version"},
    "CredentialsMessage": {"credentials": {"user": "u"}},
    "DAPConfigMessage": {"config": {"a": 1}},
    "DAPRequestMessage": {"dap_cls": "LmfitService1D", "dap_type": "on_demand", "config": {"x": np.arange(3.0)}},
    "DAPResponseMessage": lambda m: {
        "success": True, "data": ({"fit": [1.0]}, {"r": 1}), "error": None,
        "dap_request": m.DAPRequestMessage(dap_cls="c", dap_type="continuous", config={}),
    },
    "DeploymentInfoMessage": DEPLOYMENT,
    "DeviceAsyncSignalIndexMessage": {"scan_id": "s", "device": "d", "signal": "w", "shapes": {"w": [5]}, "indices": {"w": 0},
                                      "async_update": UPDATE},
    "DeviceConfigMessage": {"action": "update", "config": {"samx": {"enabled": True}}},
    "DeviceInfoMessage": {"device": "samx", "info": {"units": "mm", "limits": [-5, 5]}},
    "DeviceInitializationProgressMessage": {"device": "samx", "finished": True, "success": True, "index": 1, "total": 9},
    "DeviceInstructionMessage": {"device": ["samx", "samy"], "action": "stage", "parameter": {"func": "f"}},
    "DeviceInstructionResponse": {
        "device": "samx", "status": "error", "error_info": ERROR, "instruction_id": "i", "result_is_status": True, "result": {"a": [1]},
        "instruction": {"device": "samx", "action": "set", "parameter": {"value": 1.5}, "metadata": {"device_instr_id": "i"}},
    },
    "DeviceMessage": {"signals": READING, "metadata": {"async_update": {"type": "add", "max_shape": [None]}}},
    "DeviceMonitor1DMessage": {"device": "w", "data": np.arange(5, dtype=np.uint16), "timestamp": T},
    "DeviceMonitor2DMessage": {"device": "eye", "data": np.arange(12.0).reshape(2, 2, 3), "timestamp": T},
    "DevicePreviewMessage": {"device": "eye", "signal": "image", "data": np.asfortranarray(np.eye(3, 4)), "timestamp": T},
    "DeviceRPCMessage": {"device": "samx", "return_val": np.float32(2.5), "out": ERROR, "success": False},
    "DeviceReqStatusMessage": {"device": "samx", "success": True, "request_id": "r"},
    "DeviceStatusMessage": {"device": "samx", "status": 1},
    "DeviceUserROIMessage": {"device": "eye", "signal": "image", "roi_type": "rectangle", "roi": ROI, "timestamp": T},
    "DynamicMetricMessage": {
        "metrics": {"-a": {"type_name": "str", "value": "x", "possible_values": ["x", "y"]}, "-b": {"type_name": "int", "value": 1},
                    "-c": {"type_name": "float", "value": 1.5}, "-d": {"type_name": "bool", "value": True}},
        "timestamp": T,
    },
    "EndpointInfoMessage": {"endpoint": "info/x"},
    "ExperimentInfoMessage": EXPERIMENT,
    "FeedbackMessage": {"feedback": "good", "rating": 5, "feedback_type": "bug_report", "contact": None, "realm_id": "r",
                        "deployment_id": "d", "experiment_id": "x", "username": "u", "versions": VERSIONS, "timestamp": T},
    "FileContentMessage": {"file_path": "/f.h5", "data": {"a": {"b": 1}}, "scan_info": {"scan_number": 3}},
    "FileMessage": {"file_path": "/f.h5", "done": True, "successful": True, "is_master_file": True, "device_name": ["eiger"],
                    "file_type": "h5", "hinted_h5_entries": {"data": "/entry/data"}},
    "GUIAutoUpdateConfigMessage": {"selected_device": "samx"},
    "GUIConfigMessage": {"config": {"a": 1}},
    "GUIDataMessage": {"data": {"x": [1, 2]}},
    "GUIInstructionMessage": {"action": "close", "parameter": {"gui_id": "g"}},
    "GUIRegistryStateMessage": {"state": {"w": {"gui_id": "g", "__rpc__": True, "config": {"a": 1}, "container_proxy": None}}},
    "GameLeaderboardMessage": {"game_name": "g", "leaderboard": [SCORE, {**SCORE, "score": 2.5, "level": 2}]},
    "GameScoreMessage": SCORE,
    "LogMessage": {"log_type": "console_log", "log_msg": {"text": "hello", "record": {"level": 20}}},
    "LoginInfoMessage": {"host": "h", "deployment": "d", "available_accounts": ["a"], "atlas_login": False},
    "MacroUpdateMessage": {"update_type": "add", "macro_name": "m", "file_path": "/m.py"},
    "MessagingServiceMessage": {"service_name": "signal", "message": CONTENTS, "scope": ["user"]},
    "NotificationConfigMessage": {"routes": {"new_scan": [{"service_name": "teams", "scope": "user"}], "own_event": []}},
    "NotificationMessage": {"event": "new_scan", "message": CONTENTS},
    "ObserverMessage": {"observer": [{"device": "samx", "on": "below"}]},
    "ProcedureAbortMessage": {"queue": None, "execution_id": "x", "abort_all": None},
    "ProcedureClearUnhandledMessage": {"queue": None, "execution_id": None, "abort_all": True},
    "ProcedureExecutionMessage": {"identifier": "i", "queue": "q", "args_kwargs": ((1, "a"), {"b": 2}), "execution_id": "x",
                                  "env": {"A": "1"}},
    "ProcedureQNotifMessage": {"queue_name": "q", "queue_type": "unhandled"},
    "ProcedureRequestMessage": {"identifier": "i", "args_kwargs": ((1,), {}), "queue": "q", "execution_id": "x"},
    "ProcedureStatusUpdate": {"execution_id": "x", "action": "Finished", "error": None},
    "ProcedureWorkerStatusMessage": lambda m: {
        "worker_queue": "q", "status": m.ProcedureWorkerStatus.RUNNING, "current_execution_id": "x",
        "completed_execution_id": None, "error": None,
    },
    "ProcessedDataMessage": {"data": [{"x": np.arange(3)}]},
    "ProgressMessage": {"value": 1.5, "max_value": 3.0, "done": False},
    "ROIAvailableAnalysisMessage": {"device": "eye", "signal": "image",
                                    "config": {"available_operations": ["sum"], "waveform_results": [], "scalar_results": ["sum"]}},
    "ROIConfigurationMessage": {"device": "eye", "signal": "image", "name": "roi1", "active": True, "roi_config": ROI,
                                "selected_operations": ["sum"], "block_while_scanning": False},
    "RawMessage": {"data": {"a": [1, None, 2.5]}},
    "RealmInfoMessage": {"realm_id": "r", "deployments": [DEPLOYMENT], "name": "n", "xname": "X01", "managers": ["m"]},
    "RequestResponseMessage": {"accepted": False, "message": {"error": "no device"}},
    "ScanBaselineMessage": {"scan_id": "s", "data": {"samx": READING}},
    "ScanDeviceInfoMessage": {"scan_id": "s", "devices": {"eye": {"signal_info": {"image": SIGNAL}, "disabled_signals": ["x.y"]}}},
    "ScanHistoryMessage": {
        "scan_id": "s", "scan_number": 3, "dataset_number": 2, "file_path": "/f.h5", "exit_status": "aborted", "reason": "user",
        "start_time": T, "end_time": T + 1, "scan_name": "line_scan", "num_points": 3, "num_monitored_readouts": 3,
        "request_inputs": {"kwargs": {}}, "stored_data_info": {"samx": {"samx": {"shape": (3, 2), "dtype": "float64"}}},
    },
    "ScanInterlockModifyStateTableMessage": {"action": "add", "state_name": "s", "status": ["valid", "warning"]},
    "ScanInterlockStateTableContent": {"states_watched": {"s": ["valid"]}},
    "ScanInterlockTriggerSettingMessage": lambda m: {"value": m.ScanInterlockTriggerSetting.PAUSE_SCAN},
    "ScanMessage": {"point_id": 1, "scan_id": "s", "data": {"samx": READING, "eye": {"eye": {"value": np.ones((2, 3)), "timestamp": T}}}},
    "ScanQueueHistoryMessage": {"status": "COMPLETED", "queue_id": "q", "info": ENTRY, "queue": "primary"},
    "ScanQueueMessage": REQUEST,
    "ScanQueueModificationMessage": {"scan_id": ["s", "t"], "request_id": "r", "action": "abort", "parameter": {"a": {1, 2}},
                                     "queue": "primary"},
    "ScanQueueOrderMessage": {"scan_id": "s", "action": "move_to", "queue": "primary", "target_position": 2},
    "ScanQueueStatusMessage": {"queue": {"primary": {"info": [ENTRY], "status": "LOCKED", "locks": [
        {"reason": "service", "identifier": "i", "allow_device_instructions": False}]}}},
    "ScanRestartMessage": {"original_scan_id": "s", "scan_msg": REQUEST},
    "ScanStatusMessage": {
        "scan_id": "s", "status": "open", "reason": None, "scan_number": 3, "session_id": "x", "num_points": 3, "num_monitored_readouts": 3,
        "scan_name": "line_scan", "scan_type": "software_triggered", "dataset_number": 2, "scan_report_devices": ["samx"],
        "user_metadata": {"sample": "a"}, "readout_priority": {"monitored": ["bpm"], "async": []}, "scan_parameters": {"exp_time": 0.1},
        "request_inputs": {"arg_bundle": ["samx", -1, 1], "kwargs": {}}, "info": {"positions": [[0.0], [1.0]]}, "timestamp": T,
    },
    "ScriptExecutionInfoMessage": {"script_id": "s", "status": "running", "current_lines": [1, 2], "traceback": None},
    "ServiceMetricMessage": {"name": "s", "metrics": {"cpu": 1.5}},
    "ServiceRequestMessage": {"action": "restart"},
    "ServiceResponseMessage": {"response": {"ok": True}},
    "SessionInfoMessage": SESSION,
    "StatusMessage": lambda m: {"name": "s", "status": m.BECStatus.ERROR, "info": {"user": "u", "complex": 1 + 2j, "flag": np.bool_(True)}},
    "StorageCopyRequestMessage": {"source_file": "/f", "scope": "s", "subdir": None},
    "VariableMessage": {"value": {"a": [1, 2.5, "t", b"b", None, True], "set": {1}, "u": np.uint32(7), "rec": np.zeros(2, "f4,i2")}},
}
# fmt: on
