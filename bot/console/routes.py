"""Every page of the console and what it takes to open it. What is not here does not exist."""

from bot.console import (
    assets,
    audit,
    broadcasts,
    canned,
    channels,
    communities,
    contacts,
    figures,
    home,
    knowledge,
    learning,
    live,
    login,
    me,
    media,
    officers,
    residents,
    review,
    tickets,
    wecom_login,
)
from bot.console.guard import Open, Route
from bot.security.permissions import Permission

_VERSION = r"/console/learning/versions/{id:\d{1,19}}"
_TOPIC = r"/console/knowledge/{topic:[a-z][a-z0-9]*\.[a-z][a-z0-9_]*}"
_WRITERS = (Permission.LEARN, Permission.MANAGE)
_APPROVERS = (Permission.APPROVE, Permission.MANAGE)
_TICKET = r"/console/tickets/{id:\d{1,19}}"
_BROADCAST = r"/console/broadcasts/{id:\d{1,19}}"
_CONVERSATION = r"/console/review/{id:\d{1,19}}"
_RESIDENT = r"/console/residents/{id:\d{1,19}}"
_OFFICER = r"/console/officers/{id:\d{1,19}}"
_COMMUNITY = r"/console/communities/{id:\d{1,19}}"
_CONTACT = r"/console/contacts/{id:\d{1,19}}"
_WARNINGS = (Permission.WARN, Permission.APPROVE)

