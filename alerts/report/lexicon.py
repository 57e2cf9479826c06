"""The words that carry numbers: magnitudes, units, nouns, directions, numerals; English and Korean.

Lives here: word lists and the small patterns built of them. Doesn't: how a text is read (``tokens``) or judged
(``numbers``).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

#: One numeral in digits: grouped by thousands or not at all, with or without decimals.
DIGITS: Final = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"

# --- magnitudes ---------------------------------------------------------------------------------------------

SMALL_KO: Final = {"십": 10, "백": 100, "천": 1000}
BIG_KO: Final = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}
SINO: Final = {"영": 0, "공": 0, "일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}

MAGNITUDES: Final = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "K": 10**3, "k": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9, "T": 10**12, "tn": 10**12,
}  # fmt: skip
#: Read as magnitudes only after a currency sign: without one, ``5m`` is five minutes.
MAGNITUDES_OF_MONEY: Final = {"m": 10**6, "b": 10**9, "t": 10**12}

# --- units --------------------------------------------------------------------------------------------------

CURRENCIES: Final = {"₩": "krw", "KRW": "krw", "$": "USD", "US$": "USD", "USD": "USD", "€": "EUR", "¥": "JPY"}

#: Pattern right after a number → unit. The first that matches wins. A unit no fact has is refused by that.
UNITS: Final = tuple(
    (re.compile(pattern), unit)
    for pattern, unit in (
        (
            r"\s?(?:%p|%\s?포인트|퍼센트\s?포인트|%-?\s?points?|percentage points?|bps?(?![A-Za-z])|basis points?)",
            "points",
        ),
        (r"\s?(?:%|percent(?![A-Za-z])|per cent(?![A-Za-z])|퍼센트|프로(?![가-힣]))", "percent"),
        (
            r"\s?(?:원(?!화|천|인)|won(?![A-Za-z])|KRW(?![A-Za-z])(?!\s+(?:markets?|pairs?)(?![A-Za-z])|\s?(?:마켓|시장|종목)))",
            "krw",
        ),
        (r"\s?(?:달러|dollars?(?![A-Za-z])|USD(?![A-Za-z]))", "USD"),
        (r"(?=\s(?:of|out of)\s(?:the\s|all\s)?\d+(?:\s|-)?hours?(?![A-Za-z]))", "hours"),
        (r"(?:\s|-)?(?:hours?(?![A-Za-z])|hrs?(?![A-Za-z])|h(?![A-Za-z])|시간)", "hours"),
        (r"(?:\s|-)?(?:minutes?(?![A-Za-z])|mins?(?![A-Za-z])|min(?![A-Za-z])|m(?![A-Za-z])|분)", "minutes"),
        (r"(?:\s|-)?(?:seconds?(?![A-Za-z])|secs?(?![A-Za-z])|s(?![A-Za-z])|초)", "seconds"),
        (r"(?:\s|-)?(?:days?(?![A-Za-z])|d(?![A-Za-z])|일간|거래일)", "days"),
        (
            r"(?:\s|-)?(?:weeks?(?![A-Za-z])|months?(?![A-Za-z])|years?(?![A-Za-z])|주간?(?![가-힣])|개월|달(?![가-힣])|년간?)",
            "span",
        ),
        (r"\s?(?:σ|sigmas?(?![A-Za-z])|standard deviations?(?![A-Za-z])|표준\s?편차|시그마)", "sigma"),
        (r"(?:\s?(?:x(?![A-Za-z])|×|배)|-fold(?![A-Za-z]))", "ratio"),
        (r"\s?times(?![A-Za-z])", "times"),
        (r"\s?위(?![가-힣]*험)", "rank"),
        (r"(?:st|nd|rd|th)(?![A-Za-z])|\s?번째|\s?째", "rank"),
        (r"\s?(?:개|건|회|번|차례|곳|가지|종(?!목))", "counted"),
    )
)
#: What may stand before a number: a sign, a currency, both in either order.
PREFIX: Final = re.compile(
    r"(?P<sign>[-+▲▼△▽±]\s?)?(?P<currency>(?<![A-Za-z-])(?:US\$|USD|KRW)\s?|[₩$€¥]\s?)?(?P<inner>[-+▲▼△▽±])?$"
)
ORDINAL_PREFIX: Final = re.compile(r"(?:#|\bNo\.\s?|\bnumber\s|\brank(?:ed)?\s|제)$", re.IGNORECASE)

# --- nouns --------------------------------------------------------------------------------------------------

NOUNS: Final = (
    (re.compile(r"(?:markets?|pairs?|coins?|tokens?|symbols?|assets?|gainers?|losers?)\b", re.I), "markets"),
    (re.compile(r"(?:trades?|transactions?|fills?|executions?)\b", re.I), "trades"),
    (re.compile(r"(?:anomal(?:y|ies)|alerts?|outliers?|spikes?|bursts?|jumps?|moves?)\b", re.I), "anomalies"),
    (re.compile(r"(?:gaps?|holes?|outages?|interruptions?)\b", re.I), "gaps"),
    (re.compile(r"hours?\b", re.I), "hours"),
    (re.compile(r"(?:frames?|messages?|letters?)\b", re.I), "frames"),
    (re.compile(r"rows?\b", re.I), "rows"),
    (re.compile(r"프레임|메시지"), "frames"),
    (re.compile(r"행(?![가-힣])"), "rows"),
    (re.compile(r"종목|마켓|시장|코인|토큰"), "markets"),
    (re.compile(r"체결|거래(?!대금|량|일)"), "trades"),
    (re.compile(r"이상|급변|급등락|경보"), "anomalies"),
    (re.compile(r"공백|누락|결손|중단|끊김"), "gaps"),
)
#: "no gaps", "without any anomalies", "공백은 없었다": a count of zero is claimed.
NONE_EN: Final = re.compile(
    r"\b(?:no|without(?: any)?|free of|not (?:a|one)(?: single)?)\s+(?P<noun>[a-z-]+(?:\s+[a-z-]+){0,2})", re.I
)
NONE_KO: Final = re.compile(
    r"(?P<noun>이상|급변|급등락|경보|공백|누락|결손|중단|끊김)(?:\s?(?:징후|현상|구간|거래|신호))?(?:[은는이가도]|조차)?\s(?:전혀\s|하나도\s)?없"
)

# --- directions ---------------------------------------------------------------------------------------------

UP: Final = re.compile(
    r"\b(?:ris(?:e|es|en|ing)|rose|gain(?:s|ed|ing|ers?)?|climb(?:s|ed|ing)?|advanc(?:e|es|ed|ing|ers?)|"
    r"(?<!made )(?<!make )up(?! to\b)|"
    r"higher|jump(?:s|ed|ing)?|surg(?:e|es|ed|ing)|increas(?:e|es|ed|ing)|rall(?:y|ies|ied|ying)|soar(?:s|ed|ing)?|"
    r"spik(?:e|es|ed|ing)|added|grew|grow(?:s|n|ing|th)?|positive)\b|"
    r"상승|올랐|오른|올라|오르|급등(?!락)|강세|증가|늘었|늘어|늘며|뛰었|뛴|뛰어|반등|치솟|플러스",
    re.I,
)
DOWN: Final = re.compile(
    r"\b(?:f[ae]ll(?:s|en|ing)?|declin(?:e|es|ed|ing|ers?)|drop(?:s|ped|ping)?|lost|los(?:e|es|s|ses|ing|ers?)|"
    r"down|lower|slid(?:e|es|ing)?|slip(?:s|ped|ping)?|plung(?:e|es|ed|ing)|tumbl(?:e|es|ed|ing)|sank|sunk|"
    r"decreas(?:e|es|ed|ing)|retreat(?:s|ed|ing)?|shed(?:s|ding)?|slump(?:s|ed|ing)?|crash(?:es|ed|ing)?|"
    r"shrank|shrunk|dip(?:s|ped)?|negative)\b|"
    r"하락|내렸|내린|내려|내리|떨어|급락|약세|감소|줄었|줄어|줄며|밀렸|밀려|빠졌|빠진|폭락|마이너스",
    re.I,
)
#: "over 3 %" must be true of the fact itself, not of the fact rounded.
AT_LEAST_BEFORE: Final = re.compile(
    r"(?:(?<!turned )(?<!turn )(?<!turning )\bover|\b(?:more than|above|at least|exceed(?:ed|ing|s)?|beyond|"
    r"topp(?:ed|ing)))\s$",
    re.I,
)
AT_MOST_BEFORE: Final = re.compile(
    r"\b(?:under|less than|below|at most|up to|nearly|almost|close to|just shy of|fewer than)\s$|(?:거의|최대)\s$", re.I
)
AT_LEAST_AFTER: Final = re.compile(
    r"\s?(?:이상(?!\s?(?:징후|거래|변동|현상|신호|급))|초과|넘)|을? 넘|를 넘|\s?or more\b"
)
AT_MOST_AFTER: Final = re.compile(r"\s?(?:이하|미만)|에 (?:육박|못)|\s?or (?:less|fewer)\b")

# --- numerals in words --------------------------------------------------------------------------------------

_ONES: Final = tuple(
    re.findall(
        r"[a-z]+",
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen",
    )
)
_TENS: Final = re.findall(r"[a-z]+", "twenty thirty forty fifty sixty seventy eighty ninety")
WORDS_EN: Final = (
    {word: value for value, word in enumerate(_ONES)}
    | {word: 10 * value for value, word in enumerate(_TENS, 2)}
    | {"dozen": 12, "score": 20}
)
SCALES_EN: Final = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = "|".join(sorted([*WORDS_EN, *SCALES_EN], key=len, reverse=True))
#: A whole numeral in English words. "No one", "one of the", "one another" and "one by one" count nothing.
NUMERAL_EN: Final = re.compile(
    rf"(?<![A-Za-z-])(?:an?\s+(?=hundred|thousand|million|billion|trillion|dozen))?(?:{_WORD})"
    rf"(?:(?:\s+and\s+|\s+|-)(?:{_WORD}))*(?:\s+point(?:\s+(?:{'|'.join(_ONES)}))+)?(?![A-Za-z])",
    re.I,
)
IDIOMS_EN: Final = re.compile(
    r"\bone (?:of|another|by one|side)\b|\b(?:no|any|every|some|the|this|that|each|another) one\b|\bone-sided\b|"
    r"\bat one point\b|\ball in one\b|\bat once\b|\bon one hand\b|다시 한 ?번|또 한 ?번|"
    r"한번|한 번에|(?<=중 )하나",
    re.I,
)
#: Several, uncounted: no fact can prove it.
VAGUE: Final = re.compile(
    r"\b(?:dozens|scores|hundreds|thousands|millions|billions|trillions|two-thirds|three-quarters|fifths?|"
    r"half a dozen|umpteen)\b|\d+\s?분의\s?\d+|"
    r"(?<![가-힣])수(?:십|백|천|만|억|조)(?:여?\s?(?:개|건|원|만|억|조|배|종))?|"
    r"(?<![가-힣])몇(?:십|백|천|만|억)|"
    r"(?:이틀|사흘|나흘|닷새|엿새|이레|열흘|보름)(?![가-힣]{3})|"
    r"\b(?:every|each|both|neither|couple|pairs? of|duo|trio|quartet|handful|majority|minority|several|many|few|"
    r"everything|everyone|none of|nobody|entire(?:ly)?|across the board|unanimous(?:ly)?)\b|"
    r"(?<!in )(?<!above )(?<!after )(?<!at )(?<!of )\ball\b|\bof all\b(?! (?:KRW )?turnover\b)|"
    r"(?<!the )\bmost\b|\bthe most of\b|"
    r"\b[a-z]+-?fold\b|\b\w*tupl(?:e|es|ed|ing)\b|"
    r"\b(?:rank(?:ed|s)?|number|no\.)\s+[ivxlcdm]+\b|"
    r"모든|모두(?! 가격)|전체|전부|대부분|대다수|과반|다수|소수의|절대다수|일제히|"
    r"전\s?(?:종목|마켓|시장|시간)|각각|여러|양쪽|둘 다|둘 모두|"
    r"(?<![가-힣])온통|"
    r"\bthan (?=\x00|any\b|other|its\b|the (?:market|rest))|(?<=\x00)보다|\bout(?:perform|pac)\w*",
    re.I,
)
#: What our own lines say of themselves, no claim about the day.
OWN_WORDS: Final = re.compile(r"every number checked|모든 숫자를 데이터 웨어하우스와 대조")
#: Coins by name: no fact is about a name that is no code, so nothing may be said of them.
COINS: Final = re.compile(
    r"\b(?:bitcoins?|ether(?:eum)?|ripple|doge(?:coin)?|solana|cardano|tether|altcoins?)\b|"
    r"비트코인|이더리움|리플|도지코인|솔라나|에이다|테더|알트코인",
    re.I,
)
#: A word in capitals that is no name we know: another market's symbol, or a Roman numeral.
CAPITALS: Final = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z][A-Z0-9]+|[VXLCDM])(?![A-Za-z0-9])")
CAPITALS_KNOWN: Final = frozenset({"KST", "UTC", "GMT", "KRW", "AM", "PM", "AI", "OHLCV"})
RATIOS: Final = (
    (re.compile(r"\b(?:twice|doubl(?:e|es|ed|ing)|twofold)\b|갑절|곱절", re.I), Decimal(2)),
    (re.compile(r"\b(?:thrice|tripl(?:e|es|ed|ing)|threefold)\b", re.I), Decimal(3)),
    (re.compile(r"\b(?:quadrupl(?:e|es|ed|ing)|fourfold)\b", re.I), Decimal(4)),
    (re.compile(r"\b(?:half|halves|halved|halving)\b|절반", re.I), Decimal("0.5")),
    (re.compile(r"\ba (?:quarter)\b|\bone[- ]quarter\b", re.I), Decimal("0.25")),
    (re.compile(r"\b(?:one|a)[- ]third\b", re.I), Decimal(1) / 3),
)
_ORDINALS: Final = re.findall(
    r"[a-z]+", "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
ORDINALS_EN: Final = {word: value for value, word in enumerate(_ORDINALS, 1)}
ORDINAL_EN: Final = re.compile(rf"\b(?:{'|'.join(_ORDINALS)})(?:ly)?\b", re.I)

NATIVE: Final = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "넷": 4, "네": 4, "넉": 4, "다섯": 5,
    "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9,
}  # fmt: skip
NATIVE_TENS: Final = {
    "열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40, "쉰": 50, "예순": 60, "일흔": 70, "여든": 80,
    "아흔": 90,
}  # fmt: skip
COUNTERS: Final = r"(?:개|건|종목|마켓|시장|시간|번|회|배|차례|가지|곳|쌍)"
NATIVE_KO: Final = re.compile(
    rf"(?<![가-힣])(?P<ten>{'|'.join(NATIVE_TENS)})?(?P<one>{'|'.join(sorted(NATIVE, key=len, reverse=True))})?"
    rf"(?=\s?{COUNTERS}(?!\s?(?:국|계|별)))"
)
#: Native numerals that stand alone ("종목 셋이 올랐다").
STANDALONE_KO: Final = re.compile(
    r"(?<![가-힣])(?P<ten>열|스물|서른|마흔|쉰)?(?P<one>하나|둘|셋|넷|다섯|여섯|일곱|여덟|아홉)"
    r"(?=(?:이|은|는|도|만|의|을|를|과|와|가|뿐)?(?![가-힣]))"
)
ORDINAL_KO: Final = re.compile(
    r"(?<![가-힣])(?:(?P<first>첫)\s?번?째|(?P<n>둘|두|셋|세|넷|네|다섯|여섯|일곱|여덟|아홉|열)\s?번?째)"
)
#: Words that look like "numeral + counter" and are not: 사건 (event), 조건 (condition), 이번 (this time) …
FALSE_SINO: Final = re.compile(
    r"공백|사건|조건|구분|조회|만회|만일|오일|일일|이번|이건|이분|이일|이회|사회|구원|일원|십분|조개|이월|조사|사이|일시|공개|"
    r"만이|천이|백이|조이|이만|천일|사조|백조|이조|구조"
)
_SINO: Final = "일이삼사오육칠팔구십백천"
SINO_RUN: Final = re.compile(rf"(?<![가-힣])[영공만억조경{_SINO}]+(?:\s[{_SINO}]+[만억조]|\s[{_SINO}]+(?=\s?원))*")
PARTICLES: Final = re.compile(r"(?:이|가|은|는|을|를|의|로|에|와|과|도|까지|부터|여|으로|이다|다)?(?![가-힣])")

# --- time ---------------------------------------------------------------------------------------------------

MONTHS: Final = re.findall(r"[a-z]+", "jan feb mar apr may jun jul aug sep oct nov dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
DATES: Final = (
    re.compile(r"(?<!\d)(?P<y>\d{4})[-./](?P<m>\d{1,2})[-./](?P<d>\d{1,2})(?!\d)"),
    re.compile(rf"\b{_MONTH}\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s(?P<y>\d{{4}}))?\b(?![:,.]?\d)", re.I),
    re.compile(rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}(?:,?\s(?P<y>\d{{4}}))?\b", re.I),
    re.compile(r"(?<!\d)(?:(?P<y>\d{4})년\s?)?(?P<m>\d{1,2})월\s?(?P<d>\d{1,2})일"),
    re.compile(r"(?<!\d)(?P<y>\d{4})년(?:\s?(?P<m>\d{1,2})월)?"),
    re.compile(r"(?<![\d,.])(?P<m>\d{1,2})월"),
    re.compile(r"(?<![\d,.])(?P<d>\d{1,2})일(?!간)"),
    re.compile(rf"\b{_MONTH}\s(?P<y>\d{{4}})\b", re.I),
)
TIMES: Final = (
    re.compile(
        r"(?<![\d:])(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}))?(?![\d:])\s?(?P<half>[ap]\.?m\b\.?)?\s?(?P<zone>UTC|GMT|Z\b)?",
        re.I,
    ),
    re.compile(r"(?<![\d:.,])(?P<h>\d{1,2})\s?(?P<half>[ap]\.?m\b\.?)", re.I),
    re.compile(r"(?P<half>오전|오후)?\s?(?<![\d:.,])(?P<h>\d{1,2})시(?!간)(?:\s?(?P<min>\d{1,2})분)?"),
)
MOMENTS: Final = (
    (re.compile(r"\bmidnight\b|자정", re.I), 0),
    (re.compile(r"\bnoon\b|\bmidday\b|정오", re.I), 12),
)
WEEKDAYS: Final = re.compile(
    r"\b(?P<day>monday|tuesday|wednesday|thursday|friday|saturday|sunday)s?\b|(?P<ko>[월화수목금토일])요일", re.I
)
WEEKDAYS_EN: Final = re.findall(r"[a-z]+", "monday tuesday wednesday thursday friday saturday sunday")
WEEKDAYS_KO: Final = "월화수목금토일"

# --- measures -----------------------------------------------------------------------------------------------

#: Words that say which figure a number is; the earlier pattern wins where two begin at the same place.
MEASURES: Final = (
    (re.compile(r"\b(?:from )?(?:low to high|high to low)\b|저가 대비 고가", re.I), "range"),
    (re.compile(r"\b(?:ranges?|swings?|spreads?|volatility|volatile)\b|변동\s?(?:폭|성)|등락\s?폭", re.I), "range"),
    (re.compile(r"\b(?:minutes?|recent mean|anomal(?:y|ies|ous))\b|분봉|직전 평균|이상 (?:징후|급)|1분", re.I), "move"),
    (re.compile(r"\b(?:shares?|made up|makes up|account(?:ed|s|ing) for)\b|비중|점유", re.I), "share"),
    (re.compile(r"\b(?:turnover|turned over|volumes?|traded value)\b|거래\s?(?:대금|액|량)", re.I), "turnover"),
    (re.compile(r"\b(?:clos(?:e|es|ed|ing)(?! to\b)|ended|finished|settled)\b|종가|마감", re.I), "close"),
    (re.compile(r"\b(?:open(?:s|ed|ing)?|began|started)\b|시가|출발|개장|시작", re.I), "open"),
    (re.compile(r"\b(?:highs?|highest|peak(?:s|ed)?|maximum|topped)\b|고가|최고|고점", re.I), "high"),
    (re.compile(r"\b(?:lows?|lowest|bottom(?:s|ed)?|trough|minimum)\b|저가|최저|저점", re.I), "low"),
    (re.compile(r"\b(?:average|mean|vwap|median)\b|평균", re.I), "average"),
    (re.compile(r"\b(?:changes?|returns?)\b|등락률|상승률|하락률|수익률", re.I), "change"),
    (
        re.compile(
            r"\b(?:weeks?|weekly|months?|monthly|years?|yearly|annual(?:ly)?|(?:an|one|the past|the last) hour|"
            r"hourly)\b|"
            r"주간|월간|연간|지난주|지난달|전주|전월|전년|한 시간",
            re.I,
        ),
        "period",
    ),
    (re.compile(r"\b(?:coverage|covered|verified)\b|커버리지|검증", re.I), "coverage"),
)
NOT_REPAIRED: Final = re.compile(r"\b(?:unrepaired|not repaired|open)\b|미복구|복구되지", re.I)
UNCHANGED: Final = re.compile(r"\b(?:unchanged|flat)\b|보합|변동 없", re.I)
FROM_OPEN: Final = re.compile(r"\bopening\b|시가", re.I)
LEFT_OUT: Final = re.compile(r"\bnot name\b|이름이 없는", re.I)
ANOMALY_KINDS: Final = re.compile(
    r"\b(?P<price>price)\b|\b(?P<volume>volume)\b|(?P<ko_price>가격)|(?P<ko_volume>거래량)", re.I
)
#: One thing spoken of without its name; "they" are the markets.
PRONOUN: Final = re.compile(
    r"\b(?:it|its|that market|this market|the (?:pair|coin|token|leader))\b|해당|이 (?:마켓|종목)", re.I
)
#: Where a price began, not where it closed.
FROM_BEFORE: Final = re.compile(r"\bfrom\s$", re.I)
FROM_AFTER: Final = re.compile(r"\s?(?:에서|부터)")
HOUR_STATES: Final = {
    "red": re.compile(r"\b(?:broken|red|failed)\b|손상", re.I),
    "unchecked": re.compile(r"\b(?:not (?:yet )?checked|unchecked)\b|미확인", re.I),
    "provisional": re.compile(r"\bprovisional(?:ly)?\b|잠정", re.I),
    "green": re.compile(r"\b(?:verified|coverage|covered)\b|검증|커버리지", re.I),
}
OUT_OF_BEFORE: Final = re.compile(r"\bof (?:the )?$", re.I)
OUT_OF_AFTER: Final = re.compile(r"\s?(?:중|가운데)")
ASIDE: Final = {
    "dead": re.compile(r"\b(?:unreadable|dead[- ]letters?|dead-lettered)\b|판독 불가|데드 레터", re.I),
    "quarantined": re.compile(r"\b(?:refused|quarantined?)\b|격리", re.I),
}
#: Coverage said to be whole, in a sentence that states no share or hours of it.
WHOLE: Final = re.compile(
    r"(?<!not )(?<!n't )(?<!not yet )(?<!in)\b(?:verified|complete(?:d|ly)?|fully|full coverage|intact|uninterrupted|"
    r"gapless|seamless(?:ly)?|perfect(?:ly)?|flawless(?:ly)?|nothing)\b|(?<!미)검증|완전|빠짐없|온전|끊김없|전 구간",
    re.I,
)
#: Words that look like a direction and claim none: headings of rankings, the cause of a gap.
NO_CLAIM: Final = re.compile(
    r"gainers?|losers?|advancers?|decliners?|상승(?=률순)|하락(?=률순)|(?<=connection[ -])lost", re.I
)

# --- the alphabet -------------------------------------------------------------------------------------------

#: What a text may be written in. Anything else (other scripts, ½, ②, Ⅳ, 三, invisible characters) is refused.
ALPHABET: Final = re.compile("[\n -~가-힣À-ÖØ-öø-ÿ₩€¥°±·×÷“”‘’–—−…•→←↑↓▲▼△▽σ≈≥≤~「」『』【】✓✗️\u00a0\u3000！-～￦、。]")
