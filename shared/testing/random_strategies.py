"""Valid strategies drawn from the whole grammar, tuned so that most of them trade."""

import random
from collections.abc import Sequence
from decimal import Decimal

Json = dict[str, object]
SOURCES = ("open", "high", "low", "close", "volume")
TAKES_SOURCE = ("SMA", "EMA", "WMA", "DEMA", "TEMA", "RSI", "ROC", "MOM", "STDDEV", "MACD", "BBANDS")
TYPES = (*TAKES_SOURCE, "ATR", "ADX", "CCI", "MFI", "STOCH", "OBV", "HIGHEST", "LOWEST",
         "CANDLES_ABOVE_EMA", "DISTANCE_FROM_EMA")  # fmt: skip
PLAIN_OPS = (">", ">=", "<", "<=")
OPS = (*PLAIN_OPS, "==", "crosses_above", "crosses_below")
OUTPUTS = {"MACD": ("macd", "signal", "hist"), "BBANDS": ("upper", "middle", "lower"), "STOCH": ("k", "d")}
LIKE_PRICE = ("SMA", "EMA", "WMA", "DEMA", "TEMA", "HIGHEST", "LOWEST", "BBANDS")
AROUND = {"RSI": 50, "ADX": 25, "CCI": 0, "MFI": 50, "STOCH": 50, "ROC": 0, "MOM": 0, "MACD": 0,
          "DISTANCE_FROM_EMA": 0, "CANDLES_ABOVE_EMA": 2, "OBV": 0}  # fmt: skip
PERIODS = (2, 3, 4, 5, 6, 8, 10, 14, 20, 30)
SHORT_PERIODS = PERIODS[:5]  # for series of less than a hundred bars


