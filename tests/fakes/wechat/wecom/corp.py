"""One WeCom corporation: its apps, members, contacts, groups and customer service, under /wecom/cgi-bin/."""

from aiohttp import web

from tests.fakes.wechat import media
from tests.fakes.wechat.delivery import Push
from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Endpoints, Gate
from tests.fakes.wechat.wecom.apps import Apps
from tests.fakes.wechat.wecom.contacts import Contacts
from tests.fakes.wechat.wecom.groupmsg import GroupMessages
from tests.fakes.wechat.wecom.groups import Groups
from tests.fakes.wechat.wecom.kf import CustomerService
from tests.fakes.wechat.wecom.kf_calls import KfCalls
from tests.fakes.wechat.wecom.members import Members
from tests.fakes.wechat.wecom.pusher import CorpPusher


class Corp:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.pushers: dict[str, CorpPusher] = {}  # module → the bot's callback for it
        self.apps = Apps(platform)
        self.media = MediaStore(platform, media.CORP_KINDS)
        self.members = Members(platform, self.apps, self.media, self._push)
        self.contacts = Contacts(platform, self.apps, self.members, self._push)
        self.groups = Groups(platform, self._push)
        self.mass = GroupMessages(platform, self.apps, self.members, self.contacts, self.groups, self.media)
        self.kf = CustomerService(platform, self.members, self.contacts, self._push)
        self._kf_calls = KfCalls(platform, self.kf, self.media)

    def routes(self) -> list[web.RouteDef]:
        guarded = self.apps.guarded
        endpoints: Endpoints = self.media.endpoints() | guarded("app", self.members.endpoints())
        for part in (self.contacts, self.groups, self.mass):
            endpoints |= guarded("contact", part.endpoints())
        endpoints |= guarded("kf", self._kf_calls.endpoints())
        gate = Gate(
            self.platform,
            public=self.apps.public(),
            endpoints=endpoints,
            check_token=self.apps.check,
            expire_token=self.apps.expire,
            limited=False,
        )
        return [
            web.route("*", "/wecom/cgi-bin/{path:.+}", gate.handle),
            web.get("/wwpic/{config_id}/0", self.contacts.picture),
            web.get("/wecom/connect/oauth2/authorize", self.members.authorise),
            web.get("/wecom/wwlogin/sso/login", self.members.authorise),
        ]

    async def _push(self, module: str, sender: str, name: str, fields: dict[str, str]) -> Push | None:
        pusher = self.pushers.get(module)
        if pusher is None:
            return None
        return await pusher.event(sender, name, fields, module=module)  # type: ignore[arg-type]
