"""Response models of auth."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from services.auth.domain.accounts import Language, Profile
from services.auth.operations.tokens import IssuedTokens
from shared.contracts.activity import Actor
from shared.contracts.examples import REFRESH_TOKEN, example, example_id
from shared.contracts.types import Instant, ViewModel


class TokensView(ViewModel):
    model_config = example(
        access_token="eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTkwYTZmMiJ9.c2lnbmVk",
        refresh_token=REFRESH_TOKEN,
        expires_in=600,
    )

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int  # seconds


class UserView(ViewModel):
    model_config = example(
        email_verified=False,
        plan="PREMIUM",
        subscription_started_at="2026-01-31T09:02:11.480Z",
        subscription_ends_at="2026-02-14T09:02:11.480Z",
        login_count=1,
    )

    user_id: UUID
    email: str
    username: str | None
    first_name: str | None
    last_name: str | None
    timezone: str
    language: Language
    is_active: bool
    email_verified: bool
    plan: str = Field(validation_alias="subscription_tier")
    subscription_started_at: Instant | None = Field(validation_alias="subscription_start_date")
    subscription_ends_at: Instant | None = Field(validation_alias="subscription_end_date")
    trial_ends_at: Instant | None = Field(validation_alias="trial_end_date")
    last_login_at: Instant | None = Field(validation_alias="last_login")
    login_count: int
    created_at: Instant
    updated_at: Instant


class RegisteredView(TokensView):
    """`trial` tells whether the account begins with a trial, `notice` why not; null for an existing account."""

    model_config = example(
        access_token="eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTkwYTZmMiJ9.c2lnbmVk",
        refresh_token=REFRESH_TOKEN,
        expires_in=600,
        trial=True,
        notice=None,
    )

    user: UserView
    trial: bool | None
    notice: str | None


class LoginView(ViewModel):
    """`user_agent` is as sent by the device; `last_used_at` is when it last requested tokens."""

    model_config = example(current=True)

    login_id: UUID = Field(validation_alias="session_id")
    current: bool
    ip_address: str | None
    user_agent: str | None
    created_at: Instant
    last_used_at: Instant
    expires_at: Instant


class EndedView(ViewModel):
    model_config = example(ended=2)

    ended: int


class ActivityView(ViewModel):
    """`occurred_at` is when it was done, `created_at` when it was logged; `data` names the object."""

    model_config = example(
        activity_type="SESSION_STARTED", endpoint="POST /v1/sessions", data={"session_id": example_id("session_id")}
    )

    activity_id: UUID
    occurred_at: Instant = Field(validation_alias="timestamp")
    activity_type: str
    actor: Actor
    service: str
    ip_address: str | None
    user_agent: str | None
    endpoint: str
    data: dict[str, str]
    created_at: Instant


class JwksView(ViewModel):
    model_config = example(
        keys=[
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "use": "sig",
                "kid": "2f9c0b7a",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }
        ]
    )

    keys: list[dict[str, str]]


def user_view(profile: Profile) -> UserView:
    fields = dict(vars(profile))
    return UserView(user_id=fields.pop("public_id"), **fields)


def tokens_view(tokens: IssuedTokens) -> TokensView:
    return TokensView(
        access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in_s
    )
