"""What WeCom's error codes mean, 微信客服 included, and the sentences officers and administrators read."""

from collections.abc import Mapping

from bot.channels.base import Failure, Recipient
from bot.channels.platform_errors import Again, ErrorRow, ErrorTable

ALL_INVALID = 81013  # message/send: not one of the recipients can be reached
NO_RECIPIENT = 82001
WELCOME_OVER = frozenset({41050, 41051, 41096})  # too late, they chat already, another app was first
CODE_WRONG, CODE_USED = 40029, 42022  # the code of a log-in
DISPATCHING = 41063  # a customer mass message is being handed out
NO_CUSTOMERS = 41048
NO_FRIEND = 84061
STRANGERS = frozenset({NO_FRIEND, 40096})  # nobody's friend; a number of no resident
MEDIA_CODES = frozenset({"40007", "40145"})  # a picture WeCom keeps no longer
KF_DUPLICATE = 95033  # the same msgid again: the first one was taken

_BUSY = ErrorRow(Failure.RETRY, "企业微信繁忙，稍后自动重试。")
_TOKEN = ErrorRow(
    Failure.CHANNEL_DOWN, "企业微信不认可接口凭证，刷新后仍被拒绝。请管理员检查应用的 Secret。", alarm=True
)
_CREDENTIALS = ErrorRow(
    Failure.CHANNEL_DOWN, "企业微信的企业 ID 或应用 Secret 不正确，发送已停止。请管理员更正设置。", alarm=True
)
_OURS = ErrorRow(Failure.REFUSED, "请求格式被企业微信拒绝，这是程序的错误。请把代码告诉管理员。", alarm=True)
_NO_RIGHT = ErrorRow(Failure.CHANNEL_DOWN, "应用没有使用这个接口的权限。请管理员在企业微信后台为应用授权。", alarm=True)
_STRANGER = ErrorRow(Failure.REFUSED, "企业微信里没有这位居民的联系人，无法送达。请改用电话或上门联系。")
_NO_FRIEND = ErrorRow(Failure.REFUSED, "这位居民不是民警的企业微信好友（可能已删除），无法送达。请改用电话联系。")
_NO_MEMBER = ErrorRow(Failure.REFUSED, "企业微信通讯录里没有这个成员账号。请管理员核对民警的企业微信账号。", alarm=True)
_NOT_VISIBLE = ErrorRow(
    Failure.REFUSED, "这个成员不在应用的可见范围内。请管理员在企业微信后台把他加入可见范围。", alarm=True
)
_FULL = ErrorRow(
    Failure.REFUSED, "这位民警的企业微信客户数已到上限，不能再添加。请管理员扩容或换一位民警。", alarm=True
)
_LICENCE = ErrorRow(Failure.REFUSED, "企业微信接口许可不足或已过期。请管理员在企业微信后台处理。", alarm=True)
_WELCOME = ErrorRow(Failure.REFUSED, "欢迎语没有发出（已过 20 秒，或对方已收到过），不影响今后聊天。")
_ATTACHMENT = ErrorRow(Failure.REFUSED, "群发内容或附件不合企业微信的要求。请修改后再发。", alarm=True)
_MEDIA = ErrorRow(Failure.REFUSED, "图片已过期或企业微信不接受这种图片，请重新上传后再发。")
_CODE = ErrorRow(Failure.REFUSED, "登录链接已失效。请重新点“企业微信登录”。")
_FREQUENT = ErrorRow(Failure.RETRY, "调用太频繁，企业微信要求稍等，一分钟后自动重试。", Again.MINUTE, alarm=True)
_KF_ACCOUNT = ErrorRow(Failure.CHANNEL_DOWN, "微信客服账号不存在或已删除。请管理员核对客服账号设置。", alarm=True)
_KF_SWITCHED_OFF = ErrorRow(
    Failure.CHANNEL_DOWN,
    "微信客服没有交给本程序管理（接口已关闭或管理方式不对）。请管理员在微信客服后台开启。",
    alarm=True,
)
_KF_HUMAN = ErrorRow(Failure.LATER, "会话正由接待人员在企业微信里处理或已经结束，等居民下次来消息时自动送出。")
_KF_SERVICER = ErrorRow(Failure.REFUSED, "这位接待人员未激活或已停止接待。请换一位接待人员。")
_KF_WINDOW = ErrorRow(
    Failure.LATER,
    "居民 48 小时内没有来消息，微信不允许主动发送。等居民下次来消息时自动送出；急事请打电话。",
    about=Recipient.WINDOW_OVER,
)
_KF_CAP = ErrorRow(
    Failure.REFUSED, "微信客服的名额已满（企业未认证时名额较少）。请管理员完成企业认证或清理客服账号。", alarm=True
)
_KF_CARD = ErrorRow(Failure.REFUSED, "客服账号的名称或头像被企业微信拒绝。请管理员修改后再试。", alarm=True)

