-- Usage events, evenly over the 60 days before 2026-11-26T00:00:00Z; money in nano-USD..
INSERT INTO usage_events (
    event_id, request_id, attempt, organization_id, key_id, occurred_at, operation, dialect, provider, model,
    upstream_model, outcome, stream, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    reasoning_tokens, usage_source, cost_nusd, ttft_ms, duration_ms, tags
)
SELECT
    gen_random_uuid(), gen_random_uuid(), 1,
    ('00000000-0000-7000-8000-' || lpad((number % 20)::text, 12, '0'))::uuid,
    ('00000000-0000-7000-9000-' || lpad((number % 2000)::text, 12, '0'))::uuid,
    timestamptz '2026-09-27T00:00:00Z' + interval '60 days' * (number::float8 / :events),
    'chat', 'openai', 'provider ' || number % 4, 'model ' || number % 12, 'upstream', 'ok', true,
    number % 1000, number % 500, 0, 0, 0, 'provider', number % 1000000, number % 800, number % 9000, '{}'
FROM generate_series(0, :events - 1) AS number
