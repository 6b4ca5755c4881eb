"""`/v1/auth`: register, log in, refresh, log out; and the keys for verifying tokens."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.auth.domain.accounts import LONGEST_EMAIL, Language, NewUser, check_email
from services.auth.domain.passwords import check_password
from services.auth.errors import (
    AccountDisabled,
    AlreadyRefreshed,
    BadCredentials,
    BadRefreshToken,
    EmailTaken,
    TooManyAttempts,
    TooManyLogins,
    TooManyRegistrations,
    UsernameTaken,
)
from services.auth.operations import logins
from services.auth.operations.authentication import AuthContext
from services.auth.operations.refresh import refresh
from services.auth.operations.registration import register
from services.auth.operations.tokens import LONGEST_REFRESH_TOKEN
from services.auth.routes.fields import NewPassword, Password, TimeZone
from services.auth.routes.views import JwksView, RegisteredView, TokensView, tokens_view, user_view
from shared.chassis.auth import Authenticator
from shared.chassis.errors import Unauthorized
from shared.chassis.http.app import Call, Reply
from shared.chassis.http.client_address import Client, Networks, client_of
from shared.chassis.http.idempotency import REPLAYED
from shared.chassis.http.routes import Routes, endpoint
from shared.contracts.examples import PASSWORD, REFRESH_TOKEN, example
from shared.contracts.texts import Name, ShortName
from shared.contracts.types import BodyModel

NO_TRIAL = "Several accounts from your network began a trial today: this one is on FREE, without a trial"
RefreshToken = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_REFRESH_TOKEN)]


class RegisterBody(BodyModel):
    model_config = example(
        password=PASSWORD,
        email="ada@example.org",
        timezone="Europe/Rome",
        username="ada",
        first_name="Ada",
        last_name="Lovelace",
    )

    email: Annotated[
        str,
        Field(max_length=LONGEST_EMAIL + 2, json_schema_extra={"format": "email"}),
        AfterValidator(check_email),
    ]
    password: NewPassword
    timezone: TimeZone = "UTC"
    language: Language = "en"
    username: ShortName | None = None
    first_name: Name | None = None
    last_name: Name | None = None


class LoginBody(BodyModel):
    model_config = example(password=PASSWORD)

    email: Annotated[str, Field(max_length=LONGEST_EMAIL + 2)]
    password: Password


class RefreshBody(BodyModel):
    model_config = example(refresh_token=REFRESH_TOKEN)

    refresh_token: RefreshToken


class LogoutBody(BodyModel):
    """The login to end: that of this token, or without one that of the access token in the header."""

    model_config = example(refresh_token=REFRESH_TOKEN)

    refresh_token: RefreshToken | None = None


class LoginRoutes(Routes):
    def __init__(self, auth: AuthContext, authenticator: Authenticator, trusted_proxies: Networks) -> None:
        self._auth = auth
        self._authenticator = authenticator
        self._proxies = trusted_proxies

    @endpoint(
        "POST",
        "/v1/auth/register",
        "Create an account and log in",
        status=201,
        public=True,
        errors=(
            EmailTaken,
            UsernameTaken,
            TooManyRegistrations,
            BadCredentials,
            AccountDisabled,
            TooManyAttempts,
            TooManyLogins,
        ),
    )
    async def register(self, call: Call, body: RegisterBody) -> Reply[RegisteredView]:
        user = NewUser(
            email=body.email,
            password=body.password.get_secret_value(),
            timezone=body.timezone,
            language=body.language,
            username=body.username,
            first_name=body.first_name,
            last_name=body.last_name,
        )
        registration = await register(self._auth, user, self._client(call), call.now, call.idempotency_key)
        tokens = tokens_view(registration.tokens).model_dump()
        notice = NO_TRIAL if registration.trial is False else None
        view = RegisteredView(
            user=user_view(registration.profile), trial=registration.trial, notice=notice, **tokens
        )
        return Reply(view, 201, {"Location": "/v1/me", **(REPLAYED if registration.replayed else {})})

    @endpoint(
        "POST",
        "/v1/auth/login",
        "Log in",
        public=True,
        errors=(BadCredentials, AccountDisabled, TooManyAttempts, TooManyLogins),
    )
    async def log_in(self, call: Call, body: LoginBody) -> TokensView:
        password = body.password.get_secret_value()
        try:
            check_email(body.email)
            password = check_password(password)
        except ValueError as error:
            raise BadCredentials from error  # no account can have been registered with these
        client = self._client(call)
        return tokens_view(await logins.log_in(self._auth, body.email, password, client, call.now))

    @endpoint(
        "POST",
        "/v1/auth/refresh",
        "Exchange a refresh token, which can be used once, for new tokens",
        public=True,
        errors=(BadRefreshToken, AlreadyRefreshed, TooManyAttempts),
    )
    async def refresh(self, call: Call, body: RefreshBody) -> TokensView:
        token = body.refresh_token.get_secret_value()
        return tokens_view(await refresh(self._auth, token, self._client(call), call.now))

    @endpoint(
        "POST",
        "/v1/auth/logout",
        "End the login of a refresh token, or of the access token in the header",
        public=True,
        errors=(Unauthorized,),
    )
    async def log_out(self, call: Call, body: LogoutBody) -> None:
        token, client = body.refresh_token, self._client(call)
        if token is not None:
            await logins.log_out(self._auth.database, token.get_secret_value(), client, call.now)
            return
        caller = await self._authenticator.principal(call.request.headers.get("Authorization"))
        async with self._auth.database.tenant(caller.user_id) as connection:
            await logins.log_out_current(connection, caller, client, call.now)

    @endpoint("GET", "/.well-known/jwks.json", "Get the keys for verifying access tokens", public=True)
    async def get_jwks(self, call: Call) -> Reply[JwksView]:
        keys = JwksView(keys=self._auth.tokens.keys.published(call.now))
        return Reply(keys, headers={"Cache-Control": "public, max-age=60"})

    def _client(self, call: Call) -> Client:
        return client_of(call.request, f"POST {call.request.path}", self._proxies)
