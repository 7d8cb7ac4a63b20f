-- Which installations got their batch of blind tokens: that an installation opted in is known to the vendor, and the
-- notice says so. Rows are deleted with the week's key. What the tokens were spent on stands nowhere.
CREATE TABLE issued (
    week INTEGER NOT NULL,         -- whole weeks since Monday 1969-12-29
    machine BLOB NOT NULL,
    jkt BLOB NOT NULL,             -- thumbprint of the device key
    slot INTEGER NOT NULL,         -- which person, under a system daemon
    batch BLOB NOT NULL,           -- SHA-256 of the blinded elements: a repeated request gets the same answer
    PRIMARY KEY (week, machine, jkt, slot)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
