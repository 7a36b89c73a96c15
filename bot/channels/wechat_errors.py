"""What WeChat's error codes mean for an official account, and the sentences the officer reads."""

from collections.abc import Mapping

from bot.channels.base import Failure, Recipient
from bot.channels.platform_errors import Again, ErrorRow, ErrorTable

# Media ids live three days.
MEDIA_CODES = frozenset({40007, 40008})
TOO_LONG = 45002
NO_SUCH_TYPE = 48008

_BUSY = ErrorRow(Failure.RETRY, "微信平台繁忙，稍后自动重发。")
_TOKEN = ErrorRow(
    Failure.CHANNEL_DOWN, "微信不认可接口凭证，刷新后仍被拒绝。请管理员检查公众号的 AppSecret。", alarm=True
)
_STRANGER = ErrorRow(
    Failure.REFUSED,
    "这位居民不属于当前公众号，无法送达。请管理员核对公众号设置，或改用电话联系。",
    about=Recipient.REFUSED,
)
_MEDIA = ErrorRow(Failure.REFUSED, "图片已过期或微信不接受这种图片，请重新上传后再发。")
_CREDENTIALS = ErrorRow(
    Failure.CHANNEL_DOWN, "公众号的 AppID 或 AppSecret 不正确，发送已停止。请管理员更正设置。", alarm=True
)
_CLOSED = ErrorRow(Failure.CHANNEL_DOWN, "公众号被冻结或注销，发送已停止。请管理员登录公众平台查看。", alarm=True)
_CONFIRM = ErrorRow(
    Failure.CHANNEL_DOWN, "公众号管理员没有同意本机的调用请求，发送已停止。请管理员在微信里确认。", alarm=True
)
_OURS = ErrorRow(Failure.REFUSED, "消息格式被微信拒绝，这是程序的错误。请把代码告诉管理员。", alarm=True)
_BATCH = ErrorRow(Failure.REFUSED, "群发名单被微信拒绝，这是程序的错误。请把代码告诉管理员。", alarm=True)
_TYPING = ErrorRow(Failure.REFUSED, "“正在输入”提示没有显示，不影响消息。")
_UNFOLLOWED = ErrorRow(Failure.REFUSED, "居民已取消关注公众号，无法送达。请改用电话或上门联系。", about=Recipient.LEFT)
_ADMIN_TAP = ErrorRow(Failure.RETRY, "群发正在等待公众号管理员在微信里确认，30 分钟内有效。", Again.HALF_HOUR)

