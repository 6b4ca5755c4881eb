"""Run one drawn case through the engine and through the reference, and list all differences."""

from collections import Counter
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction

from shared.strategy import bars as engine
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import run_backtest
from shared.strategy.document.parse import parse_strategy
from tests.reference.document import Json, canonical, part
from tests.reference.execution import Fill, Result, Run, Trade, candles_of
from tests.reference.metrics import metrics
from tests.reference.random_cases import Case
from tests.unit.strategy_reference.talib_values import talib_columns

TOLERANCE = 1.01e-6  # both are rounded to 6 places and may round differently


@dataclass
class Outcome:
    """`differences` are failures; `set_aside` means that they disappear when the reference is given TA-Lib's
    values."""

    differences: list[str]
    set_aside: bool
    hits: Counter[str]


def compare(case: Case) -> Outcome:
    terms = case.terms
    strategy = parse_strategy(case.document)
    on = engine.Terms(
        engine.Instrument(terms.tick_size, terms.qty_step, terms.min_order_qty, terms.min_notional),
        terms.fee,
        terms.slippage,
        terms.initial_balance,
    )
    bars = [engine.Bar(b.time, b.open, b.high, b.low, b.close, b.volume) for b in case.bars]
    report = run_backtest(strategy, bars, on, case.trade_from, arithmetic="decimal", search=False)
    if run_backtest(strategy, bars, on, case.trade_from, arithmetic="decimal", search=True) != report:
        return Outcome(["searching for events gives another report than stepping"], False, Counter())
    if run_backtest(strategy, bars, on, case.trade_from) != report:
        return Outcome(["the default arithmetic gives another report than decimals"], False, Counter())
    own = Run(case.document, case.bars, terms, trade_from=case.trade_from).run()
    differences = differences_of(case, strategy.content_hash, report, own)
    set_aside = False
    if differences:
        indicators = part(part(case.document, "strategy_config"), "indicators")
        columns = talib_columns(candles_of(case.bars), indicators)
        given = Run(case.document, case.bars, terms, columns, case.trade_from).run()
        remaining = differences_of(case, strategy.content_hash, report, given)
        set_aside, differences = not remaining, remaining
    return Outcome(differences, set_aside, hits_of(case, own))


def differences_of(case: Case, strategy_hash: str, report: BacktestReport, mine: Result) -> list[str]:
    found = []
    if strategy_hash != mine.strategy_hash:
        found.append(f"content hash: engine {strategy_hash}, reference {mine.strategy_hash}")
    if report.fingerprint != mine.fingerprint:
        found.append(f"fingerprint: engine {report.fingerprint}, reference {mine.fingerprint}")
    if (len(report.fills), len(report.trades)) != (len(mine.fills), len(mine.trades)):
        found.append(
            f"counts: engine {len(report.fills), len(report.trades)}, reference {len(mine.fills), len(mine.trades)}"
        )
    pairs: list[tuple[object, Fill | Trade]] = [
        *zip(report.fills, mine.fills, strict=False),
        *zip(report.trades, mine.trades, strict=False),
    ]
    for theirs, ours in pairs:
        for name in (each.name for each in fields(ours)):
            there, here = getattr(theirs, name), getattr(ours, name)
            if (Fraction(there) if isinstance(there, Decimal) else there) != here:
                what = "trade" if isinstance(ours, Trade) else "fill"
                found.append(f"{what} {theirs}: {name} is {here} in the reference")
    if Fraction(report.final_equity) != mine.final_equity:
        found.append(f"final equity: engine {report.final_equity}, reference {mine.final_equity}")
    balance = Fraction(case.terms.initial_balance)
    for name, value in metrics(case.bars, mine, balance, case.trade_from).items():
        there = getattr(report.metrics, name)
        if not _same(there, value):
            found.append(f"metric {name}: engine {there}, reference {value}")
    return found


def _same(there: float | None, here: float | None) -> bool:
    if there is None or here is None:
        return there is here
    return abs(there - here) <= TOLERANCE * max(1.0, abs(here))


# The elements of the grammar that a case uses, and the rules that its run applied.


def hits_of(case: Case, result: Result) -> Counter[str]:
    hits = Counter({f"rule: {name}": count for name, count in result.hits.items()})
    hits.update(f"reason: {fill.reason}" for fill in result.fills)
    hits["case: recorded candles" if case.is_recorded else "case: made-up candles"] += 1
    hits["case: candles that stand still"] += case.has_halts
    hits["case: traded"] += bool(result.trades)
    hits["case: fills"] += len(result.fills)
    hits["case: decides from a given time"] += case.trade_from is not None
    if result.trades:
        hits.update(_of_document(case.document))
    return hits


def _of_document(document: Json) -> set[str]:
    """Every element of the grammar once; called only for documents that traded."""
    config, risk = part(document, "strategy_config"), part(canonical(document), "risk_management")
    hits = {f"side: {config['side']}", f"leverage: {'1' if risk['leverage'] == '1' else 'more'}"}
    for spec in part(config, "indicators").values():
        assert isinstance(spec, dict)
        hits |= {f"indicator: {spec['type']}", f"source: {spec.get('source') or 'default'}"}
        hits |= {"deviations"} & spec.keys()
    for key in ("entry_conditions", "exit_conditions"):
        hits |= _of_condition(document.get(key))
    hits.add(f"size: {part(risk, 'position_size')['type']}")
    if "stop_loss" in risk:
        hits.add(f"stop: {part(risk, 'stop_loss')['type']}")
    levels = risk.get("take_profits")
    if isinstance(levels, list) and levels:
        whole = sum(Decimal(level["close_percent"]) for level in levels) == 100
        hits |= {f"targets: {levels[0]['type']}", f"targets: {len(levels)} levels"}
        hits.add("targets: 100 percent" if whole else "targets: less than 100 percent")
    if "trailing_stop" in risk:
        at_once = part(risk, "trailing_stop")["activation"] == "0"
        hits.add("trailing: at once" if at_once else "trailing: from an activation")
    hits |= {key for key in ("max_bars", "max_daily_loss_percentage") if key in risk}
    return hits | ({"cooldown_bars"} if risk["cooldown_bars"] else set())


def _of_condition(node: object) -> set[str]:
    if not isinstance(node, dict):
        return set()
    hits: set[str] = set()
    for key in ("all", "any", "not", "long", "short"):
        if node.get(key) is not None:
            inner = node[key] if isinstance(node[key], list) else [node[key]]
            hits |= {f"condition: {key}"}.union(*(_of_condition(each) for each in inner))
    if "op" in node:
        hits |= {f"op: {node['op']}", *_of_operand(node["left"]), *_of_operand(node["right"])}
        if (node.get("for_bars") or 1) > 1:
            hits.add("condition: for_bars")
    return hits


def _of_operand(operand: object) -> set[str]:
    if isinstance(operand, dict):
        return {f"operand: {key}" for key in operand}
    if isinstance(operand, str):
        if operand[0] in "-0123456789":
            return {"operand: number as string"}
        return {"operand: name with output" if "." in operand else "operand: name"}
    return {"operand: integer" if isinstance(operand, int) else "operand: decimal"}
