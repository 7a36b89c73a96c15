"""The API's words: titles and sentences of its problems, and what is wrong with a field."""

from typing import Final

from bot.api.problems import Slug

TITLES: Final = {
    Slug.NOT_JSON: "内容不是 JSON",
    Slug.LOGIN_NEEDED: "需要登录",
    Slug.WRONG_LOGIN: "登录失败",
    Slug.CODE_NEEDED: "需要动态口令",
    Slug.WRONG_CODE: "动态口令不对",
    Slug.SET_UP_NEEDED: "需要先开启动态口令",
    Slug.PASSWORD_GIVEN: "需要先修改密码",
    Slug.NO_PERMISSION: "没有权限",
    Slug.NOT_ALLOWED: "不能这样做",
    Slug.NOT_FOUND: "没有找到",
    Slug.WRONG_METHOD: "方法不对",
    Slug.CONFLICT: "状态已变",
    Slug.TOO_LARGE: "内容太大",
    Slug.WRONG_TYPE: "内容类型不对",
    Slug.INVALID: "内容不符合要求",
    Slug.REFUSED: "没有完成",
    Slug.TOO_MANY: "尝试次数过多",
    Slug.FAULT: "系统出错",
}

DETAILS: Final = {
    Slug.NOT_JSON: "请求内容不是有效的 JSON，请检查格式后重新提交。",
    Slug.LOGIN_NEEDED: "请先登录：用 POST /api/v1/sessions 取得令牌，再放入 Authorization 头（Bearer）。",
    Slug.WRONG_LOGIN: "用户名或密码不对，请核对后重试。忘记密码请联系管理员重设。",
    Slug.CODE_NEEDED: "这个账号开启了动态口令，请把验证器上的 6 位数字放入 code 后重新提交。",
    Slug.WRONG_CODE: "动态口令不对，请输入验证器上当前显示的 6 位数字；手机时间需与网络同步。",
    Slug.SET_UP_NEEDED: "本所要求使用动态口令，请先在网页控制台登录并开启，再使用接口。",
    Slug.PASSWORD_GIVEN: "密码是别人设置后交给您的，请先在网页控制台登录并换成自己的，再使用接口。",
    Slug.NO_PERMISSION: "您的岗位没有这项权限。如工作需要，请联系管理员调整。",
    Slug.NOT_ALLOWED: "您现在不能进行这项操作。",
    Slug.NOT_FOUND: "没有找到这个地址或记录，可能已被删除，也可能不属于本所。",
    Slug.WRONG_METHOD: "这个地址不支持此方法，请查看 Allow 头和 /api/v1/openapi.json。",
    Slug.CONFLICT: "记录的状态已经变了，请重新读取后再试。",
    Slug.TOO_LARGE: "请求内容太大，请精简后重新提交。",
    Slug.WRONG_TYPE: "请用 Content-Type: application/json 提交。",
    Slug.INVALID: "有内容不符合要求，请改正后重新提交。",
    Slug.REFUSED: "没有完成，请检查后重试。",
    Slug.TOO_MANY: "尝试次数过多，请15分钟后再试，或请管理员重设密码。",
    Slug.FAULT: "系统出了点问题，刚才的操作可能没有完成。请稍后重试；如一直出现，请联系管理员。",
}

INVALID_FIELD: Final = "“{field}”：{detail}。请改正后重新提交。"

# What pydantic found, by its own word for it; {…} are the limits it names. The first that begins so is taken.
FIELDS: Final = (
    ("missing", "缺少这一项"),
    ("extra_forbidden", "没有这一项，请对照 /api/v1/openapi.json 检查拼写"),
    ("string_too_long", "最多 {max_length} 个字"),
    ("string_too_short", "最少 {min_length} 个字"),
    ("string_pattern_mismatch", "格式不对"),
    ("string", "应为文字"),
    ("int", "应为整数"),
    ("bool", "应为 true 或 false"),
    ("greater_than_equal", "不能小于 {ge}"),
    ("less_than_equal", "不能大于 {le}"),
    ("enum", "不在可选值之内，请对照 /api/v1/openapi.json"),
    ("literal_error", "不在可选值之内，请对照 /api/v1/openapi.json"),
    ("timezone_aware", "时间要带时区，例如 2026-11-22T08:30:00+08:00"),
    ("datetime", "应为带时区的时间，例如 2026-11-22T08:30:00+08:00"),
    ("too_long", "最多 {max_length} 项"),
    ("tuple_type", "应为数组"),
    ("model", "应为 JSON 对象"),
    ("", "不符合要求"),
)
NO_NUL: Final = "不能含有空字符"
FAR_MOMENT: Final = "时间应在 2000 年到 2099 年之间"
PAST_MOMENT: Final = "这个时间已经过去了，请重新选择"
DISTANT_MOMENT: Final = "请选在一年之内"
NO_SUCH_OCCUPATION: Final = "没有这个职业，请从 /api/v1/openapi.json 列出的值中选择"
NO_SUCH_COMMUNITY: Final = "本所没有这个社区：{ids}"
NO_SUCH_OFFICER: Final = "本所没有这位同事"
TOO_MANY_WORDS: Final = "要找的词太多，最多 {most} 个词"
NO_WORDS: Final = "没有可查找的词"
