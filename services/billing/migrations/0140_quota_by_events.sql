-- migrate:up
-- The daily quota is published as quota.changed and enforced by the services: leases go, and the last published state
-- of each user comes. A service's report is identified by the instance that counted.
SET lock_timeout = '5s';
SET statement_timeout = '60s';

DROP TABLE quota_leases;
ALTER TABLE api_usage_reports RENAME COLUMN lease_id TO instance;
COMMENT ON COLUMN user_api_usage.daily_limit IS 'of the plan when requests were last booked; NULL is no limit';

CREATE TABLE request_quotas (
    user_id bigint PRIMARY KEY,
    version bigint NOT NULL CHECK (version >= 1),
    state text NOT NULL CHECK (state IN ('OK', 'EXHAUSTED')),
    until timestamptz NOT NULL,
    allowed bigint CHECK (allowed >= 0),
    used bigint NOT NULL CHECK (used >= 0)
);
COMMENT ON COLUMN request_quotas.version IS 'of the last quota.changed, which carries this row';
CALL tenant_table('request_quotas', app => 'SELECT, INSERT, UPDATE', worker => 'SELECT, INSERT, UPDATE');

-- Refusals come with the reports of requests, so consumers write and clean up both.
REVOKE INSERT, UPDATE ON quota_refusals FROM billing_app;
GRANT INSERT, UPDATE, DELETE ON quota_refusals TO billing_worker;
GRANT DELETE ON api_usage_reports TO billing_worker;

-- migrate:down
