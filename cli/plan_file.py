"""A plan as an operator writes it: a JSON file, checked before anything is published."""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from cli.failure import BadInput
from cli.options import one_line
from services.billing.domain import Plan, PlanTerms
from shared.chassis.errors import InvalidBody
from shared.chassis.http.json_body import parse_body
from shared.contracts.amounts import Price
from shared.contracts.billing import Features, Limits, PlanName
from shared.contracts.texts import Name, Text
from shared.contracts.types import BodyModel, decimal_text

MOST = 2**31 - 1
LONGEST_FILE_BYTES = 100_000
FAULTS_SHOWN = 3


class LimitsOfFile(BodyModel):
    """Each is to be named; null is no limit."""

    max_trades_per_month: int | None = Field(ge=0, le=MOST)
    max_active_strategies: int | None = Field(ge=0, le=MOST)
    max_symbols: int | None = Field(ge=0, le=MOST)
    daily_api_requests: int | None = Field(ge=0, le=MOST)
    max_backtests_per_day: int | None = Field(ge=0, le=MOST)
    max_running_sessions: int | None = Field(ge=0, le=MOST)
    max_stored_strategies: int | None = Field(ge=0, le=MOST)


class FeaturesOfFile(BodyModel):
    advanced_ai: bool
    api_access: bool
    backtesting: bool
    telegram_alerts: bool
    priority_support: bool


class PlanFile(BodyModel):
    """Prices in EUR."""

    name: PlanName
    display_name: Name
    description: Text
    price_monthly: Price
    price_yearly: Price
    stripe_price_id_monthly: str | None = Field(default=None, min_length=1, max_length=200)
    stripe_price_id_yearly: str | None = Field(default=None, min_length=1, max_length=200)
    limits: LimitsOfFile
    features: FeaturesOfFile

    def terms(self) -> PlanTerms:
        given = self.model_dump(exclude={"limits", "features"})
        limits, features = self.limits.model_dump(), self.features.model_dump()
        return PlanTerms(**given, limits=Limits(**limits), features=Features(**features))


def read_plan(file: Path) -> PlanTerms:
    """Raises BadInput, which says what is wrong with it."""
    try:
        if file.stat().st_size > LONGEST_FILE_BYTES:
            raise BadInput(f"{file}: is no plan, it is too large")
        return PlanFile.model_validate(parse_body(file.read_bytes())).terms()
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from error
    except InvalidBody as error:
        raise BadInput(one_line(f"{file}: {error.detail}")) from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)[:FAULTS_SHOWN]
        ]
        raise BadInput(one_line(f"{file}: {'; '.join(faults)}")) from error


def shown(terms: PlanTerms) -> dict[str, object]:
    """The file that it would be read from."""
    return {
        "name": terms.name,
        "display_name": terms.display_name,
        "description": terms.description,
        "price_monthly": decimal_text(terms.price_monthly),
        "price_yearly": decimal_text(terms.price_yearly),
        "stripe_price_id_monthly": terms.stripe_price_id_monthly,
        "stripe_price_id_yearly": terms.stripe_price_id_yearly,
        "limits": terms.limits.model_dump(),
        "features": terms.features.model_dump(),
    }


def differences(before: Plan | None, after: PlanTerms) -> list[str]:
    """Field by field, `limits.max_symbols: 10 → 20`."""
    old = {} if before is None else _flat(shown(before.terms))
    return [
        f"{name}: {json.dumps(old.get(name))} → {json.dumps(value)}"
        for name, value in _flat(shown(after)).items()
        if before is None or old[name] != value
    ]


def _flat(plan: dict[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in plan.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat
