"""The console's words: names of states and the sentences that views, not templates, choose."""

from collections.abc import Sequence
from typing import Final

from bot.message import CONSENT_EVENT, EventKind, MessageKind
from bot.reach import When
from bot.store.models import DeliveryState, Outcome, Priority, Role, TicketState

ROLES: Final = {
    Role.OFFICER: "社区民警",
    Role.AUXILIARY: "辅警",
    Role.CHIEF: "所领导",
    Role.REVIEWER: "审核员",
    Role.ADMIN: "管理员",
}
CHANNELS: Final = {"webchat": "网页", "official_account": "公众号", "kf": "微信客服", "wecom": "企业微信"}
PRIORITIES: Final = {Priority.URGENT: "紧急", Priority.HIGH: "优先", Priority.NORMAL: "普通"}
TICKET_STATES: Final = {
    TicketState.OPEN: "待接",
    TicketState.ASSIGNED: "处理中",
    TicketState.WAITING: "等待补充",
    TicketState.CLOSED: "已办结",
}
OUTCOMES: Final = {
    Outcome.ANSWERED: "已答复",
    Outcome.RESOLVED: "问题已解决",
    Outcome.REFERRED: "已转有关部门",
    Outcome.FRAUD_STOPPED: "劝阻诈骗成功",
    Outcome.REPORTED: "已受理立案或登记",
    Outcome.NO_REPLY: "居民未再回复",
    Outcome.NOTHING: "误发，无需处理",
    Outcome.WITHDRAWN: "居民撤回",
}
DELIVERY_STATES: Final = {
    DeliveryState.QUEUED: "等待发送",
    DeliveryState.SENDING: "正在发送",
    DeliveryState.SENT: "已发送",
    DeliveryState.DELIVERED: "已送达",
    DeliveryState.FAILED: "发送失败",
    DeliveryState.SKIPPED: "未发送",
}
WAITING: Final = "等居民来消息"
UNKNOWN: Final = "不知是否送达"
SUBMITTED: Final = "已提交微信群发"
REACHES: Final = {
    When.NOW: "现在能送达",
    When.NEXT: "居民下次来消息时送达",
    When.NEVER: "无法送达",
}
DECISIONS: Final = {
    "answer": "机器人已回答",
    "clarify": "请居民选择问题",
    "officer": "转给民警",
    "refer": "指引到有关部门",
    "urgent": "识别为紧急",
    "chat": "寒暄",
    "unknown": "没听懂",
    "event": "自动处理",
    "dialogue": "对话进行中",
    "held": "民警接待中，机器人未回复",
}
EVENTS: Final = {
    EventKind.SUBSCRIBE: "居民关注了公众号",
    EventKind.UNSUBSCRIBE: "居民取消了关注",
    EventKind.SCAN: "居民扫描了二维码",
    EventKind.CLICK: "居民点了菜单",
    EventKind.VIEW: "居民打开了菜单里的网页",
    EventKind.ENTER: "居民打开了微信客服",
    EventKind.SERVED: "企业微信里的接待已结束",
    EventKind.OTHER: "平台事件",
}
_CONSENTED: Final = "居民同意保存对话"  # on the web there is nothing to follow: he agreed on a page
KINDS: Final = {
    MessageKind.IMAGE: "[图片]",
    MessageKind.VOICE: "[语音]",
    MessageKind.VIDEO: "[视频]",
    MessageKind.LOCATION: "[位置]",
    MessageKind.LINK: "[链接]",
    MessageKind.EVENT: "[事件]",
    MessageKind.UNKNOWN: "[不支持的消息类型]",
}
LANGUAGES: Final = {"zh": "中文", "en": "英语"}
GENDERS: Final = {"female": "女", "male": "男"}
DAYS: Final = {
    "mon": "周一",
    "tue": "周二",
    "wed": "周三",
    "thu": "周四",
    "fri": "周五",
    "sat": "周六",
    "sun": "周日",
}

