"""Every sentence and label of the report that we write ourselves, in English and Korean.

Lives here: words, with places for facts (``{{f:<id>}}``) and names (``{market}``). Doesn't: which of them are used
(``deterministic``, ``blocks``, ``page``). Both languages hold the same keys; a test compares them.

The Korean avoids particles after market codes, since which one is right depends on how the code is read aloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ENGLISH: Final = {
    # sentences
    "empty": "No trades were recorded on {{f:report.date}}.",
    "breadth": "Of {{f:krw.markets}} KRW markets, {{f:krw.advancing}} rose and {{f:krw.declining}} fell.",
    "turnover": "They turned over {{f:krw.turnover}} in {{f:krw.trades}} trades.",
    "turnover_change": "Turnover against the day before, over the same markets: {{f:krw.turnover.change}}.",
    "leader": "{market} led by turnover with {{f:krw.volume.1.turnover}}, a share of {{f:krw.volume.1.share}}; "
    "it closed at {{f:krw.volume.1.close}} ({{f:krw.volume.1.change}}).",
    "leader_shown": "{market} turned over {{f:krw.volume.1.turnover}}, a share of {{f:krw.volume.1.share}}; "
    "it closed at {{f:krw.volume.1.close}} ({{f:krw.volume.1.change}}).",
    "gainer": "Best: {market} {{f:krw.gainer.1.change}}.",
    "gainer_shown": "Among the gainers: {market} {{f:krw.gainer.1.change}}.",
    "loser": "Worst: {market} {{f:krw.loser.1.change}}.",
    "loser_shown": "Among the losers: {market} {{f:krw.loser.1.change}}.",
    "volatile": "Widest range from low to high: {market} {{f:krw.volatility.1.range}}.",
    "volatile_shown": "Range from low to high: {market} {{f:krw.volatility.1.range}}.",
    "other": "Other markets: {{f:other.markets}} traded, {{f:other.advancing}} rose, {{f:other.declining}} fell.",
    "anomaly_price": "Price anomalies: {{f:anomaly.price.count}}; the largest: {market} {{f:anomaly.price.1.move}} "
    "{basis} ({{f:anomaly.price.1.at}}).",
    "anomaly_price_shown": "Price anomalies: {{f:anomaly.price.count}}; one of them: {market} "
    "{{f:anomaly.price.1.move}} {basis} ({{f:anomaly.price.1.at}}).",
    "anomaly_volume": "Volume anomalies: {{f:anomaly.volume.count}}; the largest: {market} "
    "at {{f:anomaly.volume.1.ratio}} its usual hour (from {{f:anomaly.volume.1.at}}).",
    "anomaly_volume_shown": "Volume anomalies: {{f:anomaly.volume.count}}; one of them: {market} "
    "at {{f:anomaly.volume.1.ratio}} its usual hour (from {{f:anomaly.volume.1.at}}).",
    "anomaly_none": "No anomalies were detected.",
    "from_open": "For {{f:krw.from_open}} markets the change is measured from the day's opening price: "
    "the day before has none.",
    # the coverage line
    "covered": "Coverage: {{f:coverage.hours.green|bare}} of {{f:window.hours}} verified ({{f:coverage.share}}).",
    "covered_red": "Broken: {{f:coverage.hours.red}}.",
    "covered_unchecked": "Not yet checked: {{f:coverage.hours.unchecked}}.",
    "covered_provisional": "Provisional: {{f:coverage.hours.provisional}}, the hour of receipt is not over.",
    "aside_dead": "Set aside, unreadable: {{f:aside.dead}} trade frames.",
    "aside_quarantined": "Set aside, refused: {{f:aside.quarantined}} trade rows.",
    "gaps_none": "No gaps known.",
    "gaps": "Gaps: {{f:gap.count}}, not repaired {{f:gap.open}}.",
    "gap": "{exchange} {stream} {{f:gap.N.from}} to {{f:gap.N.to}} ({cause})",
    # labels
    "title": "Daily market report",
    "day": "{{f:report.date}}, {{f:window.start}} to {{f:window.end}}",
    "gainers": "Gainers",
    "losers": "Losers",
    "volumes": "By turnover",
    "volatilities": "By range",
    "others": "Other markets",
    "columns_move": "market · close · change · turnover",
    "columns_volume": "market · turnover · share · change",
    "columns_range": "market · range · low · high",
    "anomalies": "Anomalies",
    "anomaly_price_row": "{market} {{f:anomaly.price.N.move}} {basis}, {{f:anomaly.price.N.at}}",
    "basis_return": "within a minute",
    "basis_mean": "off its recent mean",
    "anomaly_volume_row": "{market} {{f:anomaly.volume.N.ratio}} its usual hour, from {{f:anomaly.volume.N.at}}",
    "anomalies_more": "{{f:anomaly.price.count}} price and {{f:anomaly.volume.count}} volume anomalies in all",
    "origin_llm": "Written by AI ({model}); every number checked against the warehouse.",
    "origin_deterministic": "Written without AI: {reason}.",
    "basis": "* measured from the day's opening price",
    "left_out_krw": "Rankings do not name {{f:krw.left_out}} KRW markets that the totals count.",
    "left_out_other": "Rankings do not name {{f:other.left_out}} other markets that the totals count.",
    "hourly": "KRW turnover by hour",
    "coverage_title": "Coverage by hour",
    "state_green": "verified", "state_provisional": "provisional", "state_unchecked": "not checked",
    "state_red": "broken",
    "archive": "Earlier reports",
    "language": "English",
    "market": "Market", "close": "Close", "change": "Change", "turnover_word": "Turnover", "range_word": "Range",
    "day_word": "Day", "share": "Share", "rose": "Rose", "fell": "Fell", "flat": "Unchanged", "trades": "Trades",
    "coverage": "Coverage", "low": "Low", "high": "High",
    # why no model wrote it
    "reason_no_key": "no key for a language model is set",
    "reason_no_data": "there is nothing to tell",
    "reason_dry_run": "this is a dry run",
    "reason_unreachable": "the language model did not answer",
    "reason_limited": "the language model was overloaded",
    "reason_rejected": "the language model rejected the request",
    "reason_refusal": "the language model declined",
    "reason_cut_off": "the language model's text was cut off",
    "reason_malformed": "the language model's answer was unusable",
    "reason_slot": "the AI text named a fact that does not exist",
    "reason_number": "the AI text held a number that the facts do not prove",
    "reason_language": "the AI text was in the wrong language",
}  # fmt: skip

_KOREAN: Final = {
    "empty": "{{f:report.date}}에는 기록된 체결이 없습니다.",
    "breadth": "KRW 마켓 {{f:krw.markets}} 가운데 상승 {{f:krw.advancing}}, 하락 {{f:krw.declining}}입니다.",
    "turnover": "거래대금은 {{f:krw.turnover}}, 체결은 {{f:krw.trades}}입니다.",
    "turnover_change": "전일 대비 거래대금(동일 마켓 기준): {{f:krw.turnover.change}}.",
    "leader": "거래대금 선두: {market} {{f:krw.volume.1.turnover}} (비중 {{f:krw.volume.1.share}}), "
    "종가 {{f:krw.volume.1.close}} ({{f:krw.volume.1.change}}).",
    "leader_shown": "{market} 거래대금 {{f:krw.volume.1.turnover}} (비중 {{f:krw.volume.1.share}}), "
    "종가 {{f:krw.volume.1.close}} ({{f:krw.volume.1.change}}).",
    "gainer": "최대 상승: {market} {{f:krw.gainer.1.change}}.",
    "gainer_shown": "상승한 마켓 중 하나: {market} {{f:krw.gainer.1.change}}.",
    "loser": "최대 하락: {market} {{f:krw.loser.1.change}}.",
    "loser_shown": "하락한 마켓 중 하나: {market} {{f:krw.loser.1.change}}.",
    "volatile": "저가 대비 고가 폭이 가장 큰 마켓: {market} {{f:krw.volatility.1.range}}.",
    "volatile_shown": "저가 대비 고가 폭: {market} {{f:krw.volatility.1.range}}.",
    "other": "그 밖의 마켓 {{f:other.markets}} 가운데 상승 {{f:other.advancing}}, 하락 {{f:other.declining}}입니다.",
    "anomaly_price": "가격 이상 징후: {{f:anomaly.price.count}}. 가장 큰 것: {market} {basis} "
    "{{f:anomaly.price.1.move}} ({{f:anomaly.price.1.at}}).",
    "anomaly_price_shown": "가격 이상 징후: {{f:anomaly.price.count}}. 그중 하나: {market} {basis} "
    "{{f:anomaly.price.1.move}} ({{f:anomaly.price.1.at}}).",
    "anomaly_volume": "거래량 이상 징후: {{f:anomaly.volume.count}}. 가장 큰 것: {market} 평소의 "
    "{{f:anomaly.volume.1.ratio}} ({{f:anomaly.volume.1.at}}부터).",
    "anomaly_volume_shown": "거래량 이상 징후: {{f:anomaly.volume.count}}. 그중 하나: {market} 평소의 "
    "{{f:anomaly.volume.1.ratio}} ({{f:anomaly.volume.1.at}}부터).",
    "anomaly_none": "이상 징후는 없습니다.",
    "from_open": "마켓 {{f:krw.from_open}}의 등락률은 전일 가격이 없어 당일 시가를 기준으로 합니다.",
    "covered": "커버리지: {{f:window.hours}} 중 {{f:coverage.hours.green}} 검증 완료 ({{f:coverage.share}}).",
    "covered_red": "손상: {{f:coverage.hours.red}}.",
    "covered_unchecked": "미확인: {{f:coverage.hours.unchecked}}.",
    "covered_provisional": "잠정: {{f:coverage.hours.provisional}}, 수신 시각이 아직 끝나지 않았습니다.",
    "aside_dead": "제외된 체결 프레임(판독 불가): {{f:aside.dead}}.",
    "aside_quarantined": "제외된 체결 행(격리): {{f:aside.quarantined}}.",
    "gaps_none": "알려진 공백은 없습니다.",
    "gaps": "공백 {{f:gap.count}}, 미복구 {{f:gap.open}}.",
    "gap": "{exchange} {stream} {{f:gap.N.from}}~{{f:gap.N.to}} ({cause})",
    "title": "일간 시장 리포트",
    "day": "{{f:report.date}} {{f:window.start}}~{{f:window.end}} KST",
    "gainers": "상승률순",
    "losers": "하락률순",
    "volumes": "거래대금순",
    "volatilities": "변동 폭순",
    "others": "그 밖의 마켓",
    "columns_move": "마켓 · 종가 · 등락률 · 거래대금",
    "columns_volume": "마켓 · 거래대금 · 비중 · 등락률",
    "columns_range": "마켓 · 변동 폭 · 저가 · 고가",
    "anomalies": "이상 징후",
    "anomaly_price_row": "{market} {basis} {{f:anomaly.price.N.move}}, {{f:anomaly.price.N.at}}",
    "basis_return": "분봉",
    "basis_mean": "직전 평균 대비",
    "anomaly_volume_row": "{market} 시간당 거래량 평소의 {{f:anomaly.volume.N.ratio}}, {{f:anomaly.volume.N.at}}부터",
    "anomalies_more": "모두 가격 {{f:anomaly.price.count}}, 거래량 {{f:anomaly.volume.count}}",
    "origin_llm": "AI 작성({model}). 모든 숫자를 데이터 웨어하우스와 대조했습니다.",
    "origin_deterministic": "AI 없이 작성: {reason}.",
    "basis": "* 당일 시가 기준",
    "left_out_krw": "순위에 이름이 없는 KRW 마켓 {{f:krw.left_out}}도 합계에 포함했습니다.",
    "left_out_other": "순위에 이름이 없는 그 밖의 마켓 {{f:other.left_out}}도 합계에 포함했습니다.",
    "hourly": "시간대별 KRW 거래대금",
    "coverage_title": "시간대별 커버리지",
    "state_green": "검증", "state_provisional": "잠정", "state_unchecked": "미확인", "state_red": "손상",
    "archive": "지난 리포트",
    "language": "한국어",
    "market": "마켓", "close": "종가", "change": "등락률", "turnover_word": "거래대금", "range_word": "변동 폭",
    "day_word": "하루", "share": "비중", "rose": "상승", "fell": "하락", "flat": "보합", "trades": "체결",
    "coverage": "커버리지", "low": "저가", "high": "고가",
    "reason_no_key": "언어 모델 키가 설정되지 않음",
    "reason_no_data": "전할 내용이 없음",
    "reason_dry_run": "시험 실행임",
    "reason_unreachable": "언어 모델이 응답하지 않음",
    "reason_limited": "언어 모델이 과부하 상태임",
    "reason_rejected": "언어 모델이 요청을 거부함",
    "reason_refusal": "언어 모델이 작성을 거절함",
    "reason_cut_off": "언어 모델의 글이 중간에 끊김",
    "reason_malformed": "언어 모델의 답을 쓸 수 없음",
    "reason_slot": "AI 글이 존재하지 않는 사실을 가리킴",
    "reason_number": "AI 글에 사실로 증명되지 않는 숫자가 있음",
    "reason_language": "AI 글의 언어가 다름",
}  # fmt: skip

CATALOGUES: Final[Mapping[str, Mapping[str, str]]] = {"en": _ENGLISH, "ko": _KOREAN}
