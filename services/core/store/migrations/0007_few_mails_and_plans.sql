-- What becomes of somebody's orders within a second is told in one mail: events that a delivery tells besides the one it is
-- named after. An event that is read again is not told again.
CREATE TABLE told_together (
    about       text PRIMARY KEY COLLATE "C",
    delivery_id uuid NOT NULL
);

-- These run for every batch of the settler: planned once for a connection, not each time by what a batch holds.
ALTER FUNCTION move_balances() SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION chain_postings() SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION balance_postings() SET plan_cache_mode = force_generic_plan;
