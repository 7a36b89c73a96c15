"""What says nothing by itself: who, where, when, how many, yes and no.

People answer so, also when nobody has asked. A model that learnt whole calls for help takes each of their words for a
sign of danger, and a message of one word has no other that could speak against it.
"""

import re

_MOST_CHARS = 16

_NUMBER = r"(?:\d+|[零一二两三四五六七八九十百千几半]+|好几)"
_COUNT = (
    rf"{_NUMBER}个?多?(?:分钟|小时|钟头|天|周|月|年|点钟?|岁半?|人|个|楼|层|号楼?|单元|栋|幢|室)"
    r"(?:前|后|左右|多|半|了)?"
)
_TIME = (
    r"(?:刚才|刚刚|现在|今天|昨天|昨晚|前天|明天|后天|上午|下午|早上|晚上|中午|夜里|半夜|凌晨|上周|去年"
    r"|周[一二三四五六日末])"
)
_KIN = (
    r"(?:爸爸?|妈妈?|父亲|母亲|老公|老婆|丈夫|妻子|爱人|对象|男朋友|女朋友|儿子|女儿|孩子|小孩|哥哥?|姐姐?|弟弟?|妹妹?"
    r"|爷爷|奶奶|姥姥|姥爷|外公|外婆|公公|婆婆|岳父|岳母|丈母娘|孙子|孙女|舅舅|叔叔|姑姑|阿姨|表[哥姐弟妹]|妹夫|姐夫|嫂子"
    r"|女婿|儿媳|老人|邻居|房东|同事|同学|朋友|室友|老板|客服|陌生人|亲戚)"
)
_WORK = (
    r"(?:学生|老师|司机|工人|农民|医生|护士|保安|厨师|电工|会计|快递员?|外卖员?|骑手|个体户|退休了?|无业|男的?|女的?)"
)
_PLACE = (
    r"(?:家里?|门口|楼上|楼下|隔壁|对面|旁边|附近|外面|里面|外地|阳台|厨房|客厅|卧室|卫生间|店里?|单位|公司|工地上?|学校|医院"
    r"|银行|车站|地铁站?|公交站|路上|路边|车上|小区里?|村里|村口|菜?市场|超市|商场|公园|[东南西北]门口?)"
)
_SAID = (
    r"(?:我?(?:也|还)?不(?:知道|清楚|太清楚|懂|认识)|说不清楚?|记不清了?|没看清|看不清|忘了|有的?|没有|还没有?|是的?|对的?|不是"
    r"|好[的吧]?|行|可以|嗯+|在[的吗]?|我?(?:在|还在|一直在)?等(?:着|你们|了好久)?|我?都?等半天了|还在|一直在|到了|我?(?:先|刚)?到家?了?"
    r"|(?:我先|(?:他|她|他们)?(?:刚|先|已经|都)?)走了?|我?(?:来|回来|出门|下班)了|我?马上(?:来|到)?|快点|快一点|着急|很?急|我一个人"
    r"|我?不(?:用|需要|等)了|算了吧?|算了不用了|确认|确定|取消|继续"
    r"|(?:他|她|别人|听他)说的|听说的|打不通|没人接|我?姓.)"
)
_CHINESE = re.compile(
    rf"(?:{_TIME}|{_COUNT})+|(?:我们?的?|他的?|她的?)?{_KIN}|(?:我|他|她)?是?{_WORK}|{_SAID}"
    rf"|(?:我们?|我?{_KIN})?(?:就|都|还)?(?:住在?|在)?(?:{_PLACE}|(?:{_COUNT})+)(?:的|呢|了)?"
)

_KIN_EN = (
    r"(?:mother|mom|mum|father|dad|husband|wife|son|daughter|child|kid|baby|brother|sister|uncle|aunt|cousin|grandmother"
    r"|grandfather|grandma|grandpa|friend|neighbou?r|boss|landlord|roommate|colleague|boyfriend|girlfriend|man|woman)"
)
_WORK_EN = r"(?:student|teacher|worker|driver|nurse|doctor|engineer|cook|retired|tourist|foreigner)"
_COUNT_EN = (
    r"(?:about )?(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|half an)"
    r" (?:minutes?|hours?|days?|weeks?|months?|years?|people|men|women|persons?|o'clock)(?: ago| old)?"
)
_PLACE_EN = (
    r"(?:at home|home|at work|outside|inside|upstairs|downstairs|next door|alone"
    r"|(?:in|at|on|near) (?:the|my) (?:street|bus|room|office|shop|school|gate|kitchen|hotel|hospital|bank|station))"
)
_ENGLISH = re.compile(
    rf"(?:(?:it is|it's|this is) )?(?:(?:my|a|an|the|his|her) )?{_KIN_EN}"
    rf"|(?:(?:i am|i'm|he is|she is) (?:an? )?)?{_WORK_EN}"
    rf"|(?:(?:i am|i'm|we are|i live) )?{_PLACE_EN}"
    rf"|(?:(?:i am|he is|she is) )?(?:\d+|{_COUNT_EN})|(?:we are )?(?:two|three|four)"
    r"|now|just now|today|yesterday|tomorrow|tonight|yes|no|ok|okay|wait|hurry|done|not yet"
    r"|(?:i am|i'm|still) (?:waiting|coming)|i don'?t know|not sure|he left"
)
_AROUND = " \t\n.,!?;~。，！？、；～…"


def is_bare(message: str) -> bool:
    """Whether a message is nothing but a person, a place, a time, a number, or a word of assent."""
    text = message.strip(_AROUND).casefold()
    if not text or len(text) > 2 * _MOST_CHARS:
        return False
    if text.isascii():
        return _ENGLISH.fullmatch(text.replace("’", "'")) is not None
    return len(text) <= _MOST_CHARS and _CHINESE.fullmatch(re.sub(r"\s", "", text)) is not None
