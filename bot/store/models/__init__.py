"""The station's tables and the states their rows go through, one file for each kind of row.

Every table carries `station_id`, first in its keys and indexes. Each index says which page needs it.
"""

from bot.store.models.audit import AuditEvent, AuditHead
from bot.store.models.base import Base, Row
from bot.store.models.broadcasts import BROADCAST_ARROWS, Broadcast, BroadcastState, Repeat
from bot.store.models.channels import ChannelSign, ParkedChannel, PlatformToken, PulledStream, SceneCode
from bot.store.models.contacts import ContactState, ContactWay, WeComContact, WelcomeState
from bot.store.models.conversations import (
    Author,
    Conversation,
    Direction,
    Media,
    MessageState,
    SearchWord,
    StoredMessage,
)
from bot.store.models.deliveries import (
    DELIVERY_ARROWS,
    MASS_JOB_ARROWS,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    MassJob,
    MassJobState,
)
from bot.store.models.entry_versions import VERSION_ARROWS, EntryVersion, SettledSentence, VersionState
from bot.store.models.officer_notices import NOTICE_ARROWS, NoticeState, OfficerNotice, TicketNotice
from bot.store.models.residents import LinkCode, LinkTry, NoticeConsent, Resident, ResidentAddress
from bot.store.models.sessions import ConsoleSession, LoginFailure, UsedLogin
from bot.store.models.stations import Community, CommunityOfficer, Officer, Role, Station
from bot.store.models.tickets import (
    PRIORITY_ORDER,
    REFERRAL_ARROWS,
    TICKET_ARROWS,
    CannedReply,
    Note,
    Outcome,
    Priority,
    Referral,
    ReferralState,
    Ticket,
    TicketState,
)
from bot.store.models.wecom_tasks import TASK_ARROWS, TaskState, WeComTask

__all__ = [
    "BROADCAST_ARROWS",
    "DELIVERY_ARROWS",
    "MASS_JOB_ARROWS",
    "NOTICE_ARROWS",
    "PRIORITY_ORDER",
    "REFERRAL_ARROWS",
    "TASK_ARROWS",
    "TICKET_ARROWS",
    "VERSION_ARROWS",
    "AuditEvent",
    "AuditHead",
    "Author",
    "Base",
    "Broadcast",
    "BroadcastState",
    "CannedReply",
    "ChannelSign",
    "Community",
    "CommunityOfficer",
    "ConsoleSession",
    "ContactState",
    "ContactWay",
    "Conversation",
    "Delivery",
    "DeliveryRoute",
    "DeliveryState",
    "Direction",
    "EntryVersion",
    "LinkCode",
    "LinkTry",
    "LoginFailure",
    "MassJob",
    "MassJobState",
    "Media",
    "MessageState",
    "Note",
    "NoticeConsent",
    "NoticeState",
    "Officer",
    "OfficerNotice",
    "Outcome",
    "ParkedChannel",
    "PlatformToken",
    "Priority",
    "PulledStream",
    "Referral",
    "ReferralState",
    "Repeat",
    "Resident",
    "ResidentAddress",
    "Role",
    "Row",
    "SceneCode",
    "SearchWord",
    "SettledSentence",
    "Station",
    "StoredMessage",
    "TaskState",
    "Ticket",
    "TicketNotice",
    "TicketState",
    "UsedLogin",
    "VersionState",
    "WeComContact",
    "WeComTask",
    "WelcomeState",
]
