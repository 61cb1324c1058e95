-- $1 is a JSON array of usage events: tokens as counts, money in nano-USD, times in milliseconds and RFC 3339.
-- Answers with the ids of those that were new, and adds only those to the roll-ups. Rows of the roll-ups are locked in
-- the order of their keys, those of one table before those of the other, so that writers cannot wait for each other.
WITH inserted AS (
    INSERT INTO usage_events (
        event_id,
        request_id,
        attempt,
        organization_id,
        team_id,
        key_id,
        occurred_at,
        operation,
        dialect,
        provider,
        model,
        upstream_model,
        outcome,
        status,
        stream,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        usage_source,
        cost_nusd,
        price_version,
        ttft_ms,
        duration_ms,
        tags,
        error_code,
        kind,
        is_final,
        details,
        cache_status,
        saved_nusd
    )
    SELECT
        event_id,
        request_id,
        attempt,
        organization_id,
        team_id,
        key_id,
        occurred_at,
        operation,
        dialect,
        provider,
        model,
        upstream_model,
        outcome,
        status,
        stream,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        usage_source,
        cost_nusd,
        price_version,
        ttft_ms,
        duration_ms,
        tags,
        error_code,
        kind,
        is_final,
        details,
        cache_status,
        saved_nusd
    FROM jsonb_to_recordset(CAST($1 AS text)::jsonb) AS event (
        event_id uuid,
        request_id uuid,
        attempt integer,
        organization_id uuid,
        team_id uuid,
        key_id uuid,
        occurred_at timestamp with time zone,
        operation text,
        dialect text,
        provider text,
        model text,
        upstream_model text,
        outcome text,
        status integer,
        stream boolean,
        input_tokens bigint,
        output_tokens bigint,
        cache_read_tokens bigint,
        cache_write_tokens bigint,
        reasoning_tokens bigint,
        usage_source varchar(16),
        cost_nusd bigint,
        price_version text,
        ttft_ms integer,
        duration_ms integer,
        tags jsonb,
        error_code text,
        kind varchar(16),
        is_final boolean,
        details jsonb,
        cache_status varchar(16),
        saved_nusd bigint
    )
    ON CONFLICT DO NOTHING
    RETURNING
        event_id,
        organization_id,
        team_id,
        key_id,
        occurred_at,
        provider,
        model,
        tags,
        kind,
        is_final,
        outcome,
        cache_status,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_nusd,
        saved_nusd
),
fresh AS MATERIALIZED (
    SELECT
        date_trunc('hour', occurred_at, 'UTC') AS hour,
        organization_id,
        team_id,
        key_id,
        provider,
        model,
        tags,
        kind = 'attempt' AS is_attempt,
        kind = 'attempt' AND is_final AS is_request,
        outcome,
        cache_status,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        coalesce(cost_nusd, 0) AS cost_nusd,
        saved_nusd
    FROM inserted
),
hourly AS (
    INSERT INTO usage_hourly AS kept (
        hour,
        organization_id,
        team_id,
        key_id,
        provider,
        model,
        tags_hash,
        tags,
        requests,
        attempts,
        errors,
        cache_hits,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_nusd,
        saved_nusd
    )
    SELECT
        hour,
        organization_id,
        coalesce(team_id, '00000000-0000-0000-0000-000000000000'::uuid) AS team_id,
        key_id,
        provider,
        model,
        substring(sha256(convert_to(tags::text, 'UTF8')) FROM 1 FOR 16) AS tags_hash,
        tags,
        count(*) FILTER (WHERE is_request),
        count(*) FILTER (WHERE is_attempt),
        count(*) FILTER (WHERE is_request AND outcome <> 'ok'),
        count(*) FILTER (WHERE is_request AND cache_status IN ('exact', 'semantic', 'coalesced')),
        CAST(sum(input_tokens) AS bigint),
        CAST(sum(output_tokens) AS bigint),
        CAST(sum(cache_read_tokens) AS bigint),
        CAST(sum(cache_write_tokens) AS bigint),
        CAST(sum(reasoning_tokens) AS bigint),
        CAST(sum(cost_nusd) AS bigint),
        CAST(sum(saved_nusd) AS bigint)
    FROM fresh
    GROUP BY hour, organization_id, team_id, key_id, provider, model, tags
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (hour, organization_id, team_id, key_id, provider, model, tags_hash) DO UPDATE SET
        requests = kept.requests + excluded.requests,
        attempts = kept.attempts + excluded.attempts,
        errors = kept.errors + excluded.errors,
        cache_hits = kept.cache_hits + excluded.cache_hits,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        cache_read_tokens = kept.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
        cost_nusd = kept.cost_nusd + excluded.cost_nusd,
        saved_nusd = kept.saved_nusd + excluded.saved_nusd
),
balanced AS (
    INSERT INTO balances AS kept (scope_kind, scope_id, hour, cost_nusd, events)
    SELECT scope_kind, scope_id, hour, CAST(sum(cost_nusd) AS bigint), count(*)
    FROM fresh
    CROSS JOIN LATERAL (
        VALUES ('organization', organization_id), ('team', team_id), ('key', key_id)
    ) AS scope (scope_kind, scope_id)
    WHERE scope_id IS NOT NULL
    GROUP BY scope_kind, scope_id, hour
    ORDER BY scope_kind, scope_id, hour
    ON CONFLICT (scope_kind, scope_id, hour) DO UPDATE SET
        cost_nusd = kept.cost_nusd + excluded.cost_nusd,
        events = kept.events + excluded.events
)
SELECT event_id FROM inserted