ROUTES = (
    # coming in
    Route("GET", "/console/static/{name}", assets.show, Open.PUBLIC),
    Route("GET", "/console/login", login.show, Open.PUBLIC),
    Route("POST", "/console/login", login.submit, Open.PUBLIC, again=login.show),
    Route("GET", "/console/login/wecom", wecom_login.begin, Open.PUBLIC),
    Route("GET", "/console/login/wecom/back", wecom_login.come_back, Open.PUBLIC, again=login.show),
    Route("POST", "/console/logout", login.leave, Open.HALF),
    Route("GET", "/console/second-factor", login.show_second_factor, Open.HALF),
    Route("POST", "/console/second-factor", login.submit_second_factor, Open.HALF, again=login.show_second_factor),
    Route("GET", "/console", home.show, Permission.SELF),
    Route("GET", "/console/", home.show, Permission.SELF),
    Route("GET", "/console/live", live.stream, Permission.SELF),
    # one's own account
    Route("GET", "/console/me", me.show, Open.OWN),
    Route("POST", "/console/me/password", me.change_password, Open.OWN, again=me.show),
    Route("GET", "/console/me/second-factor", me.show_second_factor, Permission.SELF),
    Route("POST", "/console/me/second-factor", me.turn_on, Permission.SELF, again=me.show_second_factor),
    Route("POST", "/console/me/second-factor/off", me.turn_off, Permission.SELF, again=me.show),
    # tickets
    Route("GET", "/console/alarm", tickets.alarm, (Permission.ANSWER, Permission.MANAGE)),
    Route("GET", "/console/tickets", tickets.queue, Permission.ANSWER),
    Route("GET", _TICKET, tickets.show, Permission.ANSWER),
    Route("POST", f"{_TICKET}/take", tickets.take, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/attend", tickets.attend, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/reply", tickets.reply, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/typing", tickets.announce_typing, Permission.ANSWER),
    Route("POST", f"{_TICKET}/note", tickets.note, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/hand-over", tickets.hand_over, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/wait", tickets.wait, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/topic", tickets.set_topic, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/release", tickets.release, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/close", tickets.close, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/resend/{{message:\\d{{1,19}}}}", tickets.resend, Permission.ANSWER, again=tickets.show),
    Route("POST", f"{_TICKET}/reveal", tickets.reveal, Permission.RESIDENTS, again=tickets.show),
    Route("GET", r"/console/media/{id:\d{1,19}}", media.show, (Permission.ANSWER, Permission.REVIEW)),
    # canned replies
    Route("GET", "/console/canned", canned.show, Permission.ANSWER),
    Route("POST", "/console/canned", canned.add, Permission.ANSWER, again=canned.show),
    Route("POST", r"/console/canned/{id:\d{1,19}}/remove", canned.remove, Permission.ANSWER, again=canned.show),
    # warnings
    Route("GET", "/console/broadcasts", broadcasts.listing, _WARNINGS),
    Route("GET", "/console/broadcasts/new", broadcasts.new, Permission.WARN),
    Route("POST", "/console/broadcasts", broadcasts.create, Permission.WARN, again=broadcasts.new),
    Route("POST", "/console/broadcasts/reach", broadcasts.reach, Permission.WARN),
    Route("GET", _BROADCAST, broadcasts.show, _WARNINGS),
    Route("GET", f"{_BROADCAST}/edit", broadcasts.edit, Permission.WARN),
    Route("POST", f"{_BROADCAST}/edit", broadcasts.save, Permission.WARN, again=broadcasts.edit),
    Route("POST", f"{_BROADCAST}/submit", broadcasts.submit, Permission.WARN, again=broadcasts.show),
    Route("POST", f"{_BROADCAST}/approve", broadcasts.approve, Permission.APPROVE, again=broadcasts.show),
    Route("POST", f"{_BROADCAST}/send-back", broadcasts.send_back, Permission.APPROVE, again=broadcasts.show),
    Route("POST", f"{_BROADCAST}/stop", broadcasts.stop, _WARNINGS, again=broadcasts.show),
    Route("POST", f"{_BROADCAST}/remind/{{task:\\d{{1,18}}}}", broadcasts.remind, _WARNINGS, again=broadcasts.show),
    # what the bot knows, and how it learns
    Route("GET", "/console/knowledge", knowledge.show, (Permission.ANSWER, Permission.MANAGE)),
    Route("GET", "/console/knowledge/settings", knowledge.settings, _APPROVERS),
    Route("POST", "/console/knowledge/settings", knowledge.save_settings, _APPROVERS, again=knowledge.settings),
    Route("GET", _TOPIC, knowledge.topic, (Permission.ANSWER, Permission.MANAGE)),
    Route("GET", f"{_TOPIC}/change", learning.change, _WRITERS),
    Route("POST", f"{_TOPIC}/change", learning.save, _WRITERS, again=learning.save_again),
    Route("GET", "/console/learning", learning.show, Permission.LEARN),
    Route("POST", "/console/learning/topic", learning.put_under_topic, Permission.LEARN, again=learning.show),
    Route("POST", "/console/learning/dismiss", learning.dismiss, Permission.LEARN, again=learning.show),
    Route("GET", "/console/learning/new", learning.new, _WRITERS),
    Route("POST", "/console/learning/new", learning.new, Permission.LEARN, again=learning.show),
    Route("POST", "/console/learning/entries", learning.save, _WRITERS, again=learning.save_again),
    Route("GET", "/console/learning/versions", learning.show_versions, (*_WRITERS, Permission.APPROVE)),
    Route("POST", f"{_VERSION}/submit", learning.submit, _WRITERS, again=learning.show_versions),
    Route("POST", f"{_VERSION}/remove-phrase", learning.remove_phrase, _WRITERS, again=learning.show_versions),
    Route("POST", f"{_VERSION}/approve", learning.approve, _APPROVERS, again=learning.show_versions),
    Route("POST", f"{_VERSION}/refuse", learning.refuse, (*_WRITERS, Permission.APPROVE), again=learning.show_versions),
    Route("POST", f"{_VERSION}/roll-back", learning.roll_back, _APPROVERS, again=learning.show_versions),
    Route("POST", f"{_VERSION}/restore", learning.restore, _APPROVERS, again=learning.show_versions),
    # chat logs and the audit log
    Route("GET", "/console/review", review.show, Permission.REVIEW),
    Route("POST", "/console/review", review.submit, Permission.REVIEW, again=review.show),
    Route("POST", "/console/review/export", review.export_results, Permission.REVIEW, again=review.show),
    Route("GET", _CONVERSATION, review.conversation, Permission.REVIEW),
    Route("POST", _CONVERSATION, review.give_reason, Permission.REVIEW, again=review.conversation),
    Route("POST", f"{_CONVERSATION}/export", review.export_conversation, Permission.REVIEW),
    Route("GET", "/console/audit", audit.show, Permission.REVIEW),
    Route("POST", "/console/audit/check", audit.check, Permission.REVIEW),
    # residents
    Route("GET", "/console/residents", residents.show, Permission.RESIDENTS),
    Route("POST", "/console/residents", residents.search, Permission.RESIDENTS, again=residents.show),
    Route("GET", _RESIDENT, residents.card, Permission.RESIDENTS),
    Route("POST", f"{_RESIDENT}/reveal", residents.reveal, Permission.RESIDENTS, again=residents.card),
    # friends in WeCom
    Route("GET", "/console/contacts", contacts.show, (Permission.ANSWER, Permission.MANAGE)),
    Route("POST", "/console/contacts/ways", contacts.make, (Permission.ANSWER, Permission.MANAGE), again=contacts.show),
    Route("GET", f"{_CONTACT}/qr", contacts.picture, (Permission.ANSWER, Permission.MANAGE)),
    Route("POST", f"{_CONTACT}/follow-up", contacts.follow_up, Permission.RESIDENTS, again=contacts.show),
    Route(
        "POST",
        f"{_RESIDENT}/separate/{{address:\\d{{1,19}}}}",
        residents.separate,
        Permission.SEPARATE,
        again=residents.card,
    ),
    # the station's people and places
    Route("GET", "/console/officers", officers.show, Permission.MANAGE),
    Route("POST", "/console/officers", officers.add, Permission.MANAGE, again=officers.show),
    Route("GET", _OFFICER, officers.edit, Permission.MANAGE),
    Route("POST", _OFFICER, officers.save, Permission.MANAGE, again=officers.edit),
    Route("POST", f"{_OFFICER}/password", officers.reset_password, Permission.MANAGE, again=officers.edit),
    Route("POST", f"{_OFFICER}/second-factor/off", officers.forget_factor, Permission.MANAGE, again=officers.edit),
    Route("POST", f"{_OFFICER}/disable", officers.disable, Permission.MANAGE, again=officers.edit),
    Route("POST", f"{_OFFICER}/enable", officers.enable, Permission.MANAGE, again=officers.edit),
    Route("GET", "/console/communities", communities.show, (Permission.ANSWER, Permission.MANAGE)),
    Route("POST", "/console/communities", communities.add, Permission.MANAGE, again=communities.show),
    Route("POST", f"{_COMMUNITY}/rename", communities.rename, Permission.MANAGE, again=communities.show),
    Route("GET", "/console/communities/cards", communities.cards, (Permission.ANSWER, Permission.MANAGE)),
    Route("GET", f"{_COMMUNITY}/card", communities.card, (Permission.ANSWER, Permission.MANAGE)),
    # the channels
    Route("GET", "/console/channels", channels.show, Permission.CHANNELS),
    # figures
    Route("GET", "/console/figures", figures.show, Permission.FIGURES),
)
