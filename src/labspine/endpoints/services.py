"""Places of services: heartbeats, logs, alarms, variables, accounts, the beamline."""

# ruff: noqa: E501  # one entry, one or two lines

from __future__ import annotations

from ..messages import (
    ACLAccountsMessage,
    AlarmMessage,
    AvailableBeamlineStatesMessage,
    AvailableResourceMessage,
    BeamlineStateMessage,
    BoolConfigDefaultFalse,
    ClientInfoMessage,
    ClientRestartMessage,
    CredentialsMessage,
    DynamicMetricMessage,
    LoginInfoMessage,
    LogMessage,
    Message,
    ObserverMessage,
    ProgressMessage,
    ScanInterlockModifyStateTableMessage,
    ScanInterlockStateTableContent,
    ScanInterlockTriggerSettingMessage,
    ServiceMetricMessage,
    ServiceRequestMessage,
    ServiceResponseMessage,
    StatusMessage,
    VariableMessage,
)
from .definition import CALL, KEY_VALUE, LIST, QUEUE, SEND, SET_PUBLISH, STREAM
from .definition import EndpointDefinition as E

__all__ = ["ServiceEndpoints"]


class ServiceEndpoints:
    """Places of services: heartbeats, logs, alarms, variables, accounts, the beamline."""

    # fmt: off
    log = E(LogMessage, STREAM, bec4="user/log",
        doc="The log of all services.")
    client_info = E(ClientInfoMessage, STREAM, bec4="user/client_info",
        doc="Notes to the people at the clients.")
    client_restart = E(ClientRestartMessage, SEND, bec4="info/client_restart",
        doc="A request to the clients to start again.")
    alarm = E(AlarmMessage, SET_PUBLISH, bec4="user/alarms", family="services",
        doc="What people must know at once.")
    service_status = E(StatusMessage, SET_PUBLISH, bec4="user/services/status/{service_id}",
        doc="The heartbeat of a service; only the last value counts.")
    metrics = E(ServiceMetricMessage, SET_PUBLISH, bec4="user/services/metrics/{service_id}",
        doc="Load figures of a service; only the last value counts.")
    service_response = E(ServiceResponseMessage, LIST, bec4="user/services/response/{RID}",
        doc="The answers of the services to a request.")
    service_request = E(ServiceRequestMessage, SEND, bec4="user/services/request",
        doc="A request to all services.")
    global_vars = E(VariableMessage, KEY_VALUE, seed="public/vars/{var_name}", bec4="user/vars/{var_name}",
        doc="A variable that everybody may read.")
    observer = E(ObserverMessage, KEY_VALUE, bec4="user/observer",
        doc="What is watched, and what is done when it changes.")
    progress = E(ProgressMessage, SET_PUBLISH, seed="public/progress/{var_name}", bec4="user/progress/{var_name}",
        doc="How far anything else is.")
    account = E(VariableMessage, STREAM, bec4="info/account",
        doc="The account that pays for the data.")
    modify_interlock_table = E(ScanInterlockModifyStateTableMessage, STREAM, bec4="user/actor/builtin/scan_interlock/table_mod",
        doc="Changes of the states that the interlock watches.")
    scan_interlock_states = E(ScanInterlockStateTableContent, KEY_VALUE, bec4="info/actor/builtin/scan_interlock/current_states_watched",
        doc="The states that the interlock watches.")
    scan_interlock_enabled = E(BoolConfigDefaultFalse, STREAM, bec4="user/actor/builtin/scan_interlock/config/enabled",
        doc="Whether the interlock is on.")
    scan_interlock_trigger_setting = E(ScanInterlockTriggerSettingMessage, STREAM, bec4="user/actor/builtin/scan_interlock/config/trigger_setting",
        doc="What the interlock does to a running scan.")
    acl_session = E(CredentialsMessage, SEND, bec4="user/acl/{session_id}",
        doc="Credentials for one session; never recorded.")
    login_info = E(LoginInfoMessage, KEY_VALUE, bec4="public/acl/login_info",
        doc="What a client must know to log in.")
    acl_accounts = E(ACLAccountsMessage, KEY_VALUE, bec4="admin/acl/accounts",
        doc="The rights of each account on the server.")
    endpoint_info = E(AvailableResourceMessage, KEY_VALUE, bec4="public/endpoints",
        doc="The endpoints that exist.")
    beamline_state = E(BeamlineStateMessage, STREAM, bec4="user/beamline_state/{state_name}",
        doc="One state of the beamline.")
    available_beamline_states = E(AvailableBeamlineStatesMessage, STREAM, bec4="user/available_beamline_states",
        doc="The states of the beamline that are known.")
    dynamic_metric = E(DynamicMetricMessage, SET_PUBLISH, bec4="user/dynamic_metrics/{group_name}",
        doc="Figures of a service under names of its own choice.")
    calls = E(Message, CALL, seed="labspine/calls/{{{service}}}", bec4="labspine/calls/{{{service}}}",
        doc="The procedures of a service; arguments and results may be any message.")
    work_queue = E(Message, QUEUE, seed="labspine/queue/{{{queue}}}", bec4="labspine/queue/{{{queue}}}",
        doc="Work that must not be lost; what a program puts there, a worker does.")
    # fmt: on
