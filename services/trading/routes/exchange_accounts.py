"""`/v1/exchange-accounts`: connect accounts at the exchange, check them, replace and remove their keys."""

from typing import Literal

from services.trading.custody import queries
from services.trading.custody.account_reader import Product, Region, Site
from services.trading.custody.custody import Custody
from services.trading.custody.envelope import SecretRow
from services.trading.custody.operations import (
    accept_risk_notice,
    add_account,
    delete_account,
    has_accepted,
    record_check,
    rename_account,
    replace_key,
)
from services.trading.custody.queries import AccountRow, AccountStatus, NewAccount
from services.trading.custody.risk_notice import TEXT, VERSION
from services.trading.errors import (
    ExchangeAccountInUse,
    ExchangeAccountKnown,
    ExchangeAccountRefused,
    ExchangeAccountsFull,
    LiveTradingOff,
    SecretUnreadable,
)
from services.trading.exchange.account_facts import Environment
from services.trading.routes.exchange_account_views import (
    ApiKey,
    ApiSecret,
    ExchangeAccountView,
    KeyBody,
    RiskNoticeView,
    account_view,
    credentials_of,
    key_example,
)
from shared.chassis.errors import Conflict, ExchangeUnreachable, NameTaken, Unavailable
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.examples import example
from shared.contracts.texts import Name
from shared.contracts.types import BodyModel, new_id

PATH = "/v1/exchange-accounts"
REFUSED = (ExchangeAccountRefused, ExchangeUnreachable, LiveTradingOff, Unavailable)


class AccountBody(BodyModel):
    """`region`: the exchange's site where you have the account, GLOBAL for bybit.com. `product`: what bots trade on
    it. The key must be able to trade contracts, and nothing else."""

    model_config = key_example(account_name="Sub-account for bots", environment="DEMO", region="GLOBAL")

    account_name: Name
    environment: Environment
    region: Region = "GLOBAL"
    product: Product = "LINEAR"
    api_key: ApiKey
    api_secret: ApiSecret


class AccountChanges(BodyModel):
    model_config = example(account_name="Sub-account for bots")

    account_name: Name


class AcceptanceBody(BodyModel):
    """`version` is that of the notice that was shown."""

    model_config = example(version=VERSION)

    version: int


