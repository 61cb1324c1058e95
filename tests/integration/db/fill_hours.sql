-- The roll-up by hour of all usage events that are there; money in nano-USD.
INSERT INTO usage_hourly (
    hour, organization_id, team_id, key_id, provider, model, tags_hash, tags, requests, attempts, errors, cache_hits,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_nusd, saved_nusd
)
SELECT
    date_trunc('hour', occurred_at, 'UTC'), organization_id, coalesce(team_id, '00000000-0000-0000-0000-000000000000'),
    key_id, provider, model, decode(md5(tags::text), 'hex'), tags::text::json, count(*), count(*),
    count(*) FILTER (WHERE outcome <> 'ok'), count(*) FILTER (WHERE cache_status = 'exact'),
    sum(input_tokens), sum(output_tokens), 0, 0, 0, sum(cost_nusd), sum(saved_nusd)
FROM usage_events
GROUP BY 1, 2, 3, 4, 5, 6, 7, tags::text
