"""Places of people and other sites: notifications, deployments, feedback."""

# ruff: noqa: E501  # one entry, one or two lines

from __future__ import annotations

from ..messages import (
    AvailableMessagingServicesMessage,
    AvailableResourceMessage,
    DeploymentInfoMessage,
    FeedbackMessage,
    GameLeaderboardMessage,
    GameScoreMessage,
    Message,
    MessagingServiceMessage,
    NotificationConfigMessage,
    NotificationMessage,
    RawMessage,
)
from .definition import KEY_VALUE, SEND, SET_PUBLISH, STREAM
from .definition import EndpointDefinition as E

__all__ = ["PeopleEndpoints"]


class PeopleEndpoints:
    """Places of people and other sites: notifications, deployments, feedback."""

    # fmt: off
    atlas_websocket_state = E(RawMessage, SET_PUBLISH, bec4="internal/deployment/{deployment_name}/{host_id}/state",
        doc="The state of a connection to Atlas.")
    atlas_deployment_request = E(RawMessage, SET_PUBLISH, bec4="internal/deployment/{deployment_name}/request",
        doc="Requests of Atlas to a deployment.")
    atlas_deployment_ingest = E(Message, STREAM, bec4="internal/deployment/{deployment_name}/ingest",
        doc="What a deployment sends to Atlas; messages of any class.")
    atlas_deployment_data = E(Message, STREAM, bec4="internal/deployment/{deployment_name}/data/{endpoint_suffix}",
        doc="What Atlas forwards to a deployment; messages of any class.")
    atlas_deployment_info = E(DeploymentInfoMessage, STREAM, bec4="internal/deployment/{deployment_name}/deployment_info",
        doc="What Atlas knows of a deployment.")
    deployment_info = E(DeploymentInfoMessage, STREAM, bec4="info/deployment/deployment_info",
        doc="This deployment, its session and its services.")
    message_service_queue = E(MessagingServiceMessage, STREAM, bec4="internal/message_service/queue",
        doc="What is to be sent to people through Signal, Teams or SciLog.")
    available_messaging_services = E(AvailableMessagingServicesMessage, STREAM, bec4="info/messaging_services/available_messaging_services",
        doc="The ways to people outside.")
    notification = E(NotificationMessage, SEND, bec4="internal/messaging_services/notification/{event_type}",
        doc="Events of which people outside may want to know.")
    notification_config = E(NotificationConfigMessage, SET_PUBLISH, bec4="user/messaging_services/notification_config",
        doc="Which event goes to which service.")
    message_service_ingest = E(MessagingServiceMessage, STREAM, bec4="internal/deployment/{deployment_name}/message_service/ingest",
        doc="What a deployment wants to be sent to people.")
    available_logbooks = E(AvailableResourceMessage, KEY_VALUE, bec4="internal/realm/{realm_name}/info/available_logbooks",
        doc="The logbooks of a realm.")
    user_feedback = E(FeedbackMessage, SEND, bec4="public/user_feedback",
        doc="What people think.")
    game_score = E(GameScoreMessage, SEND, bec4="public/game_score",
        doc="The points of a player.")
    game_leaderboard = E(GameLeaderboardMessage, SET_PUBLISH, bec4="public/game_leaderboard/{game_name}",
        doc="The best players of a game.")
    # fmt: on