class AccountsQuery(ListQuery):
    orders = queries.ORDERS

    environment: Environment | None = None
    status: AccountStatus | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class ExchangeAccountRoutes(Routes):
    def __init__(self, database: Database, custody: Custody, check_every_s: float) -> None:
        self._database = database
        self._custody = custody
        self._check_every_s = check_every_s

    @endpoint(
        "POST",
        PATH,
        "Connect an account at the exchange; its key is checked first, and a refused one is not stored",
        status=201,
        errors=(*REFUSED, ExchangeAccountKnown, ExchangeAccountsFull, NameTaken),
        scope="trade",
    )
    async def create_exchange_account(self, call: Call, body: AccountBody) -> Reply[ExchangeAccountView]:
        site = Site(body.environment, body.region)
        self._custody.check_site(site, body.product)
        await call.replay_if_answered()
        credentials = credentials_of(body)
        facts = (await self._custody.inspect(credentials, site, call.now, may_set=True)).require_usable()
        account = NewAccount(
            call.principal.user_id,
            new_id(),
            call.principal.public_id,
            body.account_name,
            body.environment,
            body.region,
            body.product,
            facts.uid,
            facts.parent_uid,
        )
        secret_row = SecretRow(account.user_id, account.exchange_account_id, 1)
        sealed = await self._custody.seal(secret_row, credentials)
        async with call.transaction() as connection:
            row = await add_account(connection, account, facts, sealed, self._check_every_s, call.now)
            view = await self._view(connection, call, row)
        return created(view, f"{PATH}/{row.exchange_account_id}")

    @endpoint("GET", PATH, "List your exchange accounts, newest first")
    async def list_exchange_accounts(self, call: Call, query: AccountsQuery) -> Page[ExchangeAccountView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await queries.list_accounts(
                connection, user_id, environment=query.environment, status=query.status, wanted=wanted
            )
            accepted = await has_accepted(connection, user_id)
        allows_live = self._custody.allows_live
        return query.page_of(rows, lambda row: account_view(row, call.now, accepted, allows_live))

    @endpoint("GET", PATH + "/risk-notice", "Get the risk notice of LIVE accounts, and whether you accepted it")
    async def get_risk_notice(self, call: Call) -> RiskNoticeView:
        async with self._database.tenant(call.principal.user_id) as connection:
            accepted = await queries.find_accepted_version(connection, call.principal.user_id)
        is_current = accepted is not None and accepted[0] == VERSION
        return RiskNoticeView(
            version=VERSION, text=TEXT, accepted_at=accepted[1] if accepted and is_current else None
        )

    @endpoint(
        "POST",
        PATH + "/risk-notice",
        "Accept the risk notice, which is needed before bots trade on a LIVE account",
        scope="trade",
    )
    async def accept_risk_notice(self, call: Call, body: AcceptanceBody) -> RiskNoticeView:
        async with call.transaction() as connection:
            accepted_at = await accept_risk_notice(connection, call.principal.user_id, body.version, call.now)
        return RiskNoticeView(version=VERSION, text=TEXT, accepted_at=accepted_at)

    @endpoint("GET", PATH + "/{id}", "Get an exchange account", tagged=True)
    async def get_exchange_account(self, call: Call) -> Reply[ExchangeAccountView]:
        async with self._database.tenant(call.principal.user_id) as connection:
            row = await queries.get_account(connection, call.principal.user_id, call.uuid())
            return _tagged(await self._view(connection, call, row), row)

    @endpoint(
        "PATCH",
        PATH + "/{id}",
        "Rename an exchange account",
        tagged=True,
        errors=(NameTaken,),
        scope="trade",
    )
    async def rename_exchange_account(self, call: Call, body: AccountChanges) -> Reply[ExchangeAccountView]:
        user_id = call.principal.user_id
        async with call.transaction() as connection:
            row = await rename_account(connection, user_id, call.uuid(), body.account_name, call.if_match)
            return _tagged(await self._view(connection, call, row), row)

    @endpoint(
        "POST",
        PATH + "/{id}/check",
        "Check an account and its key now; what is wrong with it is in `refusals`",
        errors=(ExchangeUnreachable, LiveTradingOff, SecretUnreadable, Unavailable),
        scope="trade",
    )
    async def check_exchange_account(self, call: Call) -> ExchangeAccountView:
        user_id = call.principal.user_id
        async with self._database.tenants([user_id]) as connection:
            account = await queries.get_account(connection, user_id, call.uuid())
            credentials = await self._custody.open_credentials(connection, user_id, account.exchange_account_id)
        inspection = await self._custody.inspect(credentials, account.site, call.now, may_set=True)
        async with call.transaction() as connection:
            row = await record_check(connection, account, inspection, call.now)
            return await self._view(connection, call, row)

    @endpoint(
        "PUT",
        PATH + "/{id}/key",
        "Replace the key by another one of the same account; the earlier key is destroyed",
        errors=(*REFUSED, ExchangeAccountKnown, Conflict),
        scope="trade",
    )
    async def replace_exchange_key(self, call: Call, body: KeyBody) -> ExchangeAccountView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            account = await queries.get_account(connection, user_id, call.uuid())
        credentials = credentials_of(body)
        facts = (await self._custody.inspect(credentials, account.site, call.now, may_set=True)).require_usable()
        next_row = SecretRow(user_id, account.exchange_account_id, account.key_version + 1)
        sealed = await self._custody.seal(next_row, credentials)
        async with call.transaction() as connection:
            row = await replace_key(connection, account, facts, sealed, call.now)
            return await self._view(connection, call, row)

    @endpoint(
        "DELETE",
        PATH + "/{id}",
        "Delete an exchange account; its key is destroyed at once",
        status=204,
        tagged=True,
        errors=(ExchangeAccountInUse,),
        scope="trade",
    )
    async def delete_exchange_account(self, call: Call) -> None:
        async with call.transaction() as connection:
            await delete_account(connection, call.principal.user_id, call.uuid(), call.if_match)

    async def _view(self, connection: Connection, call: Call, row: AccountRow) -> ExchangeAccountView:
        accepted = await has_accepted(connection, row.user_id)
        return account_view(row, call.now, accepted, self._custody.allows_live)


def _tagged(view: ExchangeAccountView, row: AccountRow) -> Reply[ExchangeAccountView]:
    return tagged(view, row.revision, row.updated_at)
