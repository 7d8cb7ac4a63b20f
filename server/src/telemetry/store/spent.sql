-- The tokens of one week that were spent; the file is removed with the week's key. Both columns are cut hashes that
-- take in the token's own 256 random bits, which are stored nowhere: neither can be searched for a report.
CREATE TABLE IF NOT EXISTS spent_week.spent (
    token BLOB PRIMARY KEY,        -- which token
    report BLOB NOT NULL           -- the token with its report: tells a repeated request from a second use
) STRICT, WITHOUT ROWID;
