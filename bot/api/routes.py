"""Every route of the API and what it takes to use it. What is not here does not exist.

A line: method, path, handler, permission, what comes in, what goes out, what it does; OpenAPI is made from this.
"""

from http import HTTPStatus

from bot.api import broadcasts, communities, me, search, sessions, tickets
from bot.api.guard import AnyRoute, Open, Route
from bot.api.shapes import Answer, Nothing, Paged
from bot.security.permissions import Permission

ROOT = "/api/v1"  # before each path of the table

PUBLIC, SELF, ANSWER, WARN = Open.PUBLIC, Permission.SELF, Permission.ANSWER, Permission.WARN
APPROVE, REVIEW, WARNS = Permission.APPROVE, Permission.REVIEW, (Permission.WARN, Permission.APPROVE)
CREATED, NO_CONTENT = HTTPStatus.CREATED, HTTPStatus.NO_CONTENT

# Without a type of its own, so that mypy compares each handler with the shapes beside it.
_TABLE = (
    # coming in
    Route("POST", "/sessions", sessions.begin, PUBLIC, sessions.LogIn,
          sessions.Token, "登录，取得令牌", CREATED),
    Route("DELETE", "/sessions/current", sessions.end, SELF, Nothing,
          Answer, "退出，令牌失效", NO_CONTENT),
    Route("GET", "/me", me.show, SELF, Nothing,
          me.Me, "我的账号和权限"),
    # tickets
    Route("GET", "/tickets", tickets.show_all, ANSWER, tickets.AskedTickets,
          tickets.Tickets, "工单列表，新的在前"),
    Route("GET", "/tickets/{id}", tickets.show, ANSWER, tickets.AskedTicket,
          tickets.WholeTicket, "一张工单和它的对话，查看会记入审计日志"),
    Route("POST", "/tickets/{id}/take", tickets.take, ANSWER, Nothing,
          tickets.TicketAnswer, "接手"),
    Route("POST", "/tickets/{id}/reply", tickets.reply, ANSWER, tickets.Said,
          tickets.SaidAnswer, "回复居民", CREATED),
    Route("POST", "/tickets/{id}/note", tickets.note, ANSWER, tickets.Noted,
          tickets.NotedAnswer, "内部备注，居民看不到", CREATED),
    Route("POST", "/tickets/{id}/hand-over", tickets.hand_over, ANSWER, tickets.HandedOver,
          tickets.TicketAnswer, "转交同事"),
    Route("POST", "/tickets/{id}/wait", tickets.wait, ANSWER, Nothing,
          tickets.TicketAnswer, "标记为等待补充"),
    Route("POST", "/tickets/{id}/release", tickets.release, ANSWER, Nothing,
          tickets.TicketAnswer, "退回待接队列"),
    Route("POST", "/tickets/{id}/close", tickets.close, ANSWER, tickets.Closed,
          tickets.TicketAnswer, "办结"),
    # warnings
    Route("GET", "/broadcasts", broadcasts.show_all, WARNS, broadcasts.AskedBroadcasts,
          broadcasts.Broadcasts, "提醒列表，新的在前"),
    Route("POST", "/broadcasts", broadcasts.create, WARN, broadcasts.Written,
          broadcasts.BroadcastAnswer, "新建提醒草稿", CREATED),
    Route("POST", "/broadcasts/reach", broadcasts.reach, WARN, broadcasts.AskedReach,
          broadcasts.ReachAnswer, "估算对象人数"),
    Route("GET", "/broadcasts/{id}", broadcasts.show, WARNS, Nothing,
          broadcasts.WholeBroadcast, "一条提醒和发送进度"),
    Route("POST", "/broadcasts/{id}/submit", broadcasts.submit, WARN, Nothing,
          broadcasts.BroadcastAnswer, "提交审批"),
    Route("POST", "/broadcasts/{id}/approve", broadcasts.approve, APPROVE, broadcasts.Approved,
          broadcasts.BroadcastAnswer, "审批并封签"),
    Route("POST", "/broadcasts/{id}/send-back", broadcasts.send_back, APPROVE, broadcasts.Because,
          broadcasts.BroadcastAnswer, "退回修改"),
    Route("POST", "/broadcasts/{id}/stop", broadcasts.stop, WARNS, broadcasts.Because,
          broadcasts.StoppedAnswer, "停止发送"),
    # the station
    Route("POST", "/search", search.search, REVIEW, search.Asked,
          search.FoundPage, "查阅聊天记录，须写明原因，会记入审计日志"),
    Route("GET", "/communities", communities.show_all, SELF, Paged,
          communities.Communities, "社区和负责民警"),
)  # fmt: skip

ROUTES: tuple[AnyRoute, ...] = _TABLE
