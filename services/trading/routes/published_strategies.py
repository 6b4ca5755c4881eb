"""`/v1/strategies/published` and `/v1/strategies/templates`: strategies that a tenant can copy."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from services.trading.errors import PublishedFull, StrategiesFull, StrategyInactive
from services.trading.operations.published_strategies import (
    copy_published_strategy,
    publish_strategy,
    unpublish_strategy,
)
from services.trading.operations.strategies import document_of, save_strategy
from services.trading.queries import published
from services.trading.queries.published import PublishedRow
from services.trading.routes.strategies import VERSION_LIMIT, StrategyView, strategy_view
from services.trading.templates import Template, find_template, templates
from shared.chassis.errors import NameTaken, NotFound, PlanLimitReached
from shared.chassis.http.app import Call, Reply, created
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import example
from shared.contracts.texts import Name
from shared.contracts.types import BodyModel, Instant, ViewModel

PUBLISHED, TEMPLATES = "/v1/strategies/published", "/v1/strategies/templates"
COPY_ERRORS = (NameTaken, PlanLimitReached, StrategiesFull)
Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class PublishBody(BodyModel):
    """`display_name` is the author's public name. `version` defaults to the newest."""

    model_config = example(display_name="Ada")

    display_name: Name
    version: int | None = Field(default=None, ge=1, le=VERSION_LIMIT)


class CopyBody(BodyModel):
    """`strategy_name` defaults to the name of the original."""

    model_config = example(strategy_name="my own ema-cross")

    strategy_name: Name | None = None


class PublishedQuery(ListQuery):
    orders = published.ORDERS

    content_hash: Hash | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class PublishedSummary(ViewModel):
    """Without the document, which is returned for a single published strategy only."""

    published_strategy_id: UUID
    display_name: str
    strategy_name: str
    strategy_description: str | None
    interval: str
    side: str
    content_hash: str
    created_at: Instant


class PublishedView(ViewModel):
    published_strategy_id: UUID
    display_name: str
    strategy_name: str
    document: dict[str, object]
    content_hash: str
    created_at: Instant


class TemplateView(ViewModel):
    template_id: UUID
    strategy_name: str
    strategy_description: str | None
    document: dict[str, object]
    content_hash: str


class PublishingRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "POST",
        "/v1/strategies/{id}/publish",
        "Publish a copy of a version to all users, replacing the one published before",
        errors=(StrategyInactive, PublishedFull),
        scope="trade",
    )
    async def publish_strategy(self, call: Call, body: PublishBody) -> StrategyView:
        user_id = call.principal.user_id
        async with call.transaction() as connection:
            row = await publish_strategy(connection, user_id, call.uuid(), body.version, body.display_name)
        return strategy_view(row)

    @endpoint("POST", "/v1/strategies/{id}/unpublish", "Withdraw the published copy", scope="trade")
    async def unpublish_strategy(self, call: Call) -> StrategyView:
        async with call.transaction() as connection:
            row = await unpublish_strategy(connection, call.principal.user_id, call.uuid())
        return strategy_view(row)

    @endpoint("GET", PUBLISHED, "List the strategies that all users have published, newest first")
    async def list_published_strategies(self, call: Call, query: PublishedQuery) -> Page[PublishedSummary]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await published.list_published(connection, content_hash=query.content_hash, wanted=wanted)
        return query.page_of(rows, PublishedSummary.model_validate)

    @endpoint("GET", PUBLISHED + "/{id}", "Get a published strategy")
    async def get_published_strategy(self, call: Call) -> PublishedView:
        async with self._database.tenant(call.principal.user_id) as connection:
            return _published(await published.get_published(connection, call.uuid()))

    @endpoint(
        "POST",
        PUBLISHED + "/{id}/copy",
        "Copy a published strategy into one of your own",
        status=201,
        errors=COPY_ERRORS,
        scope="trade",
    )
    async def copy_published_strategy(self, call: Call, body: CopyBody) -> Reply[StrategyView]:
        user_id, name = call.principal.user_id, body.strategy_name
        async with call.transaction() as connection:
            row = await copy_published_strategy(connection, user_id, call.uuid(), name)
        return _created(strategy_view(row))

    @endpoint("GET", TEMPLATES, "List the template strategies")
    async def list_templates(self, call: Call) -> Page[TemplateView]:
        return Page(items=[_template(each) for each in templates()])

    @endpoint("GET", TEMPLATES + "/{id}", "Get a template strategy")
    async def get_template(self, call: Call) -> TemplateView:
        return _template(_require_template(call))

    @endpoint(
        "POST",
        TEMPLATES + "/{id}/copy",
        "Copy a template into a strategy of your own",
        status=201,
        errors=COPY_ERRORS,
        scope="trade",
    )
    async def copy_template(self, call: Call, body: CopyBody) -> Reply[StrategyView]:
        user_id, name = call.principal.user_id, body.strategy_name
        async with call.transaction() as connection:
            row = await save_strategy(connection, user_id, _require_template(call).strategy, name)
        return _created(strategy_view(row))


def _require_template(call: Call) -> Template:
    """Raises NotFound."""
    found = find_template(call.uuid())
    if found is None:
        raise NotFound
    return found


def _created(view: StrategyView) -> Reply[StrategyView]:
    return created(view, f"/v1/strategies/{view.strategy_id}")


def _published(row: PublishedRow) -> PublishedView:
    return PublishedView.model_validate(row)


def _template(template: Template) -> TemplateView:
    strategy = template.strategy
    return TemplateView(
        template_id=template.template_id,
        strategy_name=strategy.name,
        strategy_description=strategy.description,
        document=document_of(strategy),
        content_hash=strategy.content_hash,
    )
