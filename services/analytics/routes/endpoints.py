"""All endpoints of analytics."""

from services.analytics.routes.export import ExportRoutes
from services.analytics.routes.groups import GroupRoutes
from services.analytics.routes.market import AnalysisRoutes, WatchlistRoutes
from services.analytics.routes.performance import PerformanceRoutes
from shared.chassis.http.app import Endpoint
from shared.chassis.postgres import Database
from shared.market.history_client import CandleHistory


def analytics_endpoints(database: Database, history: CandleHistory) -> list[Endpoint]:
    return [
        *PerformanceRoutes(database).endpoints(),
        *GroupRoutes(database).endpoints(),
        *ExportRoutes(database).endpoints(),
        *WatchlistRoutes(database, history).endpoints(),
        *AnalysisRoutes(database).endpoints(),
    ]
