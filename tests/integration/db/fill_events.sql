-- Usage events, evenly over the 60 days before 2026-11-26T00:00:00Z; money in nano-USD.
-- 20 organizations, 2,000 keys, every second one of a team, 50 tags. Of a hundred thousand events one is of the rare
-- model and provider, 40 to 50 days ago only; one in a hundred failed, one in fifty is the leg of a fan-out.
INSERT INTO usage_events (
    event_id, request_id, attempt, organization_id, team_id, key_id, occurred_at, operation, dialect, provider, model,
    upstream_model, outcome, stream, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    reasoning_tokens, usage_source, cost_nusd, ttft_ms, duration_ms, tags, cache_status, saved_nusd, fanout, leg
)
SELECT
    gen_random_uuid(), gen_random_uuid(), 1,
    ('00000000-0000-7000-8000-' || lpad((number % 20)::text, 12, '0'))::uuid,
    CASE WHEN number % 2 = 1 THEN ('00000000-0000-7000-a000-' || lpad((number % 200)::text, 12, '0'))::uuid END,
    ('00000000-0000-7000-9000-' || lpad((number % 2000)::text, 12, '0'))::uuid,
    timestamptz '2026-09-27T00:00:00Z' + interval '60 days' * (number::float8 / :events),
    'chat', 'openai',
    CASE WHEN is_rare THEN 'rare provider' ELSE 'provider ' || number % 4 END,
    CASE WHEN is_rare THEN 'rare model' ELSE 'model ' || number % 12 END,
    'upstream',
    CASE WHEN is_rare THEN 'cancelled' WHEN number % 100 = 3 THEN 'error' ELSE 'ok' END,
    true, number % 1000, number % 500, 0, 0, 0, 'provider', number % 1000000, number % 800, number % 9000,
    json_build_object('project', 'p' || number % 50),
    CASE number % 10 WHEN 3 THEN 'exact' WHEN 7 THEN 'miss' END,
    CASE number % 10 WHEN 3 THEN 1000 ELSE 0 END,
    CASE WHEN number % 50 = 3 THEN 'ensemble ' || number % 3 END,
    CASE WHEN number % 50 = 3 THEN CASE WHEN number % 100 = 3 THEN 'won' ELSE 'lost' END END
FROM generate_series(0, :events - 1) AS number,
    LATERAL (SELECT number % 100000 = 3 AND number BETWEEN :events / 6 AND :events / 3 AS is_rare) AS rarity
