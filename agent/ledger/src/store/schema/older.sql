-- A file of version 1, for readers.
CREATE TEMP VIEW exchange AS SELECT *, 0 AS team, 0 AS cost_center, 0 AS end_user, 0 AS user_agent, 0 AS rule FROM main.exchange;
CREATE TEMP VIEW rollup AS SELECT *, 0 AS team, 0 AS cost_center, 0 AS end_user, 0 AS user_agent FROM main.rollup;
CREATE TEMP VIEW open AS SELECT *, 0 AS team, 0 AS cost_center, 0 AS end_user, 0 AS user_agent FROM main.open;
CREATE TEMP VIEW caller AS SELECT *, 0 AS pod_uid, 0 AS pod, 0 AS namespace, 0 AS service_account FROM main.caller;
CREATE TEMP VIEW charge AS SELECT x'' AS exchange, 0 AS budget, 0 AS share, 0 AS began, 0 AS unit, 0 AS whole, 0 AS atto WHERE 0;
CREATE TEMP VIEW spent AS SELECT 0 AS began, 0 AS budget, 0 AS share, 0 AS unit, 0 AS whole, 0 AS atto WHERE 0;
