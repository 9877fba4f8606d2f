CREATE TABLE text (
    id INTEGER PRIMARY KEY,
    value TEXT NOT NULL UNIQUE
) STRICT;

-- One row. How often texts and callers that nothing refers to were removed: what agents remember of them is void then.
CREATE TABLE state (tidied INTEGER NOT NULL) STRICT;
INSERT INTO state VALUES (1);

-- Who called, but for the process id. References to text.
CREATE TABLE caller (
    id INTEGER PRIMARY KEY,
    program INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    user INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    cgroup INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    container INTEGER NOT NULL,
    UNIQUE (program, executable, user, uid, cgroup, unit, container)
) STRICT;

-- Agents that write here, and when each was last seen to.
CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    pid INTEGER NOT NULL,
    boot TEXT NOT NULL,
    started INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;

-- Exchanges that have not ended. Those of the last second may be missing: most end before it is worth writing them.
CREATE TABLE open (
    id BLOB PRIMARY KEY,
    instance INTEGER NOT NULL,
    started INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    pid INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Exchanges that have ended, in the order in which they began.
CREATE TABLE exchange (
    started INTEGER NOT NULL,
    id BLOB NOT NULL,
    duration INTEGER NOT NULL,
    first_byte INTEGER,
    first_token INTEGER,
    provider INTEGER NOT NULL,
    region INTEGER NOT NULL,
    host INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    request_model INTEGER NOT NULL,
    response_model INTEGER NOT NULL,
    source INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    -- NULL, as all counts, where nothing is known of tokens.
    input INTEGER,
    output INTEGER,
    cache_read INTEGER,
    cache_write INTEGER,
    cache_write_1h INTEGER,
    reasoning INTEGER,
    input_audio INTEGER,
    cache_read_audio INTEGER,
    cache_read_image INTEGER,
    output_audio INTEGER,
    output_image INTEGER,
    input_image INTEGER,
    input_tool INTEGER,
    web_searches INTEGER,
    server_tools INTEGER,
    images INTEGER,
    audio_ms INTEGER,
    characters INTEGER,
    search_units INTEGER,
    -- NULL, both, where the cost is not known.
    cost_nano INTEGER,
    cost_atto INTEGER,
    price_from INTEGER NOT NULL,
    price_status INTEGER NOT NULL,
    status INTEGER,
    outcome INTEGER NOT NULL,
    -- Why it was refused, or what failed upstream.
    reason INTEGER NOT NULL,
    error_type INTEGER NOT NULL,
    -- Whether the caller got less than it asked for, through no choice of its own.
    is_error INTEGER NOT NULL,
    is_refused INTEGER NOT NULL,
    -- Whether the provider charges for it, as far as can be told.
    is_billable INTEGER NOT NULL,
    -- Whether its agent died before it ended, so that a later one wrote this row.
    is_lost INTEGER NOT NULL,
    stream INTEGER,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    request_id TEXT,
    credential INTEGER NOT NULL,
    caller INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    PRIMARY KEY (started, id)
) STRICT, WITHOUT ROWID;

-- Exchanges whose rows were removed, added up. `started` is the beginning of a quarter of an hour. Of the callers, executable
-- and cgroup are left out.
CREATE TABLE rollup (
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
    PRIMARY KEY (started, provider, region, host, operation, request_model, response_model, tier, price_from, credential,
        caller)
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
    (SELECT value FROM text WHERE text.id = c.program) AS program,
    (SELECT value FROM text WHERE text.id = c.user) AS user,
    (SELECT value FROM text WHERE text.id = c.unit) AS unit,
    (SELECT value FROM text WHERE text.id = c.container) AS container,
    e.pid, e.request_id
FROM exchange e JOIN caller c ON c.id = e.caller;
