"""Plan files: the JSON that an operator publishes, and its validation."""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from cli.options import one_line
from services.billing.domain import Plan, PlanTerms
from shared.chassis.errors import InvalidBody
from shared.chassis.http.json_body import parse_body
from shared.contracts.amounts import Price
from shared.contracts.billing import Features, Limits, PlanName
from shared.contracts.texts import Name, Text
from shared.contracts.types import BodyModel, decimal_text
from stack.failure import BadInput

MAX_LIMIT = 2**31 - 1
MAX_FILE_BYTES = 100_000
MAX_FAULTS_SHOWN = 3


class PlanFileLimits(BodyModel):
    """Every limit is required; null means unlimited."""

    max_trades_per_month: int | None = Field(ge=0, le=MAX_LIMIT)
    max_active_strategies: int | None = Field(ge=0, le=MAX_LIMIT)
    max_symbols: int | None = Field(ge=0, le=MAX_LIMIT)
    daily_api_requests: int | None = Field(ge=0, le=MAX_LIMIT)
    max_backtests_per_day: int | None = Field(ge=0, le=MAX_LIMIT)
    max_running_sessions: int | None = Field(ge=0, le=MAX_LIMIT)
    max_stored_strategies: int | None = Field(ge=0, le=MAX_LIMIT)


class PlanFileFeatures(BodyModel):
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
    limits: PlanFileLimits
    features: PlanFileFeatures

    def terms(self) -> PlanTerms:
        values = self.model_dump(exclude={"limits", "features"})
        limits, features = self.limits.model_dump(), self.features.model_dump()
        return PlanTerms(**values, limits=Limits(**limits), features=Features(**features))


def read_plan(file: Path) -> PlanTerms:
    """Read and validate a plan file. Raises BadInput with the faults."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{file}: too large for a plan")
        return PlanFile.model_validate(parse_body(file.read_bytes())).terms()
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from error
    except InvalidBody as error:
        raise BadInput(one_line(f"{file}: {error.detail}")) from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)[:MAX_FAULTS_SHOWN]
        ]
        raise BadInput(one_line(f"{file}: {'; '.join(faults)}")) from error


def plan_fields(terms: PlanTerms) -> dict[str, object]:
    """Return the plan as the content of a plan file."""
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


def list_changes(before: Plan | None, after: PlanTerms) -> list[str]:
    """Return the changed fields, such as `limits.max_symbols: 10 → 20`."""
    old = {} if before is None else _flatten(plan_fields(before.terms))
    return [
        f"{name}: {json.dumps(old.get(name))} → {json.dumps(value)}"
        for name, value in _flatten(plan_fields(after)).items()
        if before is None or old[name] != value
    ]


def _flatten(plan: dict[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in plan.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat
