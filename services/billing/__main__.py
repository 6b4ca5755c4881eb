"""`python -m services.billing`"""

from services.billing.app import build
from services.billing.settings import BillingSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, BillingSettings)