class RandomStrategy:
    """Draws one strategy. Keeps the declared operands, grouped by the values they can be compared with.

    `closes` are the closes of the bars that the strategy is for; periods are drawn from `periods`.
    """

    def __init__(self, rng: random.Random, closes: Sequence[Decimal], periods: Sequence[int] = PERIODS) -> None:
        self.rng, self.closes, self.periods = rng, closes, periods
        self.indicators: dict[str, Json] = {}
        self.prices = ["open", "high", "low", "close"]
        self.volumes = ["volume"]
        self.scaled: list[tuple[str, int]] = []
        self.distances: list[str] = []

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def decimal(self, low: float, high: float, places: int = 2) -> object:
        """Draw a decimal as the document may have it: a string or a number, some with trailing zeros."""
        text = f"{self.rng.uniform(low, high):.{places}f}"
        if Decimal(text) == 0:
            text = "0.1"
        form = self.rng.randrange(4)
        if form == 0:
            return text
        if form == 1 and Decimal(text) == int(Decimal(text)):
            return int(Decimal(text))
        return Decimal(text + "0") if form == 2 and "." in text else Decimal(text)

    def period(self) -> int:
        return self.rng.choice(self.periods)

    def declare(self) -> None:
        rng = self.rng
        kind = rng.choice(TYPES)
        name = rng.choice(("a", "fast", "x_1", "bands", "z9")) + f"_{len(self.indicators)}"
        spec: Json = {"type": kind}
        source = "close"
        if kind in (*TAKES_SOURCE, "HIGHEST", "LOWEST") and self.maybe(0.6):
            source = rng.choice(SOURCES)
            spec["source"] = source if self.maybe(0.9) else None
            source = source if spec["source"] else "close"
        if kind == "MACD":
            fast = self.period()
            spec |= {"fast": fast, "slow": fast + rng.randrange(1, 15), "signal": rng.randrange(1, 10)}
        elif kind == "STOCH":
            spec |= {"fastk": rng.randrange(1, 15), "slowk": rng.randrange(1, 5), "slowd": rng.randrange(1, 5)}
        elif kind != "OBV":
            spec["period"] = self.period()
        if kind == "BBANDS" and self.maybe(0.7):
            spec["deviations"] = self.decimal(0.5, 2.5, 1)
        self.indicators[name] = spec
        outputs = [f"{name}.{output}" for output in OUTPUTS.get(kind, ())] or [name]
        if kind in LIKE_PRICE:
            (self.volumes if source == "volume" else self.prices).extend(outputs)
        elif kind in ("ATR", "STDDEV"):
            self.scaled.extend((each, 0) for each in outputs)
        else:
            self.scaled.extend((each, AROUND[kind]) for each in outputs)
        chance = 1.0 if kind in ("ATR", "STDDEV") else 0.5 if kind in ("MACD", "MOM") else 0.2
        measures_price = kind in ("ATR", "STDDEV", "MACD", "MOM", *LIKE_PRICE) and source != "volume"
        if measures_price and self.maybe(chance):
            self.distances.extend(outputs)

    def operand(self, name: str, near: bool) -> object:
        """Draw how to refer to this name: plainly, or as a ref with some of its fields."""
        if self.maybe(0.65):
            return name
        ref: Json = {"ref": name}
        if self.maybe(0.6):
            ref["shift"] = self.rng.choice((0, 1, 1, 2, 3, 7))
        if self.maybe(0.4):
            ref["mul"] = self.decimal(0.99, 1.01, 4) if near else self.decimal(-2, 2, 2)
        if self.maybe(0.3):
            ref["add"] = self.decimal(-0.5, 0.5, 3)
        if self.maybe(0.1):
            ref.setdefault("shift", None)
        return ref

    def comparison(self) -> Json:
        rng = self.rng
        groups = ["prices"] * 3 + ["volumes"] + ["scaled"] * (3 if self.scaled else 0)
        group = rng.choice(groups)
        left: object
        right: object
        if group == "scaled":
            name, level = rng.choice(self.scaled)
            left = self.operand(name, near=False) if self.maybe(0.5) else name
            right = self.decimal(level - 8, level + 8, 1) if self.maybe(0.8) else level
        elif group == "prices" and self.maybe(0.15):
            left, right = rng.choice(self.prices), rng.choice(self.closes)
            right = str(right) if self.maybe(0.5) else right
        else:
            names = self.prices if group == "prices" else self.volumes
            left = self.operand(rng.choice(names), near=True)
            right = self.operand(rng.choice(names), near=True)
        if self.maybe(0.2):
            left, right = right, left
        node: Json = {"left": left, "op": rng.choice(OPS if self.maybe(0.4) else PLAIN_OPS), "right": right}
        if self.maybe(0.15):
            node["for_bars"] = rng.choice((1, 2, 2, 3, 5))
        return node

    def condition(self, depth: int = 0) -> Json:
        chance = self.rng.random()
        if depth >= 4 or chance < 0.5:
            return self.comparison()
        if chance < 0.62:
            return {"not": self.condition(depth + 1)}
        key = "any" if chance < 0.84 else "all"
        return {key: [self.condition(depth + 1) for _ in range(self.rng.randrange(1, 4))]}

    def conditions(self, side: str, chance: float) -> Json | None:
        if side != "BOTH":
            return self.condition() if self.maybe(chance) else None
        halves: Json = {}
        for half in ("long", "short"):
            if self.maybe(chance):
                halves[half] = self.condition()
            elif self.maybe(0.5):
                halves[half] = None
        return halves

    def size(self, has_stop: bool) -> Json:
        kind = self.rng.choice(("percent_of_equity", "fixed_quote", "fixed_base", *("risk_percent",) * has_stop))
        close = float(self.closes[0])
        bounds = {"percent_of_equity": (1, 100), "fixed_quote": (1, 3000), "risk_percent": (0.1, 5)}
        low, high = bounds.get(kind, (10 / close, 3000 / close))
        return {"type": kind, "value": self.decimal(low, high, 6 if kind == "fixed_base" else 2)}

    def distance(self, kind: str, indicator: str, low: float, high: float) -> Json:
        """Draw a stop or target, by percentage or by an indicator."""
        if kind == "percent":
            return {"type": "percent", "value": self.decimal(low, high, 2)}
        return {"type": "atr", "value": self.decimal(low / 2 + 0.1, high / 2 + 0.2, 2), "indicator": indicator}

    def kind_of_distance(self) -> tuple[str, str]:
        if self.distances and self.maybe(0.55):
            return "atr", self.rng.choice(self.distances)
        return "percent", ""

    def take_profits(self) -> list[Json]:
        kind, indicator = self.kind_of_distance()
        levels: list[Json] = []
        value = 0.0
        left = Decimal(100)
        for _ in range(self.rng.randrange(1, 6)):
            level = self.distance(kind, indicator, value + 0.3, value + 1.2)
            last = Decimal(str(level["value"]))
            value = float(last) * (1 if kind == "percent" else 2) + 0.02
            percent = left if self.maybe(0.25) else Decimal(self.rng.randrange(1, 60))
            percent = min(percent, left)
            if percent <= 0 or (levels and last <= Decimal(str(levels[-1]["value"]))):
                break
            left -= percent
            level["close_percent"] = str(percent) if self.maybe(0.5) else int(percent)
            levels.append(level)
        return levels

    def risk(self) -> Json:
        rng = self.rng
        risk: Json = {}
        if self.maybe(0.65):
            kind, indicator = self.kind_of_distance()
            risk["stop_loss"] = self.distance(kind, indicator, 0.2, 5)
        elif self.maybe(0.2):
            risk["stop_loss"] = None
        risk["position_size"] = self.size(has_stop=risk.get("stop_loss") is not None)
        if self.maybe(0.5):
            risk["leverage"] = self.decimal(1, 20, rng.choice((0, 2)))
        if self.maybe(0.5):
            risk["take_profits"] = self.take_profits()
        if self.maybe(0.4):
            trailing: Json = {"type": "percent", "value": self.decimal(0.2, 4, 2)}
            risk["trailing_stop"] = trailing
            if self.maybe(0.6):
                trailing["activation"] = rng.choice((0, "0.5", "1", Decimal("2.5")))
        if self.maybe(0.5):
            risk["max_bars"] = rng.choice((1, 2, 5, 12, 30))
        if self.maybe(0.3):
            risk["cooldown_bars"] = rng.choice((0, 1, 2, 6))
        if self.maybe(0.3):
            risk["max_daily_loss_percentage"] = self.decimal(0.1, 3, 1)
        return risk

    def document(self, interval: str) -> Json:
        for _ in range(self.rng.choice((0, 1, 2, 2, 3, 3, 4))):
            self.declare()
        side = self.rng.choice(("LONG", "SHORT", "BOTH", "BOTH"))
        entry = self.conditions(side, 1.0 if side != "BOTH" else 0.9)
        document: Json = {
            "strategy_name": "drawn",
            "strategy_config": {"interval": interval, "side": side, "indicators": self.indicators},
            "entry_conditions": entry or {"long": None},
            "risk_management": self.risk(),
        }
        leave = self.conditions(side, 0.75)
        if side == "BOTH" and entry and self.maybe(0.4):  # like strategies that reverse
            if entry.get("long") and self.maybe(0.6):
                entry["short"] = {"not": entry["long"]}
            leave = {"long": entry.get("short"), "short": entry.get("long")}
        if leave is not None or self.maybe(0.3):
            document["exit_conditions"] = leave
        if self.maybe(0.3):
            document["strategy_description"] = "from a seed"
        return document
