-- Whom calls are put down to, in which pods, and what budgets were charged.

DROP VIEW exchanges;

ALTER TABLE exchange ADD COLUMN team INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exchange ADD COLUMN cost_center INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exchange ADD COLUMN end_user INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exchange ADD COLUMN user_agent INTEGER NOT NULL DEFAULT 0;
-- The rule, budget or limit that refused or cut it, or whose clamp was put on it.
ALTER TABLE exchange ADD COLUMN rule INTEGER NOT NULL DEFAULT 0;

ALTER TABLE open ADD COLUMN team INTEGER NOT NULL DEFAULT 0;
ALTER TABLE open ADD COLUMN cost_center INTEGER NOT NULL DEFAULT 0;
ALTER TABLE open ADD COLUMN end_user INTEGER NOT NULL DEFAULT 0;
ALTER TABLE open ADD COLUMN user_agent INTEGER NOT NULL DEFAULT 0;

-- The defaults are for agents of the version before, which may still be at work.
CREATE TABLE new_caller (
    id INTEGER PRIMARY KEY,
    program INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    user INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    cgroup INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    container INTEGER NOT NULL,
    pod_uid INTEGER NOT NULL DEFAULT 0,
    pod INTEGER NOT NULL DEFAULT 0,
    namespace INTEGER NOT NULL DEFAULT 0,
    service_account INTEGER NOT NULL DEFAULT 0,
    UNIQUE (program, executable, user, uid, cgroup, unit, container, pod_uid, pod, namespace, service_account)
) STRICT;
INSERT INTO new_caller (id, program, executable, user, uid, cgroup, unit, container)
    SELECT id, program, executable, user, uid, cgroup, unit, container FROM caller;
DROP TABLE caller;
ALTER TABLE new_caller RENAME TO caller;

-- Of the callers, executable, cgroup and the pod's uid are left out; of the exchanges, the rule.
CREATE TABLE new_rollup (
    started INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    response_model INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    price_from INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    team INTEGER NOT NULL,
    cost_center INTEGER NOT NULL,
    end_user INTEGER NOT NULL,
    user_agent INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    input_audio INTEGER NOT NULL,
    cache_read_audio INTEGER NOT NULL,
    cache_read_image INTEGER NOT NULL,
    output_audio INTEGER NOT NULL,
    output_image INTEGER NOT NULL,
    input_image INTEGER NOT NULL,
    input_tool INTEGER NOT NULL,
    web_searches INTEGER NOT NULL,
    server_tools INTEGER NOT NULL,
    images INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    search_units INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL,
    cost_atto INTEGER NOT NULL,
    -- Calls, as in a report's totals: counted without a price, billable without a count, cut short, estimated.
    unpriced INTEGER NOT NULL,
    uncounted INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (started, provider, region, host, operation, request_model, response_model, tier, price_from, credential, team,
        cost_center, end_user, user_agent, caller)
) STRICT, WITHOUT ROWID;
INSERT INTO new_rollup (
    started, provider, region, host, operation, request_model, response_model, tier, price_from, credential, caller, calls,
    errors, refused, input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio, cache_read_audio,
    cache_read_image, output_audio, output_image, input_image, input_tool, web_searches, server_tools, images, audio_ms,
    characters, search_units, cost_nano, cost_atto, unpriced, uncounted, partial, estimated, lost, duration, request_bytes,
    response_bytes, team, cost_center, end_user, user_agent
) SELECT
    started, provider, region, host, operation, request_model, response_model, tier, price_from, credential, caller, calls,
    errors, refused, input, output, cache_read, cache_write, cache_write_1h, reasoning, input_audio, cache_read_audio,
    cache_read_image, output_audio, output_image, input_image, input_tool, web_searches, server_tools, images, audio_ms,
    characters, search_units, cost_nano, cost_atto, unpriced, uncounted, partial, estimated, lost, duration, request_bytes,
    response_bytes, 0, 0, 0, 0
FROM rollup;
DROP TABLE rollup;
ALTER TABLE new_rollup RENAME TO rollup;

-- What budgets were charged for an exchange, ended or open: what it used, or what was set aside for it while its end is not
-- known. `share` is whose part of the budget, 0 where all have one; `began` is when its window did, in seconds since 1970; `unit` is
-- what is counted: 0 US dollars, 1 tokens, 2 input tokens, 3 output tokens.
CREATE TABLE charge (
    exchange BLOB NOT NULL,
    budget INTEGER NOT NULL,
    share INTEGER NOT NULL,
    began INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    atto INTEGER NOT NULL,
    PRIMARY KEY (exchange, budget, share, began, unit)
) STRICT, WITHOUT ROWID;

-- The sums of `charge`, with those whose exchanges are rolled up. Each change of one is a change of the other, at once.
CREATE TABLE spent (
    began INTEGER NOT NULL,
    budget INTEGER NOT NULL,
    share INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    atto INTEGER NOT NULL,
    PRIMARY KEY (began, budget, share, unit)
) STRICT, WITHOUT ROWID;

-- For people with a SQLite shell.
CREATE VIEW exchanges AS SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', e.started / 1000000.0, 'unixepoch') AS started,
    lower(hex(e.id)) AS id,
    e.duration / 1000.0 AS duration_ms,
    (SELECT value FROM text WHERE text.id = e.provider) AS provider,
    (SELECT value FROM text WHERE text.id = e.host) AS host,
    (SELECT value FROM text WHERE text.id = e.operation) AS operation,
    (SELECT value FROM text WHERE text.id = e.request_model) AS request_model,
    (SELECT value FROM text WHERE text.id = e.response_model) AS response_model,
    e.input, e.output, e.cache_read, e.cache_write, e.reasoning,
    (SELECT value FROM text WHERE text.id = e.source) AS usage_source,
    printf('%d.%09d%09d', e.cost_nano / 1000000000, e.cost_nano % 1000000000, e.cost_atto) AS cost_usd,
    e.status,
    (SELECT value FROM text WHERE text.id = e.outcome) AS outcome,
    (SELECT value FROM text WHERE text.id = e.error_type) AS error_type,
    (SELECT value FROM text WHERE text.id = e.rule) AS rule,
    (SELECT value FROM text WHERE text.id = e.team) AS team,
    (SELECT value FROM text WHERE text.id = e.cost_center) AS cost_center,
    (SELECT value FROM text WHERE text.id = e.end_user) AS end_user,
    (SELECT value FROM text WHERE text.id = e.user_agent) AS user_agent,
    (SELECT value FROM text WHERE text.id = c.program) AS program,
    (SELECT value FROM text WHERE text.id = c.user) AS user,
    (SELECT value FROM text WHERE text.id = c.unit) AS unit,
    (SELECT value FROM text WHERE text.id = c.container) AS container,
    (SELECT value FROM text WHERE text.id = c.pod) AS pod,
    (SELECT value FROM text WHERE text.id = c.namespace) AS namespace,
    (SELECT value FROM text WHERE text.id = c.service_account) AS service_account,
    e.pid, e.request_id
FROM exchange e JOIN caller c ON c.id = e.caller;

CREATE VIEW budgets AS SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', began, 'unixepoch') AS began,
    (SELECT value FROM text WHERE text.id = budget) AS budget,
    (SELECT value FROM text WHERE text.id = share) AS share,
    CASE unit WHEN 0 THEN 'usd' WHEN 1 THEN 'tokens' WHEN 2 THEN 'input_tokens' WHEN 3 THEN 'output_tokens' END AS unit,
    printf('%d.%018d', whole, atto) AS spent
FROM spent;
