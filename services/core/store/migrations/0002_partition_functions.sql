-- A partition can be made and dropped by its table's owner alone. The history-writer may call these instead of owning
-- the tape: months, and nothing else, of this one table.

-- Makes the partition of the month that begins with 'first_day', unless it is there.
CREATE FUNCTION make_ticks_partition(first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    IF extract(day FROM first_day) <> 1 THEN
        RAISE EXCEPTION '% does not begin a month', first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.ticks FOR VALUES FROM (%L) TO (%L)',
                   to_char(first_day, '"ticks_"YYYY_MM'), first_day::timestamptz,
                   (first_day + interval '1 month')::timestamptz);
END $$;

-- Drops the partition of that month, with its ticks; candles stay.
CREATE FUNCTION drop_ticks_partition(first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    EXECUTE format('DROP TABLE public.%I', to_char(first_day, '"ticks_"YYYY_MM'));
END $$;

-- Rights are given by infra/postgres/roles.sql.
REVOKE EXECUTE ON FUNCTION make_ticks_partition(date), drop_ticks_partition(date) FROM PUBLIC;
