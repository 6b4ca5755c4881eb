"""`python -m services.notifications`"""

from services.notifications.app import build
from services.notifications.settings import NotificationsSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, NotificationsSettings)
