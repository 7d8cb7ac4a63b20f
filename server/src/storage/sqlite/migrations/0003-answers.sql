-- An answer is over a kilobyte. In the order of their keys, which are random, answers split a page each; in the order in which
-- they come they fill page after page, and a new one changes half as many.
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    jkt BLOB NOT NULL,
    nonce BLOB NOT NULL,
    hash BLOB NOT NULL,
    claims TEXT NOT NULL,
    activation BLOB,
    at INTEGER NOT NULL
) STRICT;
INSERT INTO answers (jkt, nonce, hash, claims, activation, at)
    SELECT jkt, nonce, hash, claims, activation, at FROM requests;
DROP TABLE requests;
ALTER TABLE answers RENAME TO requests;
CREATE UNIQUE INDEX requests_by_key ON requests (jkt, nonce);
CREATE INDEX requests_by_age ON requests (at) WHERE activation IS NULL;
