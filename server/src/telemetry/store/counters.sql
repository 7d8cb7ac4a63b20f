-- The collector's own database, apart from accounts. There is no row for a report, no moment, no address, no machine:
-- only how many reports of a week said the same. A change of this schema is a new file beside this one, as
-- ../../storage/sqlite/migrations says; PRAGMA user_version holds the number of the last one.

-- Titles, versions, DAWs and buckets by number: a name stands here once.
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO names (id, name) VALUES (0, 'other');

-- Weeks that still take reports. Nothing of this table is ever shown.
CREATE TABLE counting (
    week INTEGER NOT NULL,         -- whole weeks since Monday 1969-12-29
    title INTEGER NOT NULL,
    version INTEGER NOT NULL,
    daw INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    PRIMARY KEY (week, title, version, daw, bucket)
) STRICT, WITHOUT ROWID;

-- Weeks that are over: cells of fewer than twenty reports are folded, and their own counts are gone.
CREATE TABLE published (
    week INTEGER NOT NULL,
    title INTEGER NOT NULL,
    version INTEGER NOT NULL,
    daw INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    PRIMARY KEY (week, title, version, daw, bucket)
) STRICT, WITHOUT ROWID;

-- Which versions and DAWs at least twenty installations reported in a closed week: that they did, not how many. The
-- next plan names these.
CREATE TABLE reached (
    week INTEGER NOT NULL,
    title INTEGER NOT NULL,
    name INTEGER NOT NULL,
    daw INTEGER NOT NULL,          -- 1: the name is a DAW's, 0: a version's
    PRIMARY KEY (week, title, name, daw)
) STRICT, WITHOUT ROWID;

-- A closed week stays closed, whether anything of it was published or not.
CREATE TABLE closed (
    week INTEGER PRIMARY KEY
) STRICT;

PRAGMA user_version = 1;
