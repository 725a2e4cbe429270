"""Messages about who may work where: accounts, realms, experiments, sessions, deployments."""

from typing import Any, ClassVar, Literal

import msgspec

from .base import Message
from .messaging import AnyService, MessagingConfig

__all__ = [
    "ACLAccountsMessage",
    "CredentialsMessage",
    "DeploymentInfoMessage",
    "ExperimentInfoMessage",
    "LoginInfoMessage",
    "RealmInfoMessage",
    "SessionInfoMessage",
]


class CredentialsMessage(Message, kw_only=True):
    """Credentials for one session; never recorded."""

    msg_type: ClassVar[str] = "credentials_message"

    credentials: dict[str, Any]


class LoginInfoMessage(Message, kw_only=True):
    """What a client must know to log in."""

    msg_type: ClassVar[str] = "login_info_message"

    host: str
    deployment: str
    available_accounts: list[str]
    atlas_login: bool


class ACLAccountsMessage(Message, kw_only=True):
    """The rights of each account on the server."""

    msg_type: ClassVar[str] = "acl_accounts_message"

    accounts: dict[
        str, dict[Literal["categories", "keys", "channels", "commands", "profile"], list[str] | str]
    ]


class ExperimentInfoMessage(Message, kw_only=True):
    """An experiment and its people."""

    msg_type: ClassVar[str] = "experiment_info_message"

    realm_id: str
    proposal: str
    title: str
    firstname: str
    lastname: str
    email: str
    account: str
    pi_firstname: str
    pi_lastname: str
    pi_email: str
    pi_account: str
    eaccount: str
    pgroup: str
    abstract: str
    schedule: list[dict[str, Any]] | None = None
    proposal_submitted: str | None = None
    proposal_expire: str | None = None
    proposal_status: str | None = None
    delta_last_schedule: int | None = None
    mainproposal: str | None = None


class SessionInfoMessage(Message, kw_only=True):
    """A session: the experiment that is at work, and its services."""

    msg_type: ClassVar[str] = "session_info_message"

    name: str
    experiment: ExperimentInfoMessage | None = None
    messaging_services: list[AnyService] = msgspec.field(default_factory=list)


class DeploymentInfoMessage(Message, kw_only=True):
    """One installation, its session and its services."""

    msg_type: ClassVar[str] = "deployment_info_message"

    deployment_id: str
    name: str
    active_session: SessionInfoMessage | None = None
    messaging_config: MessagingConfig
    messaging_services: list[AnyService] = msgspec.field(default_factory=list)


class RealmInfoMessage(Message, kw_only=True):
    """A beamline and its installations."""

    msg_type: ClassVar[str] = "realm_info_message"

    realm_id: str
    deployments: list[DeploymentInfoMessage]
    name: str
    xname: str
    managers: list[str]
