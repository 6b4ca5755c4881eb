"""All endpoints of analytics."""

from services.analytics.routes.export import export_endpoints
from services.analytics.routes.groups import group_endpoints
from services.analytics.routes.market import AnalysisRoutes, WatchlistRoutes
from services.analytics.routes.performance import PerformanceRoutes
from shared.chassis.http.app import Endpoint
from shared.chassis.postgres import Database
from shared.market.history_client import CandleHistory


def analytics_endpoints(database: Database, history: CandleHistory) -> list[Endpoint]:
    return [
        *PerformanceRoutes(database).endpoints(),
        *group_endpoints(database),
        *export_endpoints(database),
        *WatchlistRoutes(database, history).endpoints(),
        *AnalysisRoutes(database).endpoints(),
    ]