# What a page says after a form was accepted; `Visit.go(…, done=KEY)` asks for it.
DONE: Final = {
    "taken": "已接手。现在由您与居民对话，机器人不再自动回复。",
    "attended": "已停止响铃。请马上联系居民，必要时先通知出警。",
    "replied": "回复已提交，正在发送。",
    "separated": "已分开。那个渠道现在是另一位居民，两边的对话和工单各归各的。",
    "replied_next": "回复已保存，居民下次来消息时自动送达。急事请打电话。",
    "replied_never": "回复已保存，但现在无法送达居民，请改用电话或上门联系。",
    "noted": "备注已保存，居民看不到。",
    "handed": "已转交同事。",
    "waiting": "已标记为等待补充，居民一回复就会提醒您。",
    "released": "已退回待接队列，机器人恢复自动回复。",
    "closed": "已办结，机器人恢复自动回复。",
    "resent": "已重新提交发送。",
    "password": "密码已修改，其他设备上的登录已全部退出。",
    "factor_on": "动态口令已开启，下次登录时需要输入。",
    "factor_off": "动态口令已关闭。",
    "logged_out": "您已退出登录。",
    "canned_added": "常用语已保存。",
    "canned_removed": "常用语已删除。",
    "topic_set": "主题已改。机器人会把这句话列入学习。",
    "phrases_drafted": "已归入主题，成为草稿。请点“测量并提交审批”，由同事批准后生效。",
    "sentences_dismissed": "已标记为不用学，以后不再列出。",
    "entry_drafted": "词条草稿已保存。请点“测量并提交审批”，由同事批准后生效。",
    "version_submitted": "已测量并提交，结果见下。请一位没有参与编写的同事审批。",
    "version_live": "已批准，新的知识现在就在使用。",
    "version_refused": "已退回，相关句子重新列入“没听懂”。",
    "phrase_removed": "已去掉这句，需要重新测量、提交。",
    "version_rolled_back": "已回退，现在就生效。",
    "version_restored": "已恢复这个版本，现在就生效。",
    "settings_saved": "本所设置已保存，新的回答现在就按它填写。",
    "warning_saved": "草稿已保存。",
    "warning_submitted": "已提交审批。批准后会按设定的时间发送。",
    "warning_approved": "已批准。系统会按设定的时间发送，进度在本页自动更新。",
    "warning_sent_back": "已退回，编写人可以修改后重新提交。",
    "warning_stopped": "已停止，没有发出的不再发送。",
    "officer_saved": "已保存。",
    "officer_disabled": "账号已停用，登录已全部退出；手上的工单已退回队列。",
    "officer_enabled": "账号已启用。",
    "officer_factor_off": "动态口令已关闭，本人可以重新设置。",
    "way_made": "二维码已生成，可以打印或发给居民。",
    "followed_up": "已记下回访情况。",
    "task_reminded": "已在企业微信里提醒民警确认。",
    "community_added": "社区已添加。请在“人员”里指定负责的民警。",
    "community_renamed": "名称已修改。",
}

LOGIN_OVER: Final = "登录已过期，请重新登录。您刚才填写的内容没有提交，请先复制保存。"
STALE_FORM: Final = "页面已过期，刚才的操作没有执行。请返回上一页，刷新后再试。"
WRONG_LOGIN: Final = "用户名或密码不对，请核对后重试。忘记密码请联系管理员重设。"
WRONG_CODE: Final = "动态口令不对，请输入验证器上当前显示的 6 位数字；手机时间需与网络同步。"
ERRORS: Final = {
    400: "提交的内容无法识别，请返回上一页重试。",
    401: "请先登录。",
    403: "您的岗位没有这项权限。如工作需要，请联系管理员调整。",
    404: "没有找到这个页面或记录，可能已被删除，也可能不属于本所。",
    405: "这个地址不能这样打开，请从菜单进入。",
    413: "上传的内容太大。图片请压缩到 2 MB 以内再发。",
    500: "系统出了点问题，刚才的操作可能没有完成。请稍后重试；如一直出现，请联系管理员。紧急警情请直接用电话处置。",
}


def event_in_words(event: Sequence[str]) -> str:
    """What a resident or his platform did, as a message keeps it: kind, key and name."""
    return _CONSENTED if event[2] == CONSENT_EVENT else EVENTS[EventKind(event[0])]
