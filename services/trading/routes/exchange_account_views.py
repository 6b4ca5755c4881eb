"""The API's views of exchange accounts. No view has a secret, and no body shows one in an error."""

import re
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, SecretStr
from pydantic.config import JsonValue

from services.trading.custody.account_reader import Product, Region
from services.trading.custody.judgement import Finding, warnings_of
from services.trading.custody.queries import AccountRow, AccountStatus
from services.trading.custody.risk_notice import TEXT, VERSION
from services.trading.exchange.account_facts import Credentials, Environment
from shared.contracts.examples import ASKED, NOW, example
from shared.contracts.types import BodyModel, Instant, ViewModel

_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _check_key(value: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(value.get_secret_value()):
        raise ValueError("must be letters, digits, _ and -, as the exchange shows it")
    return value


ApiKey = Annotated[SecretStr, Field(min_length=10, max_length=64), AfterValidator(_check_key)]
ApiSecret = Annotated[SecretStr, Field(min_length=16, max_length=128), AfterValidator(_check_key)]


def key_example(**values: JsonValue) -> ConfigDict:
    """Return the `model_config` of a body with a key; an error of one does not repeat what was sent."""
    key = {"api_key": "bEsNyrU0kPo9Cw41Xx", "api_secret": "4wNr0z2eQm7HfTgYc1LkVb8sUdXj5pAoIy3R"}
    return {**example(**values, **key), "hide_input_in_errors": True}


class KeyBody(BodyModel):
    model_config = key_example()

    api_key: ApiKey
    api_secret: ApiSecret


class _HasKey(Protocol):
    @property
    def api_key(self) -> SecretStr: ...
    @property
    def api_secret(self) -> SecretStr: ...


def credentials_of(body: _HasKey) -> Credentials:
    return Credentials(body.api_key.get_secret_value(), body.api_secret.get_secret_value())


class FindingView(ViewModel):
    """`field` is the one that the reason is about; the reason says what to do."""

    model_config = example(field="ip_addresses", reason="the key may be used from any address")

    field: str
    reason: str


class ExchangeAccountView(ViewModel):
    """`status`: READY, REFUSED for the reasons in `refusals`, or KEY_REJECTED by the exchange, as of the last
    check. `is_usable`: a bot may enter positions; a LIVE account needs the risk notice too. `permissions` are the
    key's, as `Group.Permission`. `ip_addresses`: those that the key is bound to; empty: any."""

    model_config = example(
        account_name="Sub-account for bots",
        environment="DEMO",
        region="GLOBAL",
        product="LINEAR",
        exchange_uid="24617703",
        parent_uid="24600001",
        status="READY",
        is_usable=True,
        needs_risk_notice=False,
        masked_api_key="bEsN…41Xx",
        permissions=["ContractTrade.Order", "ContractTrade.Position"],
        ip_addresses=["203.0.113.7"],
        is_third_party=False,
        key_expires_at=None,
        margin_mode="REGULAR_MARGIN",
        kyc_region="ITA",
        refusals=[],
        warnings=[],
        checked_at=NOW,
    )

    exchange_account_id: UUID
    account_name: str
    environment: Environment
    region: Region
    product: Product
    exchange_uid: str
    parent_uid: str | None
    status: AccountStatus
    is_usable: bool
    needs_risk_notice: bool
    masked_api_key: str
    permissions: list[str]
    ip_addresses: list[str]
    is_third_party: bool
    key_expires_at: Instant | None
    margin_mode: str
    kyc_region: str
    refusals: list[FindingView]
    warnings: list[FindingView]
    checked_at: Instant
    created_at: Instant
    updated_at: Instant


class RiskNoticeView(ViewModel):
    """`accepted_at`: when you accepted this version; null if you did not."""

    model_config = example(version=VERSION, text=TEXT, accepted_at=ASKED)

    version: int
    text: str
    accepted_at: Instant | None


def account_view(row: AccountRow, now: datetime, has_accepted: bool, allows_live: bool) -> ExchangeAccountView:
    is_live = row.environment == "LIVE"
    needs_risk_notice = is_live and not has_accepted
    may_trade = row.status == "READY" and not needs_risk_notice and (allows_live or not is_live)
    return ExchangeAccountView(
        exchange_account_id=row.exchange_account_id,
        account_name=row.account_name,
        environment=row.environment,
        region=row.region,
        product=row.product,
        exchange_uid=row.exchange_uid,
        parent_uid=row.parent_uid,
        status=row.status,
        is_usable=may_trade,
        needs_risk_notice=needs_risk_notice,
        masked_api_key=row.masked_api_key,
        permissions=row.permissions,
        ip_addresses=row.addresses,
        is_third_party=row.is_third_party,
        key_expires_at=row.key_expires_at,
        margin_mode=row.margin_mode,
        kyc_region=row.kyc_region,
        refusals=_shown(row.findings),
        warnings=_shown(warnings_of(row.key_expires_at, row.addresses, now)),
        checked_at=row.checked_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _shown(findings: list[Finding]) -> list[FindingView]:
    return [FindingView(field=finding.field, reason=finding.reason) for finding in findings]
