"""HTTP in."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from pydantic import AfterValidator, Field, SecretStr

from services.auth import queries
from services.auth.domain import (
    LONGEST_EMAIL,
    LONGEST_PASSWORD,
    MOST_SESSIONS,
    Client,
    Language,
    NewUser,
    Profile,
    check_email,
    check_password,
    check_timezone,
    clean_user_agent,
)
from services.auth.errors import AccountDisabled, BadCredentials, BadRefreshToken, EmailTaken, TooManyLogins
from services.auth.operations import log_ins
from services.auth.operations.log_ins import Desk, Once
from services.auth.operations.refresh import refresh
from services.auth.operations.tokens import LONGEST_REFRESH_TOKEN, IssuedTokens
from shared.chassis.auth import Authenticator
from shared.chassis.errors import NotFound, Unauthorized
from shared.chassis.http import Call, Endpoint, Reply
from shared.chassis.idempotency import REPLAYED, request_sha256
from shared.chassis.paging import Page
from shared.contracts.types import BodyModel, Instant, ViewModel

Networks = Sequence[IPv4Network | IPv6Network]
# Longer input than any password is refused before it is looked at more closely.
Password = Annotated[SecretStr, Field(max_length=2 * LONGEST_PASSWORD)]
RefreshToken = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_REFRESH_TOKEN)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _check_new_password(password: SecretStr) -> SecretStr:
    return SecretStr(check_password(password.get_secret_value()))


class RegisterBody(BodyModel):
    email: Annotated[
        str,
        Field(max_length=LONGEST_EMAIL + 2, json_schema_extra={"format": "email"}),
        AfterValidator(check_email),
    ]
    password: Annotated[Password, AfterValidator(_check_new_password)]
    timezone: Annotated[str, Field(max_length=64), AfterValidator(check_timezone)] = "UTC"
    language: Language = "en"
    username: Annotated[Name, Field(max_length=50)] | None = None
    first_name: Name | None = None
    last_name: Name | None = None


class LoginBody(BodyModel):
    email: Annotated[str, Field(max_length=LONGEST_EMAIL + 2)]
    password: Password


class RefreshBody(BodyModel):
    refresh_token: RefreshToken


class LogoutBody(BodyModel):
    """Which log-in to end: that of this token, or else that of the access token in the header."""

    refresh_token: RefreshToken | None = None


class TokensView(ViewModel):
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int  # seconds


class UserView(ViewModel):
    user_id: UUID
    email: str
    username: str | None
    first_name: str | None
    last_name: str | None
    timezone: str
    language: Language
    is_active: bool
    email_verified: bool
    subscription_tier: str
    subscription_start_date: Instant | None
    subscription_end_date: Instant | None
    trial_end_date: Instant | None
    last_login: Instant | None
    login_count: int
    created_at: Instant


class RegisteredView(TokensView):
    user: UserView


class LogInView(ViewModel):
    session_id: UUID
    current: bool
    ip_address: str | None
    user_agent: str | None
    created_at: Instant
    last_used_at: Instant
    expires_at: Instant


class JwksView(ViewModel):
    keys: list[dict[str, str]]


class Routes:
    """The operations of auth over HTTP."""

    def __init__(self, desk: Desk, authenticator: Authenticator, trusted_proxies: Networks) -> None:
        self._desk = desk
        self._authenticator = authenticator
        self._proxies = trusted_proxies

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "POST",
                "/v1/auth/register",
                self.register,
                "Make an account and log in",
                response=RegisteredView,
                status=201,
                body=RegisterBody,
                public=True,
                errors=(EmailTaken, TooManyLogins),
            ),
            Endpoint(
                "POST",
                "/v1/auth/login",
                self.log_in,
                "Log in",
                response=TokensView,
                body=LoginBody,
                public=True,
                errors=(BadCredentials, AccountDisabled, TooManyLogins),
            ),
            Endpoint(
                "POST",
                "/v1/auth/refresh",
                self.refresh,
                "New tokens for a refresh token, which is good once",
                response=TokensView,
                body=RefreshBody,
                public=True,
                errors=(BadRefreshToken,),
            ),
            Endpoint(
                "POST",
                "/v1/auth/logout",
                self.log_out,
                "End the log-in of a refresh token, or of the access token in the header",
                body=LogoutBody,
                public=True,
                errors=(Unauthorized,),
            ),
            Endpoint("GET", "/v1/me", self.get_me, "Who am I", response=UserView),
            Endpoint("GET", "/v1/me/sessions", self.list_log_ins, "My log-ins", response=Page[LogInView]),
            Endpoint("DELETE", "/v1/me/sessions/{id}", self.revoke_session, "End one of my log-ins"),
            Endpoint(
                "GET",
                "/.well-known/jwks.json",
                self.get_jwks,
                "The keys that access tokens are checked with",
                response=JwksView,
                public=True,
            ),
        ]

    async def register(self, call: Call) -> Reply:
        body = call.body(RegisterBody)
        user = NewUser(
            email=body.email,
            password=body.password.get_secret_value(),
            timezone=body.timezone,
            language=body.language,
            username=body.username,
            first_name=body.first_name,
            last_name=body.last_name,
        )
        once = None
        if call.idempotency_key is not None:
            once = Once(call.idempotency_key, request_sha256(call.request, body))
        made = await log_ins.register(self._desk, user, self._client(call.request), call.now, once)
        view = RegisteredView(user=_user_view(made.profile), **_tokens_view(made.tokens).model_dump())
        return Reply(view, 201, {"Location": "/v1/me", **(REPLAYED if made.replayed else {})})

    async def log_in(self, call: Call) -> TokensView:
        body = call.body(LoginBody)
        password = body.password.get_secret_value()
        try:
            check_email(body.email)
            password = check_password(password)
        except ValueError as error:
            raise BadCredentials from error  # nobody can have registered with these
        client = self._client(call.request)
        return _tokens_view(await log_ins.log_in(self._desk, body.email, password, client, call.now))

    async def refresh(self, call: Call) -> TokensView:
        token = call.body(RefreshBody).refresh_token.get_secret_value()
        return _tokens_view(await refresh(self._desk, token, call.now))

    async def log_out(self, call: Call) -> None:
        token = call.body(LogoutBody).refresh_token
        if token is not None:
            await log_ins.log_out(self._desk.database, token.get_secret_value(), call.now)
            return
        caller = await self._authenticator.principal(call.request.headers.get("Authorization"))
        if caller.session_id is not None:
            database, user_id = self._desk.database, caller.user_id
            await log_ins.end_session(database, user_id, caller.session_id, "LOGGED_OUT", call.now)

    async def get_me(self, call: Call) -> UserView:
        return _user_view(await self._require_live_login(call))

    async def list_log_ins(self, call: Call) -> Page[LogInView]:
        await self._require_live_login(call)
        user_id = call.principal.user_id
        async with self._desk.database.tenant(user_id) as connection:
            sessions = await queries.list_sessions(connection, user_id, call.now, MOST_SESSIONS)
        current = call.principal.session_id
        return Page(items=[LogInView(current=one.session_id == current, **vars(one)) for one in sessions])

    async def revoke_session(self, call: Call) -> None:
        await self._require_live_login(call)
        user_id, session_id = call.principal.user_id, call.uuid("id")
        if not await log_ins.end_session(self._desk.database, user_id, session_id, "REVOKED", call.now):
            raise NotFound

    async def get_jwks(self, call: Call) -> Reply:
        keys = JwksView(keys=[self._desk.tokens.public_key])
        return Reply(keys, headers={"Cache-Control": "public, max-age=300"})

    async def _require_live_login(self, call: Call) -> Profile:
        """An access token outlives its log-in by minutes elsewhere; not here."""
        user_id, session_id = call.principal.user_id, call.principal.session_id
        if session_id is None:
            raise Unauthorized
        async with self._desk.database.tenant(user_id) as connection:
            profile = await queries.find_profile(connection, user_id, session_id)
        if profile is None:
            raise Unauthorized("this log-in has ended")
        return profile

    def _client(self, request: web.Request) -> Client:
        forwarded = request.headers.get("X-Forwarded-For", "")
        return Client(
            client_address(request.remote, forwarded, self._proxies),
            clean_user_agent(request.headers.get("User-Agent")),
        )


def client_address(peer: str | None, forwarded: str, proxies: Networks) -> str | None:
    """The peer, or whom a proxy of ours says it speaks for; None if that is no address."""
    try:
        address = ip_address(peer or "")
        if forwarded and any(address in network for network in proxies):
            address = ip_address(forwarded.rpartition(",")[2].strip())
    except ValueError:
        return None
    return str(address).partition("%")[0]


def _user_view(profile: Profile) -> UserView:
    fields = dict(vars(profile))
    return UserView(user_id=fields.pop("public_id"), **fields)


def _tokens_view(tokens: IssuedTokens) -> TokensView:
    return TokensView(
        access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in_s
    )
