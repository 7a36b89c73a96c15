"""What the platform's documents leave open, or an account may have set otherwise: one field for each."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Rules:
    # answers
    unknown_token_code: int = 40014  # or 40001
    text_plain: bool = False  # answers with Content-Type text/plain
    # customer-service messages
    window_closed_code: int = 45015
    unfollowed_code: int = 45015  # or 43004
    text_limit_bytes: int = 2048
    second_grant_refused: bool = False  # only the first grant of a resident counts
    menu_message_grants: Literal["click", "message"] = "click"  # a tapped choice arrives as text, but is a menu tap
    # quotas: per China day and path; clear_quota sets the counters to zero
    daily_limits: dict[str, int] = field(
        default_factory=lambda: {
            "token": 2_000,
            "stable_token": 500_000,
            "message/custom/send": 500_000,
            "message/mass/send": 100,
            "message/mass/sendall": 100,
            "message/mass/preview": 100,
            "message/template/send": 100_000,
            "menu/create": 1_000,
            "menu/get": 10_000,
            "menu/addconditional": 2_000,
            "menu/delconditional": 2_000,
            "menu/trymatch": 20_000,
            "qrcode/create": 100_000,
            "user/get": 500,
            "media/upload": 100_000,
            "media/get": 200_000,
        }
    )
    # mass sending
    account_type: Literal["service", "subscription"] = "service"
    clientmsgid_limit_bytes: int = 32  # older documents: 64
    mass_image: Literal["both", "image", "images"] = "both"
    mass_per_month: int = 4
    mass_calls_per_minute: int = 60
    mass_finish: Literal["after", "before", "lost", "never"] = "after"  # MASSSENDJOBFINISH, to the answer; "lost": the
    # job ends and nothing says so; "never": it does not end
    mass_finish_seconds: float = 60
    mass_finish_times: int = 1  # the same event so often
    mass_status: str = "send success"  # or "send fail", "err(20008)", …: then nobody gets it
    mass_lost: int = 0  # so many are neither sent nor failed: the counts do not add up
    # notices
    notice_finish_seconds: float = 1
    template_status: str = "success"  # or "failed: system failed", …
    # lists
    follower_page: int = 10_000
    tag_write_seconds: float = 0.02  # real: how long one tag call holds its residents (a second one meanwhile: 45169)
    # media
    image_limit_bytes: int = 2 * 1024 * 1024  # the documents say 10 MB and 2 MB
    # WeCom
    app_messages_per_minute: int = 30  # to one member; more are dropped without a word
    app_messages_per_hour: int = 1_000
    customer_mass_per_month: int | None = None  # None: as many as the month has days
    dispatch_seconds: float = 0  # so long after add_msg_template the task answers 41063
    trusted_host: str = ""  # of the log-in's redirect_uri; "" takes any
    # WeChat customer service
    kf_code_refused: int = 40058  # send_msg_on_event with a used, late or unknown code
    kf_page: int = 1_000
    kf_calls_without_token_per_minute: int = 10