_ROWS: Mapping[int, ErrorRow] = {
    -1: _BUSY,
    6000: _BUSY,  # somebody else writes the same thing at this moment
    40014: _TOKEN,
    42001: _TOKEN,
    40001: _CREDENTIALS,
    40013: _CREDENTIALS,
    41001: ErrorRow(Failure.CHANNEL_DOWN, "请求里缺少接口凭证，这是程序的错误。请把代码告诉管理员。", alarm=True),
    41002: _CREDENTIALS,
    41004: _CREDENTIALS,
    40056: ErrorRow(Failure.CHANNEL_DOWN, "企业微信的应用 ID（AgentId）不正确。请管理员更正设置。", alarm=True),
    60020: ErrorRow(
        Failure.CHANNEL_DOWN,
        "本机的 IP 不在企业微信应用的可信 IP 里。请管理员在企业微信后台加上本机的 IP。",
        alarm=True,
    ),
    50001: ErrorRow(Failure.REFUSED, "登录网址不是应用的可信域名。请管理员在企业微信后台设置可信域名。", alarm=True),
    40003: _NO_MEMBER,
    60111: _NO_MEMBER,
    60011: _NOT_VISIBLE,
    60030: _NOT_VISIBLE,
    50002: ErrorRow(Failure.REFUSED, "这个成员账号被限制使用。请管理员在企业微信后台查看。", alarm=True),
    40029: _CODE,
    42022: _CODE,
    40058: _OURS,
    44004: _OURS,
    47001: _OURS,
    40096: _STRANGER,
    84061: _NO_FRIEND,
    84074: ErrorRow(
        Failure.REFUSED, "这位民警没有客户联系权限。请管理员在企业微信后台为他开通并完成实名。", alarm=True
    ),
    40007: _MEDIA,
    40008: _MEDIA,
    40145: _MEDIA,
    41047: _STRANGER,
    41048: ErrorRow(Failure.REFUSED, "没有可以发送的居民（都不是好友，或本期已收到过群发）。请改用其他渠道。"),
    41050: _WELCOME,
    41051: _WELCOME,
    41053: _WELCOME,
    41096: _WELCOME,
    41063: ErrorRow(Failure.RETRY, "群发任务正在分派，稍后自动查询。", Again.MINUTE),
    41094: ErrorRow(Failure.REFUSED, "提醒太频繁：同一条群发 24 小时内最多提醒 3 次。请直接打电话催办。"),
    45002: ErrorRow(Failure.REFUSED, "消息太长，被企业微信拒绝。请缩短后再发。"),
    45009: _FREQUENT,
    45033: _BUSY,  # too many calls at once
    45035: _BUSY,
    48001: _NO_RIGHT,
    48002: _NO_RIGHT,
    48007: ErrorRow(
        Failure.CHANNEL_DOWN, "应用没有管理这个微信客服账号的权限。请管理员在微信客服后台授权给应用。", alarm=True
    ),
    81013: ErrorRow(
        Failure.REFUSED,
        "接收人都不能送达（账号不存在、未激活或不在可见范围）。请管理员核对民警的企业微信账号。",
        alarm=True,
    ),
    82001: ErrorRow(Failure.REFUSED, "没有填写接收人。请管理员核对民警的企业微信账号。", alarm=True),
    610023: _FULL,
    610024: _FULL,
    # 微信客服
    95000: _KF_ACCOUNT,
    95001: ErrorRow(
        Failure.LATER,
        "连续发送的 5 条已用完，等居民下次来消息时自动送出；急事请打电话。",
        about=Recipient.WINDOW_USED,
    ),
    95002: _KF_WINDOW,
    95003: _KF_CAP,
    95004: _KF_ACCOUNT,
    95005: _KF_CAP,
    95007: ErrorRow(Failure.RETRY, "读取客服消息的凭证已过期，自动改用游标继续读取。"),
    95008: _OURS,
    95011: _KF_SWITCHED_OFF,
    95012: _KF_SWITCHED_OFF,
    95013: _KF_HUMAN,
    95014: _KF_SERVICER,
    95016: ErrorRow(Failure.REFUSED, "客服会话的状态已经变了，请刷新后再试。"),
    95017: _KF_SWITCHED_OFF,
    95018: _KF_HUMAN,
    95019: _KF_SERVICER,
    95021: ErrorRow(Failure.REFUSED, "没有配置“升级服务”的民警。请管理员在微信客服后台配置。", alarm=True),
    95027: _KF_CAP,
    95031: _KF_WINDOW,
    60251: _KF_CARD,
    60252: _KF_CARD,
    60253: _KF_CARD,
    **dict.fromkeys(range(41064, 41094), _ATTACHMENT),
    **dict.fromkeys(range(701008, 701017), _LICENCE),
}

_UNKNOWN_CODE = ErrorRow(
    Failure.REFUSED, "企业微信返回了没有见过的错误。请把代码告诉管理员，并改用其他方式联系居民。", alarm=True
)
_NO_TOKEN = ErrorRow(Failure.CHANNEL_DOWN, "企业微信不发放接口凭证，发送已停止。请把代码告诉管理员。", alarm=True)

WECOM = ErrorTable(
    rows=_ROWS,
    unknown=_UNKNOWN_CODE,
    no_token=_NO_TOKEN,
    # 40001 is not among them: here it is a wrong secret, which a new token does not cure.
    token_codes=frozenset({40014, 42001}),
    accepted_codes=frozenset({0, KF_DUPLICATE}),
)
