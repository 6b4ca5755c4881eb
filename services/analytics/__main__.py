"""`python -m services.analytics`"""

from services.analytics.app import build
from services.analytics.settings import AnalyticsSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, AnalyticsSettings)
