"""Wires auth: settings and database to endpoints, event handlers and jobs."""

from services.auth.consumers import EVENT_HANDLERS
from services.auth.jobs import retention
from services.auth.operations.authentication import AuthContext
from services.auth.operations.passwords import Passwords
from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens
from services.auth.routes.logins import LoginRoutes
from services.auth.routes.me import MyRoutes
from services.auth.settings import AuthSettings
from shared.chassis.auth import Authenticator, TokenVerifier
from shared.chassis.identity import UserDirectory
from shared.chassis.service_types import Context, Service


def build(context: Context) -> Service:
    settings = context.settings
    assert isinstance(settings, AuthSettings)
    passwords = Passwords(settings.auth_waiting_passwords, settings.auth_password_memory_kib)
    tokens = AccessTokens(
        SigningKeys(settings.auth_signing_key_file, settings.auth_signing_keys),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        ttl_s=settings.auth_access_token_s,
    )
    auth = AuthContext(
        context.database,
        passwords,
        tokens,
        settings.refresh_token_ttl,
        settings.longest_login,
        settings.free_attempts,
        settings.registration_limits,
    )
    authenticator = Authenticator(
        TokenVerifier(settings, tokens.keys), UserDirectory(context.database), context.ended_logins
    )
    return Service(
        name=settings.service,
        endpoints=[
            *LoginRoutes(auth, authenticator, settings.trusted_proxies).endpoints(),
            *MyRoutes(auth, settings.trusted_proxies).endpoints(),
        ],
        handlers=EVENT_HANDLERS,
        jobs=[retention(context.database)],
        authenticator=authenticator,
        on_close=[passwords.close],
    )
