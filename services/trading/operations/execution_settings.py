"""Convert a session's row to the evaluator's inputs."""

from collections.abc import Mapping
from decimal import Decimal

from services.trading.domain import ConfigurationLimits
from services.trading.queries.configurations import ConfigurationRow
from services.trading.queries.sessions import SessionRow
from shared.contracts.types import to_ms
from shared.strategy.bars import Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_stored


def strategy_of(document: Mapping[str, object]) -> Strategy:
    """Parse a stored document, which was validated when it was stored."""
    return parse_stored(document)


def terms_of(session: SessionRow) -> Terms:
    """Return the terms recorded with the session, which its worker must have prepared."""
    assert session.tick_size is not None, "set when its worker prepared it"
    assert session.qty_step is not None, "set when its worker prepared it"
    assert session.min_order_qty is not None, "set when its worker prepared it"
    assert session.min_notional is not None, "set when its worker prepared it"
    instrument = Instrument(session.tick_size, session.qty_step, session.min_order_qty, session.min_notional)
    return Terms(instrument, session.fee_rate, session.slippage, session.initial_balance)


def first_bar_ms_of(session: SessionRow) -> int:
    """Return the earliest open time of a bar at which the session may decide: the first ms after its start."""
    return to_ms(session.start_time) + 1


def limits_of(configuration: ConfigurationRow | None) -> ConfigurationLimits:
    """Return the configuration's limits on entries; unlimited without a configuration."""
    if configuration is None:
        return ConfigurationLimits()
    least = configuration.config_data.get("min_stop_distance_percentage")
    return ConfigurationLimits(
        configuration.max_position_size,
        configuration.stop_loss_percentage,
        configuration.take_profit_percentage,
        Decimal(str(least)) if least is not None else None,
    )
