"""`/v1/me`: the user's own profile, logins and activity."""

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from services.auth.domain.accounts import Language, Login, Profile
from services.auth.errors import TooManyAttempts, TooManyLogins, UsernameTaken, WrongPassword
from services.auth.operations import logins, profile
from services.auth.operations.authentication import AuthContext
from services.auth.operations.profile import get_live_profile
from services.auth.queries import activity
from services.auth.queries import logins as queries
from services.auth.queries.activity import ActivityFilter
from services.auth.routes.fields import NewPassword, Password, TimeZone
from services.auth.routes.views import ActivityView, EndedView, LoginView, UserView, user_view
from shared.chassis.errors import NotFound, Unauthorized
from shared.chassis.http.app import Call, Reply, tagged
from shared.chassis.http.client_address import Networks, client_of
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.contracts.examples import PASSWORD, example
from shared.contracts.texts import Name, ShortName
from shared.contracts.types import BodyModel, Instant

ME = "/v1/me"
SESSIONS = ME + "/sessions"


class ProfileChanges(BodyModel):
    """Fields that are left out do not change; null removes a name."""

    model_config = example(timezone="Europe/Rome", last_name="King")

    username: ShortName | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    timezone: TimeZone | None = None
    language: Language | None = None

    def apply_to(self, profile: Profile) -> Profile:
        sent = self.model_dump(exclude_unset=True)
        return replace(profile, **{name: v for name, v in sent.items() if v is not None or name.endswith("name")})


class PasswordBody(BodyModel):
    model_config = example(old_password=PASSWORD, new_password="every tide is another")

    old_password: Password
    new_password: NewPassword


class LoginsQuery(ListQuery):
    orders = queries.ORDERS

    sort: Literal["created_at", "-created_at"] = "-created_at"


class ActivityQuery(ListQuery):
    orders = activity.ORDERS

    activity_type: Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,60}$")] | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class MyRoutes(Routes):
    """Handler names are operation ids and, for changes, activity types (`REVOKE_SESSION`): do not rename them."""

    def __init__(self, auth: AuthContext, proxies: Networks) -> None:
        self._auth = auth
        self._proxies = proxies

    @endpoint("GET", ME, "Get your profile", tagged=True)
    async def get_me(self, call: Call) -> Reply[UserView]:
        async with self._auth.database.tenant(call.principal.user_id) as connection:
            me = await get_live_profile(connection, call.principal.user_id, _login_of(call))
        return tagged(user_view(me), me.updated_at)

    @endpoint("PATCH", ME, "Change your profile", errors=(UsernameTaken,), tagged=True, scope="admin")
    async def change_me(self, call: Call, body: ProfileChanges) -> Reply[UserView]:
        async with call.transaction() as connection:
            me = await profile.change_profile(
                connection, call.principal, _login_of(call), body.apply_to, call.if_match
            )
        return tagged(user_view(me), me.updated_at)

    @endpoint(
        "POST",
        ME + "/password",
        "Set a new password, which ends all your other logins",
        errors=(WrongPassword, TooManyAttempts, TooManyLogins),
        records_itself=True,  # failures are recorded too
        scope="admin",
    )
    async def change_password(self, call: Call, body: PasswordBody) -> None:
        old, new = body.old_password.get_secret_value(), body.new_password.get_secret_value()
        client = client_of(call.request, "POST /v1/me/password", self._proxies)
        await profile.change_password(self._auth, call.principal, _login_of(call), old, new, client, call.now)

    @endpoint("GET", SESSIONS, "List your logins, newest first")
    async def list_log_ins(self, call: Call, query: LoginsQuery) -> Page[LoginView]:
        user_id, current = call.principal.user_id, _login_of(call)
        wanted = query.slice()
        async with self._auth.database.tenant(user_id) as connection:
            await get_live_profile(connection, user_id, current)
            rows = await queries.list_logins(connection, user_id, call.now, wanted)
        return query.page_of(rows, lambda row: _login_view(row, current))

    @endpoint("DELETE", SESSIONS, "End all your other logins", scope="admin")
    async def revoke_other_sessions(self, call: Call) -> EndedView:
        current = _login_of(call)
        async with call.transaction() as connection:
            await get_live_profile(connection, call.principal.user_id, current)
            ended = await logins.revoke_other_logins(connection, call.principal, current, call.now)
        return EndedView(ended=ended)

    @endpoint("DELETE", SESSIONS + "/{id}", "End one of your logins", scope="admin")
    async def revoke_session(self, call: Call) -> None:
        async with call.transaction() as connection:
            await get_live_profile(connection, call.principal.user_id, _login_of(call))
            if not await logins.revoke_login(connection, call.principal, call.uuid("id"), call.now):
                raise NotFound

    @endpoint("GET", ME + "/activity", "List the activity of your account, newest first")
    async def list_activity(self, call: Call, query: ActivityQuery) -> Page[ActivityView]:
        user_id, wanted = call.principal.user_id, query.slice()
        criteria = ActivityFilter(activity_type=query.activity_type, since=query.from_, before=query.to)
        async with self._auth.database.tenant(user_id) as connection:
            await get_live_profile(connection, user_id, _login_of(call))
            rows = await activity.list_activity(connection, user_id, criteria, wanted)
        return query.page_of(rows, ActivityView.model_validate)


def _login_of(call: Call) -> UUID:
    if call.principal.session_id is None:
        raise Unauthorized
    return call.principal.session_id


def _login_view(row: Login, current: UUID) -> LoginView:
    return LoginView(current=row.session_id == current, **vars(row))
