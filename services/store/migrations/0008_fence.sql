-- Refuses a batch of which another instance has moved a consumer or decided an order, in the statement that writes all of
-- it: the batch is read and decided anew.
CREATE FUNCTION fence(holds boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'a consumer was moved, or an order decided, by another instance' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;
