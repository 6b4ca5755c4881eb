"""`python -m services.auth`"""

from services.auth.app import build
from services.auth.settings import AuthSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, AuthSettings)
