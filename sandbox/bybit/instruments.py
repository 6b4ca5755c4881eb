"""The contracts: their filters, as instruments-info has them and as the engine applies them."""

from dataclasses import dataclass
from decimal import Decimal

from sandbox.bybit.exchange.terms import InstrumentFilters
from sandbox.bybit.messages import Json


@dataclass(frozen=True)
class Instrument:
    """The filters of a linear contract. `min_price` empty: the tick size."""

    tick_size: str = "0.01"
    qty_step: str = "0.001"
    min_order_qty: str = "0.001"
    min_notional: str = "5"
    min_price: str = ""
    max_price: str = "1999999.80"
    max_order_qty: str = "1000000000.000"
    max_market_order_qty: str = "1000000000.000"
    max_leverage: str = "100.00"
    price_limit_ratio: str = "0.01"
    symbol_type: str = ""
    status: str = "Trading"

    def filters(self, symbol: str) -> InstrumentFilters:
        """Raises decimal.InvalidOperation."""
        return InstrumentFilters(
            symbol=symbol,
            tick_size=Decimal(self.tick_size),
            min_price=Decimal(self.min_price or self.tick_size),
            max_price=Decimal(self.max_price),
            qty_step=Decimal(self.qty_step),
            min_order_qty=Decimal(self.min_order_qty),
            max_order_qty=Decimal(self.max_order_qty),
            max_market_order_qty=Decimal(self.max_market_order_qty),
            post_only_max_order_qty=Decimal(self.max_order_qty),
            min_notional=Decimal(self.min_notional),
            max_leverage=Decimal(self.max_leverage),
            price_limit_ratio=Decimal(self.price_limit_ratio),
            risk_limit_value=Decimal(10) ** 15,
            base_coin=base_coin(symbol),
            status=self.status,
        )


def base_coin(symbol: str) -> str:
    return symbol.removesuffix("USDT").removesuffix("USD")


def instrument_info(symbol: str, instrument: Instrument) -> Json:
    """Return a linear perpetual as in instruments-info."""
    digits = max(0, -int(Decimal(instrument.tick_size).normalize().as_tuple().exponent))
    return {
        "symbol": symbol,
        "symbolId": 1,
        "contractType": "LinearPerpetual",
        "status": instrument.status,
        "baseCoin": base_coin(symbol),
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": instrument.max_leverage, "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": instrument.min_price or instrument.tick_size,
            "maxPrice": instrument.max_price,
            "tickSize": instrument.tick_size,
        },
        "lotSizeFilter": {
            "maxOrderQty": instrument.max_order_qty,
            "minOrderQty": instrument.min_order_qty,
            "qtyStep": instrument.qty_step,
            "postOnlyMaxOrderQty": instrument.max_order_qty,
            "maxMktOrderQty": instrument.max_market_order_qty,
            "minNotionalValue": instrument.min_notional,
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": "USDT",
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {
            "priceLimitRatioX": instrument.price_limit_ratio,
            "priceLimitRatioY": format(Decimal(instrument.price_limit_ratio) * 2, "f"),
        },
        "symbolType": instrument.symbol_type,
    }
