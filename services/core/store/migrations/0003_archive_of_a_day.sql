-- Says in which archive a day was found to be whole. Where the archive is moved, the days that the old one has are not those that the
-- new one has.

ALTER TABLE archived_days
    ADD COLUMN archive text CHECK (archive <> '');
COMMENT ON COLUMN archived_days.archive IS
    'The address of the archive, as archive.url and archive.endpoint name it. Null where an earlier version has compared the day, which then counts for no archive.';
COMMENT ON TABLE archived_days IS
    'The days whose ticks are in the archive, as the archiver has compared them last. Where the archive is required, a month is dropped only when the archive of the settings has as many ticks here of each of its days. A row goes when its day is found to differ.';