_ROWS: Mapping[int, ErrorRow] = {
    -1: _BUSY,
    268487001: _BUSY,
    268487002: _BUSY,
    268488001: _BUSY,
    40001: _TOKEN,
    40014: _TOKEN,
    42001: _TOKEN,
    41001: ErrorRow(Failure.CHANNEL_DOWN, "请求里缺少接口凭证，这是程序的错误。请把代码告诉管理员。", alarm=True),
    40003: _STRANGER,
    49003: _STRANGER,
    40007: _MEDIA,
    40008: _MEDIA,
    40013: _CREDENTIALS,
    40125: _CREDENTIALS,
    40164: ErrorRow(
        Failure.CHANNEL_DOWN,
        "本机的 IP 不在公众号的白名单里，发送已停止。请管理员在公众平台加上本机的 IP。",
        alarm=True,
    ),
    40243: ErrorRow(
        Failure.CHANNEL_DOWN, "公众号的 AppSecret 已被冻结，发送已停止。请管理员在公众平台解冻。", alarm=True
    ),
    40130: _BATCH,
    40031: _BATCH,
    40032: _BATCH,
    40200: ErrorRow(Failure.CHANNEL_DOWN, "这种公众号没有此项功能，发送已停止。请管理员核对账号类型。", alarm=True),
    43004: _UNFOLLOWED,
    50005: _UNFOLLOWED,
    43019: ErrorRow(
        Failure.REFUSED,
        "居民在公众号的黑名单里，无法送达。如需联系，请管理员先移出黑名单。",
        about=Recipient.REFUSED,
    ),
    40037: ErrorRow(Failure.REFUSED, "通知模板的编号不存在，请管理员核对设置里的模板编号。", alarm=True),
    43101: ErrorRow(
        Failure.LATER,
        "居民没有订阅这类通知，或订阅次数已用完。等居民下次来消息时再询问。",
        about=Recipient.NO_CONSENT,
    ),
    43116: ErrorRow(Failure.REFUSED, "这个消息模板被微信限制使用，请管理员更换模板。", alarm=True),
    44004: _OURS,
    47001: _OURS,
    47003: ErrorRow(Failure.REFUSED, "消息模板里有一栏的内容不合格式，请管理员核对模板。", alarm=True),
    45002: ErrorRow(Failure.REFUSED, "消息太长，分段后仍被微信拒绝。请缩短后再发。"),
    45008: _OURS,
    45009: ErrorRow(Failure.RETRY, "公众号今天的发送次数已用完，明天零点后自动重发。", Again.TOMORROW, alarm=True),
    45011: ErrorRow(Failure.RETRY, "发送太快，微信要求稍等，一分钟后自动重发。", Again.MINUTE),
    45015: ErrorRow(
        Failure.LATER,
        "居民 48 小时内没有来消息，微信不允许主动发送。等居民下次来消息时自动送出；急事请打电话。",
        about=Recipient.WINDOW_OVER,
    ),
    45047: ErrorRow(
        Failure.LATER,
        "连续发送的条数已用完，等居民下次来消息时自动送出；急事请打电话。",
        about=Recipient.WINDOW_USED,
    ),
    45028: ErrorRow(Failure.RETRY, "本期的群发次数已用完，消息已改期。", Again.TOMORROW, alarm=True),
    # The account's own affairs: menu, tags, QR codes.
    **dict.fromkeys(
        (40016, 40017, 40018, 40019, 40020, 40023, 40024, 40025, 40026, 40027, 40033),
        ErrorRow(Failure.REFUSED, "公众号菜单的设置被微信拒绝，请管理员核对名称长度和按钮个数。"),
    ),
    45056: ErrorRow(Failure.REFUSED, "公众号的标签已满 100 个，请管理员在公众平台删去不用的标签。"),
    45059: ErrorRow(Failure.REFUSED, "有居民的标签已满 20 个，请管理员在公众平台删去不用的标签。"),
    45157: ErrorRow(Failure.RETRY, "同名标签刚刚建好，稍后自动重试。"),
    45158: ErrorRow(Failure.REFUSED, "标签名称超过微信的长度限制，请缩短社区名称。"),
    45159: ErrorRow(Failure.RETRY, "标签刚刚被删除，稍后自动重建。"),
    45169: ErrorRow(Failure.RETRY, "同一位居民的标签正在被修改，稍后自动重试。", Again.MINUTE),
    45029: ErrorRow(Failure.REFUSED, "公众号的永久二维码已满 10 万个，联系卡改用网页二维码。"),
    40052: _OURS,
    40053: _OURS,
    45066: ErrorRow(Failure.RETRY, "同一条群发重复提交太快，一分钟后自动核对。", Again.MINUTE),
    45067: _OURS,
    45080: _TYPING,
    45081: _TYPING,
    48001: ErrorRow(
        Failure.CHANNEL_DOWN,
        "公众号没有发送消息的权限（认证可能已过期），发送已停止。请管理员登录公众平台查看。",
        alarm=True,
    ),
    48002: ErrorRow(
        Failure.REFUSED, "居民设置了不接收公众号消息，无法送达。请改用电话或上门联系。", about=Recipient.REFUSED
    ),
    48004: ErrorRow(
        Failure.CHANNEL_DOWN, "公众号的接口因违规被封禁，所有发送已停止。请管理员立即登录公众平台处理。", alarm=True
    ),
    48008: ErrorRow(Failure.REFUSED, "公众号没有发送这类消息的权限，请改用文字。"),
    50002: ErrorRow(
        Failure.REFUSED,
        "居民的微信账号受限（冻结或注销），无法送达。请改用电话或上门联系。",
        about=Recipient.LIMITED,
    ),
    70000: ErrorRow(Failure.REFUSED, "因未成年人保护限制，这条消息无法送达。请联系监护人。"),
    89504: _ADMIN_TAP,
    89505: _ADMIN_TAP,
    # Only the token call answers with these; none is cured by trying again.
    40002: _OURS,
    41002: _CREDENTIALS,
    41004: _CREDENTIALS,
    43002: _OURS,
    50004: _CLOSED,
    50007: _CLOSED,
    89503: _CONFIRM,
    89506: _CONFIRM,
    89507: _CONFIRM,
}

_UNKNOWN_CODE = ErrorRow(
    Failure.REFUSED, "微信返回了没有见过的错误。请把代码告诉管理员，并改用其他方式联系居民。", alarm=True
)
_WRONG_SECRET = ErrorRow(Failure.CHANNEL_DOWN, "公众号的 AppSecret 不正确，发送已停止。请管理员更正设置。", alarm=True)
_NO_TOKEN = ErrorRow(Failure.CHANNEL_DOWN, "微信不发放接口凭证，发送已停止。请把代码告诉管理员。", alarm=True)


_TOKEN_CODES = frozenset({40001, 40014, 42001})

OFFICIAL_ACCOUNT = ErrorTable(
    rows=_ROWS,
    unknown=_UNKNOWN_CODE,
    no_token=_NO_TOKEN,
    token_rows=dict.fromkeys(_TOKEN_CODES, _WRONG_SECRET),  # the same numbers mean something else there
    token_codes=_TOKEN_CODES,
    # 45065: the same clientmsgid came within 24 hours; the platform has the message and sends it once.
    accepted_codes=frozenset({0, 45065}),
)
